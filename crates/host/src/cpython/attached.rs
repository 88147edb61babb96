//! The proof that this thread may touch Python objects of one interpreter.

use pyo3_ffi as ffi;
use std::marker::PhantomData;

unsafe extern "C" {
    /// In CPython (pythread.h), missing from the bindings.
    fn PyThread_get_thread_ident() -> std::ffi::c_ulong;
}

/// A token that exists only while this thread holds an attached thread state. It is neither `Send`
/// nor storable beyond the attachment it came from.
#[derive(Clone, Copy)]
pub struct Attached<'py>(PhantomData<(&'py (), *mut ())>);

impl<'py> Attached<'py> {
    /// # Safety
    /// A thread state must be current in this thread for all of `'py` (except within
    /// [`Attached::detached`]).
    pub(super) const unsafe fn assume() -> Self {
        Self(PhantomData)
    }

    /// Lets other threads of the interpreter run while `call` blocks.
    ///
    /// `call` must not touch Python objects, and cannot: neither a token nor a reference to an object is `Send`.
    pub fn detached<F: FnOnce() -> R + Send, R>(self, call: F) -> R {
        struct Reattach(*mut ffi::PyThreadState);
        impl Drop for Reattach {
            fn drop(&mut self) {
                // SAFETY: the state PyEval_SaveThread returned to this very thread. In `drop`, so
                // that a panic in `call` unwinds into attached code as it left it.
                super::gil_wait::timed(|| unsafe { ffi::PyEval_RestoreThread(self.0) });
            }
        }
        // SAFETY: the token proves that a thread state is attached.
        let _reattach = Reattach(unsafe { ffi::PyEval_SaveThread() });
        call()
    }

    /// The number by which Python names the calling thread (`threading.get_ident()`).
    pub(crate) fn thread_ident() -> u64 {
        // SAFETY: the function has no precondition; it returns a number.
        unsafe { PyThread_get_thread_ident() as u64 }
    }
}
