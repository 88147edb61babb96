//! Where the manager says why a start has failed: memory that Apache reads, and that no worker has access to. It must never
//! know a cause.
#![forbid(unsafe_code)]

use scoreboard::{START_CAUSE_WORDS, StartCause};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use sys::SharedWords;

/// The memory. It is unmapped when the value is dropped, as it has to be in a new process that is a worker.
pub(crate) struct StartCauseMemory(SharedWords);

impl StartCauseMemory {
    /// The memory of `file`, or memory of its own where there is none, as in a daemon that is run by hand.
    ///
    /// # Errors
    /// When the file is too small, or cannot be mapped.
    pub(crate) fn map(file: Option<&OwnedFd>) -> io::Result<Self> {
        match file {
            Some(file) => SharedWords::of_file(file.as_fd(), START_CAUSE_WORDS),
            None => SharedWords::new(START_CAUSE_WORDS),
        }
        .map(Self)
    }

    /// Sets the cause, or that there is none.
    pub(crate) fn put(&self, cause: Option<&str>) {
        StartCause(&self.0).put(cause);
    }

    /// The cause.
    pub(crate) fn read(&self) -> Option<String> {
        StartCause(&self.0).read()
    }
}
