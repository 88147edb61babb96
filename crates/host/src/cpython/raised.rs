//! Exceptions: that one is set, which one, and how to set one.

use super::{Attached, Object};
use pyo3_ffi as ffi;
use std::ffi::{CStr, CString};

/// What a call into Python gives.
pub(crate) type Result<'py, T> = std::result::Result<T, Raised<'py>>;

/// "An exception is set in the thread state." It carries nothing, so it costs nothing, and a C
/// function that returns null passes it on as CPython itself would.
#[must_use]
pub(crate) struct Raised<'py>(Attached<'py>);

/// The built-in exceptions this crate raises or looks for.
#[derive(Clone, Copy)]
pub(crate) enum ExceptionKind {
    Attribute,
    Key,
    Os,
    Runtime,
    System,
    SystemExit,
    Type,
    Value,
}

impl ExceptionKind {
    fn raw(self) -> *mut ffi::PyObject {
        // SAFETY: the built-in exception objects are set once at start-up and immortal after.
        unsafe {
            match self {
                Self::Attribute => ffi::PyExc_AttributeError,
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
        // SAFETY: attached. A failure without an exception would make CPython die later and
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
        // SAFETY: attached; a borrowed reference that is only compared.
        if unsafe { ffi::PyErr_Occurred() }.is_null() { None } else { Some(Self(py)) }
    }

    /// Whether it is of this kind (or of a subclass).
    pub(crate) fn is(&self, kind: ExceptionKind) -> bool {
        // SAFETY: attached, with an exception set.
        unsafe { ffi::PyErr_ExceptionMatches(kind.raw()) != 0 }
    }

    /// Whether it is of this class (or of a subclass).
    pub(crate) fn is_of(&self, class: &Object<'py>) -> bool {
        // SAFETY: attached, with an exception set; the class is a live object.
        unsafe { ffi::PyErr_ExceptionMatches(class.as_ptr()) != 0 }
    }

    /// Forgets it.
    pub(crate) fn clear(self) {
        // SAFETY: attached.
        unsafe { ffi::PyErr_Clear() };
    }

    /// Takes it out of the thread state, so that other Python code can run.
    pub(crate) fn take(self) -> Exception<'py> {
        let mut class = std::ptr::null_mut();
        let mut value = std::ptr::null_mut();
        let mut traceback = std::ptr::null_mut();
        // SAFETY: attached; the three are new references or null, after normalisation an instance
        // of the class; each is taken over once. (The function that returns one object came with
        // Python 3.12.)
        #[allow(deprecated, reason = "the replacement came with Python 3.12")]
        unsafe {
            ffi::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback);
            ffi::PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut traceback);
            if !traceback.is_null() && !value.is_null() {
                ffi::PyException_SetTraceback(value, traceback);
            }
            let owned = |raw| {
                Object::from_owned(self.0, raw).unwrap_or_else(|raised| {
                    raised.clear();
                    self.0.none()
                })
            };
            Exception {
                class: owned(class),
                value: owned(value),
                traceback: if traceback.is_null() { self.0.none() } else { owned(traceback) },
            }
        }
    }
}

/// An exception that is no longer set.
pub(crate) struct Exception<'py> {
    pub(crate) class: Object<'py>,
    pub(crate) value: Object<'py>,
    pub(crate) traceback: Object<'py>,
}

impl<'py> Exception<'py> {
    /// Whether it is of this kind (or of a subclass).
    pub(crate) fn is(&self, kind: ExceptionKind) -> bool {
        // SAFETY: attached; both are live objects.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.class.as_ptr(), kind.raw()) != 0 }
    }

    /// Sets it again.
    pub(crate) fn restore(self) -> Raised<'py> {
        let py = self.class.py();
        let traceback =
            if self.traceback.is_none() { std::ptr::null_mut() } else { self.traceback.into_raw() };
        // SAFETY: attached; PyErr_Restore takes over the three references.
        #[allow(deprecated, reason = "the replacement came with Python 3.12")]
        unsafe {
            ffi::PyErr_Restore(self.class.into_raw(), self.value.into_raw(), traceback);
        }
        Raised(py)
    }

    /// `exc_info` as `start_response` got it: `(type, value, traceback)`. `None` where that is no exception:
    /// anybody may have put anything there, and where there is none `sys.exc_info()` says so with three `None`.
    pub(crate) fn from_exc_info(info: &Object<'py>) -> Result<'py, Option<Self>> {
        let class = info.sequence_item(0)?;
        let value = info.sequence_item(1)?;
        let traceback = info.sequence_item(2)?;
        // SAFETY: attached; all three are live objects.
        let sound = unsafe {
            ffi::PyExceptionClass_Check(class.as_ptr()) != 0
                && (value.is_none() || ffi::PyExceptionInstance_Check(value.as_ptr()) != 0)
                && (traceback.is_none() || ffi::PyTraceBack_Check(traceback.as_ptr()) != 0)
        };
        Ok(sound.then_some(Self { class, value, traceback }))
    }
}

impl<'py> Attached<'py> {
    /// A new exception class for the current interpreter, derived from `BaseException` itself; `name`
    /// is `module.Name`.
    pub(crate) fn exception_class(self, name: &CStr, doc: &CStr) -> Result<'py, Object<'py>> {
        // SAFETY: attached; both texts are NUL-terminated and copied, the base is a built-in type.
        unsafe {
            let raw = ffi::PyErr_NewExceptionWithDoc(
                name.as_ptr(),
                doc.as_ptr(),
                ffi::PyExc_BaseException,
                std::ptr::null_mut(),
            );
            Object::from_owned(self, raw)
        }
    }

    /// Raises an exception of this kind with this text.
    pub(crate) fn raise(self, kind: ExceptionKind, text: &str) -> Raised<'py> {
        let text = CString::new(text.replace('\0', "\\x00")).unwrap_or_default();
        // SAFETY: attached; CPython copies the NUL-terminated UTF-8 text.
        unsafe { ffi::PyErr_SetString(kind.raw(), text.as_ptr()) };
        Raised(self)
    }
}
