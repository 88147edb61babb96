//! What became of the requests of one process group, or of those that Apache's children serve themselves: the memory of
//! the counters. It must never know a request.
//!
//! Applications of a process group cannot write to it: its manager has a file by which it can only be read.
#![forbid(unsafe_code)]

use super::readings::{READINGS, Readings};
use scoreboard::{REQUEST_WORDS, RequestCounts, RequestWords};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use sys::SharedWords;

/// The counters.
pub(crate) struct RequestCounters {
    words: SharedWords,
    /// `None` where there is none for the manager of a group.
    file: Option<OwnedFd>,
}

impl RequestCounters {
    /// Nothing has been counted.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self::over(SharedWords::new(REQUEST_WORDS + READINGS)?, None))
    }

    /// The same, with a file by which another program can read them, where the system has a way to that.
    pub(crate) fn with_file() -> io::Result<Self> {
        let (words, file) = SharedWords::with_file_for_readers(REQUEST_WORDS + READINGS)?;
        Ok(Self::over(words, file))
    }

    fn over(words: SharedWords, file: Option<OwnedFd>) -> Self {
        let counters = Self { words, file };
        counters.readings().begin(scoreboard::now());
        counters
    }

    /// The file, for the manager of a group.
    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Counts a request with this HTTP status and the flags of these numbers, which took `duration` and waited for
    /// `queue`, in microseconds.
    pub(crate) fn record(
        &self,
        status: u16,
        flags: impl Iterator<Item = usize>,
        duration: u64,
        queue: Option<u64>,
    ) {
        RequestWords(&self.words).record(status, flags, duration, queue);
    }

    /// What readers of the counters share.
    pub(crate) fn readings(&self) -> Readings<'_> {
        Readings(self.words.get(REQUEST_WORDS..).unwrap_or_default())
    }

    /// What has been counted so far.
    pub(crate) fn read(&self) -> RequestCounts {
        RequestCounts::read(|index| {
            self.words.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_beside_what_is_counted() {
        let counters = RequestCounters::with_file().unwrap();
        counters.record(200, std::iter::empty(), 5, None);
        let before = counters.read();
        assert_eq!(before.total(), 1);
        counters.readings().begin(7);
        assert_eq!(counters.read(), before);
    }
}
