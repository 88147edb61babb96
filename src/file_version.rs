//! The version of a file that httpd has not examined itself.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use wsgi::FileVersion;

/// Its version; `None` where the file cannot be examined.
pub(crate) fn version(path: &[u8]) -> Option<FileVersion> {
    Some(FileVersion::of(&Path::new(OsStr::from_bytes(path)).metadata().ok()?))
}
