//! The request of a thread, lent to Python objects for as long as it is served.
//!
//! An application may keep `wsgi.input` or `start_response` beyond its request, or hand them to
//! another thread. What they hold is a [`Lease`]: it can be used until the request ends, by one
//! thread at a time, and afterwards says that it has ended. Ending waits for whoever is inside.
#![allow(unsafe_code, reason = "a borrow is handed through Python, which knows no lifetimes")]

use crate::cpython::Attached;
use crate::gateway::response::Request;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// A revocable borrow of a [`Request`].
pub(crate) struct Lease(Mutex<Option<NonNull<Request<'static>>>>);

// SAFETY: the pointer is only followed under the mutex, and a `Request` is not bound to its thread:
// Apache's request_rec and the daemon's connection may be used by any one thread at a time.
unsafe impl Send for Lease {}
// SAFETY: as above.
unsafe impl Sync for Lease {}

impl Lease {
    /// Lends `request` while `body` runs. `attached` is the attachment `body` runs under: ending the
    /// lease may have to wait for another thread, which then must be able to run.
    pub(crate) fn lend<R>(
        request: &mut Request<'_>,
        py: Attached<'_>,
        body: impl FnOnce(&Arc<Self>) -> R,
    ) -> R {
        struct End<'a>(&'a Arc<Lease>, Attached<'a>);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                *self.0.lock(self.1) = None;
            }
        }
        let lease = Arc::new(Self(Mutex::new(Some(NonNull::from(request).cast()))));
        let end = End(&lease, py);
        let result = body(&lease);
        drop(end);
        result
    }

    /// Calls `body` with the request, unless it has ended. `body` must neither block nor run Python
    /// code (it gets no token), which could come back here.
    pub(crate) fn with<R>(
        &self,
        py: Attached<'_>,
        body: impl for<'r> FnOnce(&mut Request<'r>) -> R,
    ) -> Option<R> {
        // SAFETY: the pointer was made from a borrow that `lend` holds until it has taken it out of
        // the mutex, which we hold.
        self.lock(py).map(|mut request| body(unsafe { request.as_mut() }))
    }

    /// As [`Lease::with`], for a `body` that may block: other Python threads run meanwhile.
    pub(crate) fn with_detached<R>(
        &self,
        py: Attached<'_>,
        body: impl for<'r> FnOnce(&mut Request<'r>) -> R,
    ) -> Option<R> {
        py.detached(|| {
            let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: as above.
            slot.map(|mut request| body(unsafe { request.as_mut() }))
        })
    }

    /// As [`Lease::with`], for a thread that is not attached and must not wait: `None` also when another
    /// thread is inside.
    pub(crate) fn try_with<R>(
        &self,
        body: impl for<'r> FnOnce(&mut Request<'r>) -> R,
    ) -> Option<R> {
        let slot = match self.0.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        // SAFETY: as above.
        slot.map(|mut request| body(unsafe { request.as_mut() }))
    }

    /// Makes a record of a line of text that still waits for its newline.
    pub(crate) fn with_unfinished_log(&self, py: Attached<'_>) {
        if self.with(py, |request| request.has_unfinished_line()) == Some(true) {
            self.with_detached(py, |request| request.flush_log());
        }
    }

    /// Locks without keeping the interpreter from the thread that holds the lock.
    fn lock(&self, py: Attached<'_>) -> MutexGuard<'_, Option<NonNull<Request<'static>>>> {
        match self.0.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                py.detached(|| self.0.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }
}
