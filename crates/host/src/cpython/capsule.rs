//! A pointer of the server, lent to Python code.

use super::{Attached, Object, Result};
use pyo3_ffi as ffi;
use std::ffi::c_void;
use std::ptr::NonNull;

/// A `PyCapsule` without a name. Dropped, it gets one: code that has kept the capsule and asks for the pointer, as
/// it must, by the name that is none, gets `ValueError` instead of a pointer to what has been freed.
pub(crate) struct Capsule<'py>(Object<'py>);

impl<'py> Capsule<'py> {
    /// The environ's key for the server's own request.
    pub(crate) const NAME: &'static str = "apache.request_rec";

    /// Wraps the pointer, if there is one.
    pub(crate) fn of(
        py: Attached<'py>,
        pointer: Option<NonNull<c_void>>,
    ) -> Result<'py, Option<Self>> {
        let Some(pointer) = pointer else { return Ok(None) };
        // SAFETY: the token proves that this thread is attached; the pointer is not null and only carried, and there is no destructor.
        unsafe {
            let raw = ffi::PyCapsule_New(pointer.as_ptr(), std::ptr::null(), None);
            Object::from_owned(py, raw).map(|capsule| Some(Self(capsule)))
        }
    }

    /// The capsule itself.
    pub(crate) const fn object(&self) -> &Object<'py> {
        &self.0
    }
}

impl Drop for Capsule<'_> {
    fn drop(&mut self) {
        // SAFETY: the token in the object proves that this thread is attached; the object is a capsule, as `of` made it, and
        // the name is static.
        unsafe { ffi::PyCapsule_SetName(self.0.as_ptr(), c"of a request that has ended".as_ptr()) };
    }
}
