//! The response of a thread's request, lent to Python objects for as long as the request is served.
//!
//! An application may keep `wsgi.input` or `start_response` beyond its request, or hand them to
//! another thread. What they hold is a [`Lease`]: it can be used until the request ends, by one
//! thread at a time, and afterwards returns `None`. Ending it waits for a thread that is using it.
#![allow(unsafe_code, reason = "a borrow is passed through Python, which has no lifetimes")]

use crate::cpython::Attached;
use crate::gateway::response::Response;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// A revocable borrow of a [`Response`].
pub struct Lease(Mutex<Option<NonNull<Response<'static>>>>);

// SAFETY: the pointer is only followed under the mutex, and a `Response` is not bound to its thread:
// Apache's request_rec and the daemon's connection may be used by any one thread at a time.
unsafe impl Send for Lease {}
// SAFETY: the mutex makes every use exclusive, so that sharing is no more than sending.
unsafe impl Sync for Lease {}

impl Lease {
    /// Lends `response` while `body` runs. `attached` is the attachment `body` runs under: ending the
    /// lease may have to wait for another thread, which then must be able to run.
    pub(crate) fn lend<R>(
        response: &mut Response<'_>,
        py: Attached<'_>,
        body: impl FnOnce(&Arc<Self>) -> R,
    ) -> R {
        struct LeaseGuard<'a>(&'a Arc<Lease>, Attached<'a>);
        impl Drop for LeaseGuard<'_> {
            fn drop(&mut self) {
                *self.0.lock(self.1) = None;
            }
        }
        let lease = Arc::new(Self(Mutex::new(Some(NonNull::from(response).cast()))));
        let end = LeaseGuard(&lease, py);
        let result = body(&lease);
        drop(end);
        result
    }

    /// Calls `body` with the response; `None` once the request has ended. `body` must neither block nor run Python
    /// code (it gets no token), which could use the same lease.
    pub(crate) fn with<R>(
        &self,
        py: Attached<'_>,
        body: impl for<'r> FnOnce(&mut Response<'r>) -> R,
    ) -> Option<R> {
        // SAFETY: the pointer was made from a borrow that `lend` holds until it has taken it out of
        // the mutex, which is locked until `body` returns.
        self.lock(py).map(|mut response| body(unsafe { response.as_mut() }))
    }

    /// As [`Lease::with`], for a `body` that may block: other Python threads run meanwhile, so it must not use Python
    /// objects, none of which is `Send`.
    pub fn with_detached<R>(
        &self,
        py: Attached<'_>,
        body: impl for<'r> FnOnce(&mut Response<'r>) -> R + Send,
    ) -> Option<R> {
        py.detached(|| {
            let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: a pointer that `lend` has not taken out of the mutex is of a borrow that `lend` still holds; the
            // mutex is locked until `body` returns.
            slot.map(|mut response| body(unsafe { response.as_mut() }))
        })
    }

    /// As [`Lease::with`], for a thread that is not attached and must not wait: `None` also when another
    /// thread is inside.
    pub(crate) fn try_with<R>(
        &self,
        body: impl for<'r> FnOnce(&mut Response<'r>) -> R,
    ) -> Option<R> {
        let slot = match self.0.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        // SAFETY: a pointer that `lend` has not taken out of the mutex is of a borrow that `lend` still holds; the
        // mutex is locked until `body` returns.
        slot.map(|mut response| body(unsafe { response.as_mut() }))
    }

    /// Makes a record of a line of text that still waits for its newline.
    pub(crate) fn with_unfinished_log(&self, py: Attached<'_>) {
        if self.with(py, |response| response.has_unfinished_line()) == Some(true) {
            self.with_detached(py, |response| response.flush_log());
        }
    }

    /// Locks; where it has to wait it does so detached, because the thread that holds the lock may need the
    /// interpreter.
    fn lock(&self, py: Attached<'_>) -> MutexGuard<'_, Option<NonNull<Response<'static>>>> {
        match self.0.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                py.detached(|| self.0.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }
}
