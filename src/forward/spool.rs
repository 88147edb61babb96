//! A file without a name for bytes of a request or a response that cannot stay in memory. It must never know whose bytes
//! they are.
#![forbid(unsafe_code)]

use super::spool_share::{AllowanceExceeded, SpoolShare};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Bytes after which the free space of the file system is looked at again.
const CHECK_INTERVAL: u64 = 1 << 20;

/// A file that is gone once it is closed.
pub(super) struct SpoolFile {
    file: File,
    directory: &'static Path,
    /// Up to here there was free space when it was last looked at.
    checked: u64,
    /// What a file for a response has of its group's allowance.
    share: Option<SpoolShare>,
}

/// Why bytes cannot be written.
#[derive(Debug)]
pub(super) enum SpoolError {
    /// The file may not become longer.
    Full,
    /// Its file system has little space left: less than a tenth and less than a gigabyte.
    NoSpace(&'static Path),
    /// The group has as much in files as it may.
    Allowance(AllowanceExceeded),
    /// The file cannot be made, written or read.
    Io(&'static Path, io::Error),
}

impl SpoolFile {
    /// An empty file; what is written to it counts in `share`.
    pub(super) fn create(share: Option<SpoolShare>) -> Result<Self, SpoolError> {
        let mut failure = None;
        for directory in directories() {
            match sys::unnamed_file(directory) {
                Ok(file) => return Ok(Self { file, directory, checked: 0, share }),
                Err(why) => failure = Some(SpoolError::Io(directory, why)),
            }
        }
        Err(failure.unwrap_or(SpoolError::Full))
    }

    /// As [`Self::create`], in memory.
    pub(super) fn create_in_memory(share: Option<SpoolShare>) -> Result<Self, SpoolError> {
        let directory = Path::new("memory");
        match sys::memory_file(&[]) {
            Ok(file) => Ok(Self { file: file.into(), directory, checked: 0, share }),
            Err(why) => Err(SpoolError::Io(directory, why)),
        }
    }

    /// Writes all of `data` from `at` on.
    pub(super) fn write_at(&mut self, at: u64, data: &[u8]) -> Result<(), SpoolError> {
        self.write_slices_at(at, &[data]).map(drop)
    }

    fn check_space(&mut self, end: u64) -> Result<(), SpoolError> {
        if let Some(share) = &mut self.share {
            share.grow(end).map_err(SpoolError::Allowance)?;
        }
        if end <= self.checked {
            return Ok(());
        }
        if let Ok(free) = sys::free_space(self.file.as_fd()) {
            if free.is_low {
                return Err(SpoolError::NoSpace(self.directory));
            }
            if let (Some(share), Some(bytes)) = (&self.share, free.bytes) {
                share.check_free(bytes).map_err(SpoolError::Allowance)?;
            }
        }
        self.checked = end.next_multiple_of(CHECK_INTERVAL);
        Ok(())
    }

    /// Writes all of several slices, one after the other, from `at` on; gives the number of bytes.
    pub(super) fn write_slices_at(&mut self, at: u64, slices: &[&[u8]]) -> Result<u64, SpoolError> {
        let total = slices.iter().map(|slice| slice.len() as u64).sum();
        self.check_space(at + total)?;
        let written = sys::write_all_at(self.file.as_fd(), slices, at);
        written.map(|()| total).map_err(|why| SpoolError::Io(self.directory, why))
    }

    /// Fills `into` with what was written from `at` on.
    pub(super) fn read_at(&self, at: u64, into: &mut [u8]) -> Result<(), SpoolError> {
        self.file.read_exact_at(into, at).map_err(|why| SpoolError::Io(self.directory, why))
    }

    /// Gives the space back, where there is much of it.
    pub(super) fn empty(&mut self) {
        if self.checked > CHECK_INTERVAL && self.file.set_len(0).is_ok() {
            self.checked = 0;
            self.share.iter_mut().for_each(SpoolShare::empty);
        }
    }

    /// What the file has of its group's allowance, for its next owner to keep.
    pub(super) const fn take_share(&mut self) -> Option<SpoolShare> {
        self.share.take()
    }
}

impl SpoolError {
    /// Whether there is no space now, rather than no place at all.
    pub(super) fn is_shortage(&self) -> bool {
        match self {
            Self::Full | Self::NoSpace(_) | Self::Allowance(_) => true,
            Self::Io(_, why) => {
                matches!(why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
        }
    }
}

impl AsFd for SpoolFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("it is too long"),
            Self::NoSpace(directory) => {
                write!(f, "too little of the file system of {} is free", directory.display())
            }
            Self::Allowance(why) => why.fmt(f),
            Self::Io(directory, why) => write!(f, "a file in {}: {why}", directory.display()),
        }
    }
}

/// Where the files are: what Apache's environment says, else where large files belong. `/tmp` may be in memory
/// (file-hierarchy(7)).
fn directories() -> &'static [PathBuf] {
    static DIRECTORIES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    DIRECTORIES.get_or_init(|| directories_of(std::env::var_os("TMPDIR")))
}

fn directories_of(variable: Option<OsString>) -> Vec<PathBuf> {
    match variable.map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(path) => vec![path],
        None => vec!["/var/tmp".into(), "/tmp".into()],
    }
}

#[cfg(test)]
mod tests {
    use super::super::spool_share::allowance;
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_the_file_written_anew() {
        let allowance = allowance(Some(4 << 20));
        let mut file = SpoolFile::create(Some(allowance.share())).unwrap();
        file.write_at(0, &[1; 3 << 20]).unwrap();
        file.write_at(2, b"ab").unwrap();
        let mut read = [0; 4];
        file.read_at(1, &mut read).unwrap();
        assert_eq!(&read, b"\x01ab\x01");
        let mut other = SpoolFile::create(Some(allowance.share())).unwrap();
        let refused = other.write_at(0, &[1; 2 << 20]);
        assert!(matches!(refused, Err(SpoolError::Allowance(_))), "{refused:?}");
        file.empty();
        other.write_at(0, &[1; 2 << 20]).unwrap();
        assert!(matches!(file.read_at(1, &mut read), Err(SpoolError::Io(..))));
        file.write_at(0, b"abcdef").unwrap();
        file.read_at(1, &mut read).unwrap();
        assert_eq!(&read, b"bcde");
    }

    #[test]
    fn the_environment_says_where_files_are_if_it_names_an_absolute_path() {
        let of = |path: &str| directories_of(Some(path.into()));
        assert_eq!(of("/srv/tmp"), [PathBuf::from("/srv/tmp")]);
        assert_eq!(of("tmp"), directories_of(None));
        assert_eq!(directories_of(None).first(), Some(&PathBuf::from("/var/tmp")));
    }
}
