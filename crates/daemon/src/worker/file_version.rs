//! The version of a file.
#![forbid(unsafe_code)]

use std::path::Path;
use wsgi::FileVersion;

/// Its version; `None` where the file cannot be examined.
pub(crate) fn version(path: &Path) -> Option<FileVersion> {
    Some(FileVersion::of(&path.metadata().ok()?))
}
