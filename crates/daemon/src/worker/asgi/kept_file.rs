//! A file that is part of a response, and that the connection has not taken yet. It knows no connection.
#![forbid(unsafe_code)]

use crate::worker::exchange::MIN_FILE;
use fastcgi::{FileSpan, RecordType, encoder};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

/// A part of a file, and the bytes of the response that come behind it.
pub(super) struct KeptFile {
    file: File,
    offset: u64,
    length: u64,
    /// The web server takes the open file in place of its bytes.
    is_passed: bool,
    /// What comes behind it.
    pub(super) behind: Vec<u8>,
}

/// Bytes that are read at once.
const PIECE: u64 = 64 * 1024;

impl KeptFile {
    /// # Errors
    /// When there is no descriptor left.
    pub(super) fn new(
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        takes_files: bool,
    ) -> io::Result<Self> {
        let is_passed = takes_files && length >= MIN_FILE;
        let file = File::from(file.try_clone_to_owned()?);
        Ok(Self { file, offset, length, is_passed, behind: Vec::new() })
    }

    /// Whether the web server gets the open file.
    pub(super) const fn is_passed(&self) -> bool {
        self.is_passed
    }

    /// The record that goes with the open file; `None` where its bytes are sent.
    pub(super) fn record(&self, id: u16) -> Option<[u8; 24]> {
        let span = FileSpan { offset: self.offset, length: self.length };
        self.is_passed.then(|| encoder::file(id, span))
    }

    /// Adds the next bytes of the file to `into`, as records; whether there are more.
    ///
    /// # Errors
    /// When it cannot be read, or has become shorter: the response must not look complete.
    pub(super) fn read(&mut self, id: u16, into: &mut Vec<u8>) -> io::Result<bool> {
        let mut piece = vec![0; usize::try_from(self.length.min(PIECE)).unwrap_or_default()];
        let count = self.file.read_at(&mut piece, self.offset)?;
        if count == 0 && self.length > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        self.length -= count as u64;
        encoder::append_stream(
            into,
            RecordType::STDOUT,
            id,
            piece.get(..count).unwrap_or_default(),
        );
        Ok(self.length > 0)
    }
}

impl AsFd for KeptFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
