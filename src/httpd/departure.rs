//! When a thread of httpd has left a connection that it has suspended. It must never know the connection.
//!
//! After its last `suspend_connection` hook the event MPM writes twice more to a connection (`notify_suspend` in
//! server/mpm/event/event.c: the scoreboard handle, and a flag), returns to its loop, and has forgotten the connection. No hook
//! tells of that moment. But a thread does one thing after the other: when it runs a hook for another connection, it has written.
//! Until then it has no more than one such connection, so that no more of them are waited for than there are threads.
//!
//! The end of a thread says nothing: it ends when its process is about to. At a stop that is not graceful the MPM's main thread
//! may then be closing the socket that it has found at a thread (`close_worker_sockets`), whose record is in the same block.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells, to any thread, whether the thread that made it has left the connection.
#[derive(Clone)]
pub(super) struct Departure(Arc<AtomicBool>);

thread_local! {
    /// That of the connection which this thread has suspended last, and may not have left.
    static LAST: RefCell<Option<Departure>> = const { RefCell::new(None) };
}

impl Departure {
    /// That of the connection of which the calling thread runs the last hook.
    pub(super) fn begin() -> Self {
        Self::note();
        let departure = Self(Arc::default());
        let kept = departure.clone();
        // Where the thread is about to end it may be too late for that, and the connection is never known to be left.
        let _ = LAST.try_with(|last| *last.borrow_mut() = Some(kept));
        departure
    }

    /// Says that the calling thread has left the connection that it suspended last: it runs a hook for another one.
    pub(super) fn note() {
        if let Ok(Some(left)) = LAST.try_with(|last| last.borrow_mut().take()) {
            left.0.store(true, Ordering::Release);
        }
    }

    /// Whether the thread has left. What it wrote before is visible to the caller then.
    pub(super) fn has_come(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn thread_has_left_a_connection_with_its_next_hook() {
        let (made, departures) = channel();
        let (go_on, waits) = channel::<()>();
        let thread = std::thread::spawn(move || {
            made.send(Departure::begin()).unwrap();
            waits.recv().unwrap();
            Departure::note();
            made.send(Departure::begin()).unwrap();
            waits.recv().unwrap();
            made.send(Departure::begin()).unwrap();
            waits.recv().unwrap();
        });
        let first = departures.recv().unwrap();
        // The hooks of other threads say nothing.
        Departure::note();
        assert!(!first.has_come());
        go_on.send(()).unwrap();
        let second = departures.recv().unwrap();
        assert!(first.has_come() && !second.has_come());
        go_on.send(()).unwrap();
        let third = departures.recv().unwrap();
        assert!(second.has_come() && !third.has_come());
        go_on.send(()).unwrap();
        thread.join().unwrap();
        assert!(!third.has_come());
    }
}
