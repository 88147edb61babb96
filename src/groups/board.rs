//! The shared memory of one group's scoreboard, and of why its processes do not start. It must never know what its readers
//! conclude from it.
#![forbid(unsafe_code)]

use scoreboard::{Field, START_CAUSE_WORDS, Scoreboard, StartCause};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::SharedWords;

/// The memory in which a group's manager and workers publish what they are doing (design decision D7).
pub(crate) struct Board {
    words: SharedWords,
    file: OwnedFd,
    slots: usize,
    threads: usize,
    /// Why the last start failed. Of the group's processes the manager alone has its file.
    cause: SharedWords,
    cause_file: OwnedFd,
}

impl Board {
    /// Memory for `slots` workers with `threads` threads each.
    pub(crate) fn new(slots: usize, threads: usize) -> io::Result<Self> {
        let (words, file) = SharedWords::with_file(Scoreboard::size(slots, threads))?;
        let (cause, cause_file) = SharedWords::with_file(START_CAUSE_WORDS)?;
        Ok(Self { words, file, slots, threads, cause, cause_file })
    }

    /// Why the last start failed.
    pub(crate) fn cause(&self) -> StartCause<'_> {
        StartCause(&self.cause)
    }

    /// The file of that, for the manager of the group.
    pub(crate) fn cause_file(&self) -> BorrowedFd<'_> {
        self.cause_file.as_fd()
    }

    /// The scoreboard in the memory.
    pub(crate) fn view(&self) -> Scoreboard<'_> {
        Scoreboard::new(&self.words, self.slots, self.threads)
    }

    /// Sets how often in a row the manager exited soon after its start; `None`: it could not be started at all.
    pub(crate) fn set_start_failures(&self, times: Option<u32>) {
        self.view().set_start_failures(times);
    }

    /// How many requests the slot's worker has served, with those of the ones before: it changes with each.
    pub(crate) fn served(&self, slot: usize) -> u64 {
        let served = self.view().records(slot).map(|record| record.get(Field::Served));
        served.fold(0, u64::wrapping_add)
    }
}

impl AsFd for Board {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
