//! Files as pieces of a response: the extensions `http.response.pathsend` and `http.response.zerocopysend`. It never
//! knows a transport.
#![forbid(unsafe_code)]

use crate::posix::RegularFile;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A piece of a response that is in a file.
pub(super) enum FileBody {
    /// It has been read.
    Bytes(Vec<u8>),
    /// `length` bytes from `offset` on.
    Part { file: OpenFile, offset: u64, length: u64 },
}

/// A regular file that is open.
pub(super) enum OpenFile {
    /// By this crate.
    Own(File),
    /// By the application.
    Duplicate(RegularFile),
}

/// Why a file cannot be sent.
#[derive(Debug)]
pub(super) enum FileError {
    NotAbsolute,
    /// Sockets and pipes; files without a size, as those of /proc.
    NotRegular,
    /// It has no so many bytes.
    TooShort,
    Io(io::Error),
}

/// Files up to this size are read.
const READ_LIMIT: u64 = 16 * 1024;

impl FileBody {
    /// The whole file at a path.
    pub(super) fn at(path: &Path) -> Result<Self, FileError> {
        if !path.is_absolute() {
            return Err(FileError::NotAbsolute);
        }
        // A pipe would hold the loop up until it is opened for writing.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = file.map_err(FileError::Io)?;
        let facts = file.metadata().map_err(FileError::Io)?;
        if !facts.is_file() {
            return Err(FileError::NotRegular);
        }
        let length = facts.len();
        if length > READ_LIMIT {
            return Ok(Self::Part { file: OpenFile::Own(file), offset: 0, length });
        }
        // One of /proc is longer than it says.
        let mut bytes = Vec::new();
        file.take(READ_LIMIT + 1).read_to_end(&mut bytes).map_err(FileError::Io)?;
        if bytes.len() as u64 > READ_LIMIT {
            return Err(FileError::NotRegular);
        }
        Ok(Self::Bytes(bytes))
    }

    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Part { length, .. } => *length,
        }
    }

    /// Part of a file that the application has open: from its position on where there is no `offset`, which is then moved
    /// behind the part; to its end where there is no `count`.
    pub(super) fn of(
        descriptor: RawFd,
        offset: Option<u64>,
        count: Option<u64>,
    ) -> Result<Self, FileError> {
        let file = RegularFile::duplicate(descriptor).ok_or(FileError::NotRegular)?;
        let position = match offset {
            Some(offset) => offset,
            None => file.seek(SeekFrom::Current(0)).map_err(FileError::Io)?,
        };
        let left = file.size().checked_sub(position).ok_or(FileError::TooShort)?;
        let length = count.unwrap_or(left);
        if length > left {
            return Err(FileError::TooShort);
        }
        if offset.is_none() {
            file.seek(SeekFrom::Start(position + length)).map_err(FileError::Io)?;
        }
        Ok(Self::Part { file: OpenFile::Duplicate(file), offset: position, length })
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(file) => file.as_fd(),
            Self::Duplicate(file) => file.descriptor(),
        }
    }
}

impl std::fmt::Display for FileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAbsolute => f.write_str("the path of a file to be sent must be absolute"),
            Self::NotRegular => f.write_str("only a regular file whose size is known can be sent"),
            Self::TooShort => f.write_str("the file has fewer bytes than are to be sent"),
            Self::Io(why) => write!(f, "the file cannot be sent: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn what_is_no_regular_file_at_an_absolute_path_is_refused() {
        assert!(matches!(FileBody::at(Path::new("etc/passwd")), Err(FileError::NotAbsolute)));
        assert!(matches!(FileBody::at(Path::new("/")), Err(FileError::NotRegular)));
        assert!(matches!(FileBody::at(Path::new("/no/such/file")), Err(FileError::Io(_))));
    }

    #[test]
    fn part_of_an_open_file_ends_where_the_file_does() {
        // This program is a regular file that is longer than any part below.
        let file = File::open("/proc/self/exe").unwrap();
        let size = file.metadata().unwrap().len();
        let part = |offset, count| FileBody::of(file.as_raw_fd(), offset, count);
        assert_eq!(part(None, Some(100)).unwrap().length(), 100);
        // The position has moved.
        assert_eq!(part(None, None).unwrap().length(), size - 100);
        assert_eq!(part(None, None).unwrap().length(), 0);
        assert_eq!(part(Some(1), None).unwrap().length(), size - 1);
        assert!(matches!(part(Some(1), Some(size)), Err(FileError::TooShort)));
        assert!(matches!(part(Some(size + 1), None), Err(FileError::TooShort)));
        assert!(matches!(FileBody::of(-1, None, None), Err(FileError::NotRegular)));
    }
}
