//! What became of the requests of one process group, or of those that Apache's children serve themselves: the memory of
//! the counters, of the copies of them that the parent takes, of the last that have failed, and of the highest processor time
//! that a reader has seen. It must never know a request.
//!
//! Applications of a process group cannot write to it: its manager has a file by which it can only be read.
#![forbid(unsafe_code)]

use super::recent_failures::RecentFailures;
use scoreboard::{
    RECENT_WORDS, REQUEST_WORDS, RecentRequests, RequestCopies, RequestCounts, RequestWords, now,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use sys::SharedWords;

/// The word behind the counters and the copies.
const CPU: usize = REQUEST_WORDS + RECENT_WORDS;
const WORDS: usize = CPU + 1;

/// The counters.
pub(crate) struct RequestCounters {
    words: SharedWords,
    /// Those that have failed last.
    pub(crate) failures: RecentFailures,
    /// `None` where there is none for the manager of a group.
    file: Option<OwnedFd>,
}

impl RequestCounters {
    /// Nothing has been counted.
    pub(crate) fn new() -> io::Result<Self> {
        Self::over(SharedWords::new(WORDS)?, None)
    }

    /// The same, with a file by which another program can read them, where the system has a way to that.
    pub(crate) fn with_file() -> io::Result<Self> {
        let (words, file) = SharedWords::with_file_for_readers(WORDS)?;
        Self::over(words, file)
    }

    fn over(words: SharedWords, file: Option<OwnedFd>) -> io::Result<Self> {
        let counters = Self { words, failures: RecentFailures::new()?, file };
        counters.take_copy();
        Ok(counters)
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

    /// Takes a copy of the counters, if the last one is old enough, so that a reader knows what has come since. Only for
    /// the parent.
    pub(crate) fn take_copy(&self) {
        RequestCopies(&self.words).take(now());
    }

    /// What has been counted so far.
    pub(crate) fn read(&self) -> RequestCounts {
        RequestCounts::read(|index| self.word(index))
    }

    /// How much of these `counts` has come in the last minute.
    pub(crate) fn recent(&self, counts: &RequestCounts) -> RecentRequests {
        RecentRequests::read(|index| self.word(index), now(), counts)
    }

    /// The highest of `cpu` and of what was given before, in microseconds: what a worker has used is read in two places,
    /// and is in neither for a moment when it ends. A counter must not fall.
    pub(crate) fn highest_cpu(&self, cpu: u64) -> u64 {
        self.words.get(CPU).map_or(cpu, |word| word.fetch_max(cpu, Ordering::Relaxed).max(cpu))
    }

    fn word(&self, index: usize) -> u64 {
        self.words.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_processor_time_are_beside_what_is_counted() {
        let counters = RequestCounters::with_file().unwrap();
        counters.record(200, std::iter::empty(), 5, None);
        counters.take_copy();
        let counts = counters.read();
        assert_eq!((counts.total(), counters.recent(&counts).counts), (1, counts.clone()));
        assert_eq!([5, 3, 7].map(|cpu| counters.highest_cpu(cpu)), [5, 5, 7]);
        assert_eq!(counters.read(), counts);
    }
}
