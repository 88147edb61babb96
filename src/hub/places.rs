//! How many connections there may be without a thread, and whether any more are taken. It must never know a connection.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many there may be: none until the configuration has been looked at.
static LIMIT: AtomicUsize = AtomicUsize::new(0);
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// The child is to leave.
static DRAINING: AtomicBool = AtomicBool::new(false);

/// The place of one connection, given back when this is dropped.
pub(crate) struct Place(());

/// Sets how many connections of this process may have no thread.
pub(crate) fn set_limit(limit: usize) {
    LIMIT.store(limit, Ordering::Relaxed);
}

/// Whether one more connection may be given away.
pub(crate) fn has_room() -> bool {
    OPEN.load(Ordering::Relaxed) < LIMIT.load(Ordering::Relaxed) && !is_draining()
}

impl Place {
    /// For a connection for which [`has_room`] has found a place. Threads that ask at the same moment may take more places
    /// than there are, by their own number at most.
    pub(crate) fn take() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(())
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
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
