//! Which content a file has, as far as `stat` tells. What the file is for is not known here.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// What changes when a file is written or replaced. The time alone stays the same where a tool sets it: `rsync -t`,
/// reproducible images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    /// When the file was modified, in microseconds since the epoch, which is what httpd knows of it.
    pub modified: i64,
    /// Its size in bytes.
    pub size: u64,
    /// The number of its inode.
    pub inode: u64,
}

impl FileVersion {
    /// The version that `stat` has found.
    pub fn of(found: &Metadata) -> Self {
        let modified = found.mtime() * 1_000_000 + found.mtime_nsec() / 1000;
        Self { modified, size: found.size(), inode: found.ino() }
    }

    /// As bytes, to be compared.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let parts =
            [self.modified.to_ne_bytes(), self.size.to_ne_bytes(), self.inode.to_ne_bytes()];
        for (to, from) in bytes.chunks_exact_mut(8).zip(parts) {
            to.copy_from_slice(&from);
        }
        bytes
    }

    /// From three decimal numbers with spaces between them.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.split(' ');
        let version = Self {
            modified: parts.next()?.parse().ok()?,
            size: parts.next()?.parse().ok()?,
            inode: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(version)
    }
}

/// A version for a process that looks at the file itself and so knows the nanoseconds of its time, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactVersion {
    /// What other processes are told of it.
    pub version: FileVersion,
    /// The nanoseconds of its time that are no whole second.
    nanoseconds: i64,
}

impl ExactVersion {
    /// The version that `stat` has found.
    pub fn of(found: &Metadata) -> Self {
        Self { version: FileVersion::of(found), nanoseconds: found.mtime_nsec() }
    }
}

/// As [`FileVersion::parse`] reads it.
impl std::fmt::Display for FileVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.modified, self.size, self.inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_it_is_written() {
        let version = FileVersion { modified: -5, size: u64::MAX, inode: 7 };
        assert_eq!(FileVersion::parse(version.to_string().as_bytes()), Some(version));
        for text in ["", "1", "1 2", "1 2 3 4", "1 -2 3", "a b c"] {
            assert_eq!(FileVersion::parse(text.as_bytes()), None, "{text}");
        }
    }
}
