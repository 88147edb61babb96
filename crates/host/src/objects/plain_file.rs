//! The descriptor of a Python file object, where its bytes are what `read()` of the object gives. Other objects have a
//! `fileno()` as well: one that decompresses, decrypts or filters has that of what it reads from. How a file is sent is
//! not known here.
#![forbid(unsafe_code)]

use crate::cpython::{Object, Result};
use std::ffi::CStr;
use std::os::fd::RawFd;

/// Methods that decide what a file object gives, by which others of them work.
const READING: [&str; 8] =
    ["read", "readinto", "readall", "read1", "tell", "seek", "fileno", "readable"];

/// Descriptor and position of a raw or buffered file of `io`, or of one in a wrapper of `tempfile` or `io`. The types
/// are compared exactly, because a subclass may read otherwise. `None` for any other object; no code of the
/// application is run to find out.
pub(super) fn place<'py>(filelike: &Object<'py>) -> Result<'py, Option<(RawFd, u64)>> {
    let Some(file) = unwrap_temporary(filelike)? else { return Ok(None) };
    let io = file.py().import(c"_io")?;
    let is = |object: &Object<'py>, name| Ok(object.is_exactly(&io.attribute(name)?));
    // The text that a text file gives cannot be sent, so that its bytes are meant.
    let buffered =
        if is(&file, c"TextIOWrapper")? { file.attribute(c"buffer")? } else { file.clone() };
    let is_buffered = is(&buffered, c"BufferedReader")? || is(&buffered, c"BufferedRandom")?;
    let raw = if is_buffered { buffered.attribute(c"raw")? } else { buffered.clone() };
    if !is(&raw, c"FileIO")? {
        return Ok(None);
    }
    for object in [&file, &buffered, &raw] {
        if is_modified(object)? {
            return Ok(None);
        }
    }
    if !raw.call_method(c"readable", [])?.is_true()? {
        return Ok(None);
    }
    // What has been written and is still in the object's buffer would be read, too.
    file.call_method(c"flush", [])?;
    let position = file.call_method(c"tell", [])?.as_i64()?;
    // The object may have read ahead of its position, but is never behind it.
    if raw.call_method(c"tell", [])?.as_i64()? < position {
        return Ok(None);
    }
    let descriptor = raw.call_method(c"fileno", [])?.as_i64()?;
    Ok(RawFd::try_from(descriptor).ok().zip(u64::try_from(position).ok()))
}

/// The file in a wrapper of `tempfile`; the object itself if it is none. `None` where the wrapper reads otherwise than
/// its file.
fn unwrap_temporary<'py>(filelike: &Object<'py>) -> Result<'py, Option<Object<'py>>> {
    let py = filelike.py();
    // Without the module there is no object of its types.
    let Some(tempfile) = py.modules().item(&py.interned("tempfile")?)? else {
        return Ok(Some(filelike.clone()));
    };
    let wrappers: [(&CStr, &str); 2] =
        [(c"_TemporaryFileWrapper", "file"), (c"SpooledTemporaryFile", "_file")];
    for (class, file) in wrappers {
        let Some(class) = tempfile.attribute_if_any(class)? else { continue };
        if !filelike.is_exactly(&class) {
            continue;
        }
        let attributes = filelike.attribute(c"__dict__")?;
        // The module itself keeps a method there that has been called; it reads as the file does, but cannot be told
        // from one of the application.
        if attributes.item(&py.interned("read")?)?.is_some() {
            return Ok(None);
        }
        return attributes.item(&py.interned(file)?);
    }
    Ok(Some(filelike.clone()))
}

/// Whether the object has a method of its own in place of one of its type's.
fn is_modified<'py>(file: &Object<'py>) -> Result<'py, bool> {
    let py = file.py();
    let attributes = file.attribute(c"__dict__")?;
    if attributes.length()? == 0 {
        return Ok(false);
    }
    for name in READING {
        if attributes.item(&py.interned(name)?)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
