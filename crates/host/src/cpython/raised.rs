//! Exceptions: that one is set, which one, and how to set one.

use super::Attached;
use pyo3_ffi as ffi;
use std::ffi::CString;

/// What a call into Python gives.
pub(crate) type Result<'py, T> = std::result::Result<T, Raised<'py>>;

/// "An exception is set in the thread state." It carries nothing, so it costs nothing, and a C
/// function that returns null passes it on as CPython itself would.
#[must_use]
pub(crate) struct Raised<'py>(pub(super) Attached<'py>);

/// The built-in exceptions this crate raises or looks for.
#[derive(Clone, Copy)]
pub(crate) enum ExceptionKind {
    Attribute,
    Import,
    Key,
    Os,
    Runtime,
    System,
    SystemExit,
    Type,
    Value,
}

impl ExceptionKind {
    pub(super) fn raw(self) -> *mut ffi::PyObject {
        // SAFETY: the built-in exception objects are set once at start-up and immortal after.
        unsafe {
            match self {
                Self::Attribute => ffi::PyExc_AttributeError,
                Self::Import => ffi::PyExc_ImportError,
                Self::Key => ffi::PyExc_KeyError,
                Self::Os => ffi::PyExc_OSError,
                Self::Runtime => ffi::PyExc_RuntimeError,
                Self::System => ffi::PyExc_SystemError,
                Self::SystemExit => ffi::PyExc_SystemExit,
                Self::Type => ffi::PyExc_TypeError,
                Self::Value => ffi::PyExc_ValueError,
            }
        }
    }
}

impl<'py> Raised<'py> {
    /// Says that a C function has just failed with an exception set.
    pub(super) fn new(py: Attached<'py>) -> Self {
        // SAFETY: the token proves that this thread is attached. A failure without an exception would make CPython die later and
        // elsewhere; name it here instead.
        unsafe {
            if ffi::PyErr_Occurred().is_null() {
                let text = c"a C function failed without setting an exception";
                ffi::PyErr_SetString(ExceptionKind::System.raw(), text.as_ptr());
            }
        }
        Self(py)
    }

    /// The exception that is set, when one is.
    pub(super) fn if_any(py: Attached<'py>) -> Option<Self> {
        // SAFETY: the token proves that this thread is attached; a borrowed reference that is only compared.
        if unsafe { ffi::PyErr_Occurred() }.is_null() { None } else { Some(Self(py)) }
    }

    /// Whether it is of this kind (or of a subclass).
    pub(crate) fn is(&self, kind: ExceptionKind) -> bool {
        // SAFETY: the token proves that this thread is attached; `Raised` means that an exception is
        // set; the kinds are static objects.
        unsafe { ffi::PyErr_ExceptionMatches(kind.raw()) != 0 }
    }

    /// Forgets it.
    pub(crate) fn clear(self) {
        // SAFETY: the token proves that this thread is attached; it clears that thread's exception only.
        unsafe { ffi::PyErr_Clear() };
    }
}

impl<'py> Attached<'py> {
    /// Raises an exception of this kind with this text.
    pub(crate) fn raise(self, kind: ExceptionKind, text: &str) -> Raised<'py> {
        let text = CString::new(text.replace('\0', "\\x00")).unwrap_or_default();
        // SAFETY: the token proves that this thread is attached; CPython copies the NUL-terminated UTF-8 text.
        unsafe { ffi::PyErr_SetString(kind.raw(), text.as_ptr()) };
        Raised(self)
    }
}
