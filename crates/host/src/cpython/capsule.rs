//! A pointer of the server's, shown to Python for a while.

use super::{Attached, Object, Result};
use pyo3_ffi as ffi;
use std::ffi::c_void;
use std::ptr::NonNull;

/// A `PyCapsule` without a name. Dropped, it gets one: whoever has kept it and asks for the pointer, as
/// one must, by the name that is none, gets `ValueError` instead of what is no longer there.
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
        // SAFETY: attached; the pointer is not null and only carried, and there is no destructor.
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
        // SAFETY: attached, as the object inside proves; it is a capsule, so that this cannot fail, and
        // the name is static.
        unsafe { ffi::PyCapsule_SetName(self.0.as_ptr(), c"of a request that has ended".as_ptr()) };
    }
}
