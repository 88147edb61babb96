//! `wsgi.file_wrapper` (PEP 3333, "Optional Platform-Specific File Handling").

use super::plain_file;
use crate::cpython::{
    Arguments, Attached, Class, ExceptionKind, Instance, Method, Object, Persistent, Property,
    Result, Slots, TypeFlags,
};
use std::ffi::CStr;
use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};

/// An iterable over a file-like object. The gateway sends a regular file without reading it through Python.
pub(crate) struct FileWrapper {
    filelike: Mutex<Option<Persistent>>,
    block_size: i64,
}

impl Class for FileWrapper {
    const NAME: &'static CStr = c"mod_wsgi.FileWrapper";
    const FLAGS: TypeFlags = TypeFlags::Subclassable;
    const METHODS: &'static [Method<Self>] = &[Method { name: c"close", call: close }];
    const PROPERTIES: &'static [Property<Self>] = &[
        Property { name: c"filelike", get: |this| this.filelike() },
        Property { name: c"blksize", get: |this| this.py().int(this.block_size) },
    ];
    const SLOTS: Slots<Self> = Slots { new: Some(new), next: Some(next), ..Slots::NONE };

    fn release(&mut self, py: Attached<'_>) {
        let filelike = self.filelike.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(filelike) = filelike {
            filelike.clear(py);
        }
    }
}

type This<'a, 'py> = Instance<'a, 'py, FileWrapper>;

fn new<'py>(arguments: &Object<'py>, keywords: Option<&Object<'py>>) -> Result<'py, FileWrapper> {
    let py = arguments.py();
    let given = arguments.sequence_length();
    let argument = |index: usize, name: &str| -> Result<'py, Option<Object<'py>>> {
        if index < given {
            return arguments.sequence_item(index).map(Some);
        }
        match keywords {
            Some(keywords) => keywords.item(&py.str(name)?),
            None => Ok(None),
        }
    };
    let Some(filelike) = argument(0, "filelike")?.filter(|_| given <= 2) else {
        let text = "FileWrapper() takes a file-like object and an optional block size";
        return Err(py.raise(ExceptionKind::Type, text));
    };
    let block_size = match argument(1, "blksize")? {
        Some(size) => size.as_index()?,
        None => 8192,
    };
    if block_size < 0 {
        return Err(py.raise(ExceptionKind::Value, "blksize must not be negative"));
    }
    Ok(FileWrapper { filelike: Mutex::new(Some(Persistent::new(filelike))), block_size })
}

fn next<'py>(this: &This<'_, 'py>) -> Result<'py, Option<Object<'py>>> {
    let py = this.py();
    let size = py.int(this.block_size)?;
    let block = this.filelike()?.call_method(c"read", [&size])?;
    match block.as_bytes() {
        Some([]) => Ok(None),
        Some(_) => Ok(Some(block)),
        None => {
            let text = format!("file-like object yielded {} instead of bytes", block.type_name());
            Err(py.raise(ExceptionKind::Type, &text))
        }
    }
}

fn close<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    arguments.expect("close", 0, 0)?;
    let py = this.py();
    let kept = this.filelike.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(kept) = kept {
        let filelike = kept.get(py);
        kept.clear(py);
        match filelike
            .attribute_if_any(c"close")
            .and_then(|close| close.map_or(Ok(None), |close| close.call0().map(Some)))
        {
            Ok(_) => {}
            Err(raised) => raised.clear(),
        }
    }
    Ok(py.none())
}

impl<'py> This<'_, 'py> {
    fn filelike(&self) -> Result<'py, Object<'py>> {
        let py = self.py();
        let filelike = {
            let kept = self.filelike.lock().unwrap_or_else(PoisonError::into_inner);
            kept.as_ref().map(|kept| kept.get(py))
        };
        filelike.ok_or_else(|| py.raise(ExceptionKind::Value, "I/O operation on closed file"))
    }

    /// Descriptor and position of the file, where sending its bytes is the same as reading the object.
    pub(crate) fn descriptor(&self) -> Option<(RawFd, u64)> {
        self.filelike().and_then(|filelike| plain_file::place(&filelike)).unwrap_or_else(|raised| {
            raised.clear();
            None
        })
    }
}
