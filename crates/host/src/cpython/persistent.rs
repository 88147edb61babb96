//! References that outlive an attachment, such as an interpreter's interned keys.

use super::{Attached, Object};
use pyo3_ffi as ffi;
use std::ptr::NonNull;

/// A strong reference kept by Rust data of one interpreter. It can only be used, and given back,
/// by a thread attached to that interpreter; dropped without [`Persistent::clear`] it is leaked, which is
/// what a process that ends without finalising Python wants.
pub(crate) struct Persistent {
    object: NonNull<ffi::PyObject>,
    /// The interpreter's number, from 0.
    #[cfg(debug_assertions)]
    interpreter: i64,
}

// SAFETY: the pointer is only followed by methods that demand an `Attached` token of the interpreter that the object
// belongs to; where that has no lock, CPython counts references atomically.
unsafe impl Send for Persistent {}
// SAFETY: as for `Send`; the pointer never changes.
unsafe impl Sync for Persistent {}

impl Persistent {
    /// Keeps a reference. The place where it is kept says to which interpreter it belongs.
    pub(crate) fn new(object: Object<'_>) -> Self {
        #[cfg(debug_assertions)]
        let interpreter = current_interpreter(object.py());
        Self {
            // SAFETY: the pointer of an `Object` is never null.
            object: unsafe { NonNull::new_unchecked(object.into_raw()) },
            #[cfg(debug_assertions)]
            interpreter,
        }
    }

    /// A reference for use under this attachment, which must be to the interpreter it came from.
    pub(crate) fn get<'py>(&self, py: Attached<'py>) -> Object<'py> {
        self.check(py);
        // SAFETY: `self` owns a reference until `clear`, so the object is there; the attachment is to its interpreter.
        unsafe { Object::from_borrowed(py, self.object.as_ptr()) }
    }

    /// Gives the reference back.
    pub(crate) fn clear(self, py: Attached<'_>) {
        self.check(py);
        // SAFETY: the reference that `self` owns; consuming `self` gives it up once.
        drop(unsafe { Object::from_owned(py, self.object.as_ptr()) });
    }

    /// An object that is used in another interpreter than its own breaks both. Every `Persistent` is reached through its
    /// `Interpreter`; a debug build checks it.
    fn check(&self, _py: Attached<'_>) {
        #[cfg(debug_assertions)]
        assert_eq!(self.interpreter, current_interpreter(_py), "an object of another interpreter");
    }
}

#[cfg(debug_assertions)]
fn current_interpreter(_py: Attached<'_>) -> i64 {
    // SAFETY: the token proves that a thread state is attached, which has an interpreter.
    unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) }
}
