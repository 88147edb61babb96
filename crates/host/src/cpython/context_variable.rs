//! Values of `contextvars.ContextVar` objects.

use super::{Object, Raised, Result};
use pyo3_ffi as ffi;

impl<'py> Object<'py> {
    /// What a context variable is in the current context, or its default; `None` where there is neither.
    ///
    /// # Errors
    /// `TypeError` where it is no context variable.
    pub(crate) fn context_value(&self) -> Result<'py, Option<Self>> {
        let mut value = std::ptr::null_mut();
        // SAFETY: the token proves that this thread is attached; CPython checks that it is a context variable, and writes a
        // new reference or null.
        unsafe {
            if ffi::PyContextVar_Get(self.as_ptr(), std::ptr::null_mut(), &raw mut value) < 0 {
                return Err(Raised::new(self.py()));
            }
            if value.is_null() { Ok(None) } else { Self::from_owned(self.py(), value).map(Some) }
        }
    }
}
