//! `iter()` and `next()`.

use super::{Object, Raised, Result};
use pyo3_ffi as ffi;

/// What `iter()` gave: an object that is known to have `__next__`.
pub(crate) struct Iter<'py>(Object<'py>);

impl<'py> Object<'py> {
    /// `iter(self)`.
    ///
    /// # Errors
    /// `TypeError` when it is not iterable, or what its `__iter__` raises.
    pub(crate) fn iter(&self) -> Result<'py, Iter<'py>> {
        // SAFETY: the token proves the attachment; CPython returns a new reference to an object that passes
        // PyIter_Check, or null with an exception set.
        unsafe { Object::from_owned(self.py(), ffi::PyObject_GetIter(self.as_ptr())) }.map(Iter)
    }
}

impl<'py> Iter<'py> {
    /// `next(self)`, `None` at the end.
    ///
    /// # Errors
    /// What the iterator raises.
    pub(crate) fn next(&self) -> Result<'py, Option<Object<'py>>> {
        let py = self.0.py();
        // SAFETY: the token proves the attachment. PyIter_Next calls `tp_iternext` without looking whether there is
        // one; `Object::iter` is the only way to a value of this type, and a type keeps its `tp_iternext`: the slot of
        // a class from which Python code deletes `__next__` becomes a function that raises.
        unsafe {
            let raw = ffi::PyIter_Next(self.0.as_ptr());
            if raw.is_null() {
                return Raised::if_any(py).map_or(Ok(None), Err);
            }
            Object::from_owned(py, raw).map(Some)
        }
    }
}
