//! When a file was last modified.
#![forbid(unsafe_code)]

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// When a file was last modified, in microseconds.
pub(crate) fn modified(path: &Path) -> Option<i64> {
    let found = path.metadata().ok()?;
    Some(found.mtime() * 1_000_000 + found.mtime_nsec() / 1000)
}
