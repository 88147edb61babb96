//! What Apache's parent and children share about all requests that this module serves: those of embedded mode, and the
//! last that have failed. It must never know a request.
#![forbid(unsafe_code)]

use super::recent_failures::RecentFailures;
use super::request_counters::RequestCounters;
use std::io;
use std::sync::OnceLock;

/// Made once by the parent; its children inherit it, also those after a restart.
pub(crate) struct ServerCounters {
    /// Requests that Apache's children have served or refused themselves.
    pub(crate) embedded: RequestCounters,
    pub(crate) failures: RecentFailures,
    /// When the parent made it, in microseconds of [`scoreboard::now`].
    pub(crate) since: u64,
}

static COUNTERS: OnceLock<ServerCounters> = OnceLock::new();

impl ServerCounters {
    /// Makes the memory, in the parent, where there is none yet.
    ///
    /// # Errors
    /// That of mmap(2).
    pub(crate) fn prepare() -> io::Result<()> {
        if COUNTERS.get().is_none() {
            let (embedded, failures) = (RequestCounters::new()?, RecentFailures::new()?);
            let counters = Self { embedded, failures, since: scoreboard::now() };
            // The parent has one thread.
            let _ = COUNTERS.set(counters);
        }
        Ok(())
    }

    /// The memory; `None` in a process whose parent had none.
    pub(crate) fn get() -> Option<&'static Self> {
        COUNTERS.get()
    }
}
