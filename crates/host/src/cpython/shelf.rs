//! References that outlive an attachment, such as an interpreter's interned keys.

use super::{Attached, Object};
use pyo3_ffi as ffi;
use std::ptr::NonNull;

/// A strong reference kept by Rust data of one interpreter. It can only be used, and given back,
/// by a thread attached to that interpreter; dropped without [`Shelf::clear`] it is leaked, which is
/// what a process that ends without finalising Python wants.
pub(crate) struct Shelf(NonNull<ffi::PyObject>);

// SAFETY: the pointer is only dereferenced through methods that demand an `Attached` token.
unsafe impl Send for Shelf {}
// SAFETY: as above.
unsafe impl Sync for Shelf {}

impl Shelf {
    /// Keeps a reference. Whoever keeps it says by the place where it is kept to which interpreter it
    /// belongs.
    pub(crate) fn keep(object: Object<'_>) -> Self {
        // SAFETY: `into_raw` of an `Object` is never null.
        Self(unsafe { NonNull::new_unchecked(object.into_raw()) })
    }

    /// A reference for use under this attachment, which must be to the interpreter it came from.
    pub(crate) fn get<'py>(&self, py: Attached<'py>) -> Object<'py> {
        // SAFETY: the shelf owns a reference, so the object is live.
        unsafe { Object::from_borrowed(py, self.0.as_ptr()) }
    }

    /// Gives the reference back.
    pub(crate) fn clear(self, py: Attached<'_>) {
        // SAFETY: the shelf's own reference; consuming `self` gives it up once.
        drop(unsafe { Object::from_owned(py, self.0.as_ptr()) });
    }
}
