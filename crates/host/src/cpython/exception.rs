//! Exceptions as objects: taken out of the thread state, examined, set again.

use super::{Attached, ExceptionKind, Object, Raised, Result};
use pyo3_ffi as ffi;
use std::ffi::CStr;

impl<'py> Raised<'py> {
    /// Whether it is of this class (or of a subclass).
    pub(crate) fn is_of(&self, class: &Object<'py>) -> bool {
        // SAFETY: the token proves that this thread is attached; `Raised` means that an exception is
        // set; `class` keeps a reference to its object.
        unsafe { ffi::PyErr_ExceptionMatches(class.as_ptr()) != 0 }
    }

    /// Takes it out of the thread state, so that other Python code can run.
    pub(crate) fn take(self) -> Exception<'py> {
        let mut class = std::ptr::null_mut();
        let mut value = std::ptr::null_mut();
        let mut traceback = std::ptr::null_mut();
        // SAFETY: the token proves that this thread is attached; the three are new references or null, after normalisation an instance
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
        // SAFETY: the token proves that this thread is attached; `self` keeps the class, and the kinds are
        // static objects.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.class.as_ptr(), kind.raw()) != 0 }
    }

    /// Sets it again.
    pub(crate) fn restore(self) -> Raised<'py> {
        let py = self.class.py();
        let traceback =
            if self.traceback.is_none() { std::ptr::null_mut() } else { self.traceback.into_raw() };
        // SAFETY: the token proves that this thread is attached; PyErr_Restore takes over the three references.
        #[allow(deprecated, reason = "the replacement came with Python 3.12")]
        unsafe {
            ffi::PyErr_Restore(self.class.into_raw(), self.value.into_raw(), traceback);
        }
        Raised(py)
    }

    /// `exc_info` as `start_response` got it: `(type, value, traceback)`. `None` where that is no exception:
    /// an application may pass anything, and without an exception `sys.exc_info()` is three `None`.
    pub(crate) fn from_exc_info(info: &Object<'py>) -> Result<'py, Option<Self>> {
        let class = info.sequence_item(0)?;
        let value = info.sequence_item(1)?;
        let traceback = info.sequence_item(2)?;
        // SAFETY: the token proves that this thread is attached; the three values keep the objects
        // whose types are checked.
        let sound = unsafe {
            ffi::PyExceptionClass_Check(class.as_ptr()) != 0
                && (value.is_none() || ffi::PyExceptionInstance_Check(value.as_ptr()) != 0)
                && (traceback.is_none() || ffi::PyTraceBack_Check(traceback.as_ptr()) != 0)
        };
        Ok(sound.then_some(Self { class, value, traceback }))
    }
}

impl<'py> Attached<'py> {
    /// Has the thread of this number raise `exception` in this interpreter as soon as it runs Python code
    /// there; `None` takes back what has not been raised yet.
    pub(crate) fn interrupt(self, thread: u64, exception: Option<&Object<'py>>) {
        let exception = exception.map_or(std::ptr::null_mut(), Object::as_ptr);
        // SAFETY: the token proves that this thread is attached; the function takes a reference of its own, and a thread that is gone is not
        // found.
        unsafe { ffi::PyThreadState_SetAsyncExc(thread as std::ffi::c_long, exception) };
    }

    /// A new exception class for the current interpreter, derived from `BaseException` itself; `name`
    /// is `module.Name`.
    pub(crate) fn exception_class(self, name: &CStr, doc: &CStr) -> Result<'py, Object<'py>> {
        // SAFETY: the token proves that this thread is attached; both texts are NUL-terminated and copied, the base is a built-in type.
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
}
