//! The scoreboard of Apache's own children that run Python. It must never know a request, or how a child is shown.
#![forbid(unsafe_code)]

use scoreboard::Children;
use std::io;
use std::sync::OnceLock;
use sys::SharedWords;

/// Made once by the parent; its children inherit it, also those after a restart.
pub(crate) struct ServerChildren {
    words: SharedWords,
    count: usize,
    threads: usize,
}

static CHILDREN: OnceLock<ServerChildren> = OnceLock::new();

impl ServerChildren {
    /// Makes the memory, in the parent, where there is none yet: for `processes` children with `threads` threads, the
    /// limits that no restart changes.
    ///
    /// # Errors
    /// That of mmap(2).
    pub(crate) fn prepare(processes: usize, threads: usize) -> io::Result<()> {
        if CHILDREN.get().is_none() {
            // The worker MPM starts a child in the slot of one that leaves and still has requests.
            let count = processes.saturating_mul(2);
            let words = SharedWords::new(Children::size(count, threads))?;
            // The parent has one thread.
            let _ = CHILDREN.set(Self { words, count, threads });
        }
        Ok(())
    }

    /// The scoreboard; `None` where the configuration has not let Apache's children run Python since the start.
    pub(crate) fn get() -> Option<Children<'static>> {
        let Self { words, count, threads } = CHILDREN.get()?;
        Some(Children::new(words, *count, *threads))
    }
}
