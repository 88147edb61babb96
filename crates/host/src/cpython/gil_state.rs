//! What `PyGILState_Ensure` takes for the calling thread's state, up to Python 3.11: the first one the thread ever
//! had, in whichever interpreter. An extension that calls it back in another one (`sqlite3` when a connection is
//! closed) would wait for the lock it holds, or run in the wrong interpreter. Here it is the state that is attached,
//! as CPython itself does it from 3.12 on.
//!
//! CPython keeps the state under a thread-specific key (`autoTSSkey`) whose number is private; [`find_key`] looks
//! for it.

use pyo3_ffi as ffi;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

const NONE: u32 = u32::MAX;
/// Found once Python has started, and again after a fork, for which CPython makes a new one.
static KEY: AtomicU32 = AtomicU32::new(NONE);

/// Looks for the key in a thread whose only state is `first`. Where the key is not unique, everything stays as CPython
/// has it.
pub(super) fn find_key(first: NonNull<ffi::PyThreadState>) {
    // SAFETY: sysconf has no precondition.
    let limit = unsafe { libc::sysconf(libc::_SC_THREAD_KEYS_MAX) };
    let limit = libc::pthread_key_t::try_from(limit).unwrap_or(0);
    // SAFETY: pthread_getspecific is defined for keys in use; glibc and musl return null for any other number below
    // the limit.
    let value = |key| unsafe { libc::pthread_getspecific(key) };
    let mut keys = (0..limit).filter(|&key| value(key) == first.as_ptr().cast());
    let found = match (keys.next(), keys.next()) {
        (Some(key), None) if verify_key(key, first) => key,
        _ => NONE,
    };
    KEY.store(found, Ordering::Relaxed);
}

/// Whether CPython reads its state from under the key.
fn verify_key(key: libc::pthread_key_t, first: NonNull<ffi::PyThreadState>) -> bool {
    // SAFETY: the key is in use, because `find_key` read a value that is not null from it. Its value belongs to the
    // calling thread alone and is `first` again before this function returns; CPython only reads it in between.
    unsafe {
        libc::pthread_setspecific(key, std::ptr::null());
        let without = ffi::PyGILState_GetThisThreadState();
        libc::pthread_setspecific(key, first.as_ptr().cast());
        without.is_null() && ffi::PyGILState_GetThisThreadState() == first.as_ptr()
    }
}

/// Stores the state by which the calling thread is attached.
pub(super) fn store(state: NonNull<ffi::PyThreadState>) {
    let key = KEY.load(Ordering::Relaxed);
    if key != NONE {
        // SAFETY: `find_key` proved that the key is CPython's own; it stays in use until CPython is finalised, after
        // which no thread state can be attached. The value is a thread state of this thread, as CPython stores it.
        unsafe { libc::pthread_setspecific(key, state.as_ptr().cast()) };
    }
}
