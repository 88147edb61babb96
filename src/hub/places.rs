//! How many connections there may be without a thread, and whether any more are taken. It must never know a connection.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many there may be: none until the configuration has been looked at.
static LIMIT: AtomicUsize = AtomicUsize::new(0);
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// The child is to leave.
static DRAINING: AtomicBool = AtomicBool::new(false);

/// Descriptors of a process that connections without a thread leave for everything else.
const OTHER_DESCRIPTORS: u64 = 256;
/// Descriptors that one may need: its client's, its worker's, that of the file in which its response waits for the client, and
/// that of a file which the worker has passed.
const DESCRIPTORS_EACH: u64 = 4;

/// The place of one connection, given back when this is dropped.
pub(crate) struct Place(&'static AtomicUsize);

/// Sets how many connections of this process may have no thread.
pub(crate) fn set_limit(limit: usize) {
    LIMIT.store(limit, Ordering::Relaxed);
}

/// How many connections without a thread a process can have that may open so many descriptors.
pub(crate) fn allowed_by_descriptors(limit: u64) -> usize {
    let count = limit.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS_EACH;
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Whether one more connection may be given away.
pub(crate) fn has_room() -> bool {
    OPEN.load(Ordering::Relaxed) < LIMIT.load(Ordering::Relaxed) && !is_draining()
}

impl Place {
    /// For a connection for which [`has_room`] has found a place. Threads that ask at the same moment may take more places
    /// than there are, by their own number at most.
    pub(crate) fn take() -> Self {
        Self::of(&OPEN)
    }

    fn of(count: &'static AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }

    /// One that is not counted among those of the process.
    #[cfg(test)]
    pub(super) fn of_test() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        Self::of(&COUNT)
    }
}

/// From now on the process takes no more connections, and those that it has are to end.
pub(crate) fn begin_drain() {
    DRAINING.store(true, Ordering::SeqCst);
}

/// Whether it does.
pub(super) fn is_draining() -> bool {
    DRAINING.load(Ordering::SeqCst)
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_are_behind_leave_descriptors_for_others() {
        assert_eq!(allowed_by_descriptors(1024), 192);
        assert_eq!(allowed_by_descriptors(100), 0);
    }

    #[test]
    fn places_are_limited_and_given_back() {
        assert!(!has_room());
        set_limit(2);
        let (first, second) = (Place::take(), Place::take());
        assert!(!has_room());
        drop(first);
        assert!(has_room());
        drop(second);
        begin_drain();
        assert!(!has_room());
    }
}
