//! When a file was last modified, for scripts that httpd has not examined itself.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// In microseconds since the epoch; `None` where the file cannot be examined.
pub(crate) fn modified(path: &[u8]) -> Option<i64> {
    let found = Path::new(OsStr::from_bytes(path)).metadata().ok()?;
    Some(found.mtime() * 1_000_000 + found.mtime_nsec() / 1000)
}
