//! Why Apache's parent starts no manager for a group, as its children tell it. It must never know a cause.
#![forbid(unsafe_code)]

use scoreboard::{START_CAUSE_WORDS, StartCause};
use std::io;
use sys::SharedWords;

/// A sentence that the parent writes and its children read; the group's own processes have no access to it.
pub(crate) struct KnownCause(SharedWords);

impl KnownCause {
    /// Memory for a sentence; there is none yet.
    pub(crate) fn new() -> io::Result<Self> {
        SharedWords::new(START_CAUSE_WORDS).map(Self)
    }

    /// Sets the sentence, or that there is none.
    pub(crate) fn set(&self, cause: Option<&str>) {
        StartCause(&self.0).put(cause);
    }

    /// The sentence.
    pub(crate) fn get(&self) -> Option<String> {
        StartCause(&self.0).read()
    }
}
