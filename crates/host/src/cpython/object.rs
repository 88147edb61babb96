//! One counted reference to a Python object, bound to the attachment it may be used under.

use super::{Attached, ExceptionKind, Raised, Result};
use pyo3_ffi as ffi;
use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A strong reference. Dropping it decrefs at once: the token inside proves that this is allowed.
pub struct Object<'py> {
    raw: NonNull<ffi::PyObject>,
    py: Attached<'py>,
}

impl<'py> Object<'py> {
    /// Takes over a new reference; null means that an exception is set.
    ///
    /// # Safety
    /// `raw` is null with an error set, or a reference the caller owns.
    pub(super) unsafe fn from_owned(
        py: Attached<'py>,
        raw: *mut ffi::PyObject,
    ) -> Result<'py, Self> {
        match NonNull::new(raw) {
            Some(raw) => Ok(Self { raw, py }),
            None => Err(Raised::new(py)),
        }
    }

    /// Makes a reference of its own from a borrowed one.
    ///
    /// # Safety
    /// `raw` points to an object that has a reference somewhere until this returns.
    pub(super) unsafe fn from_borrowed(py: Attached<'py>, raw: *mut ffi::PyObject) -> Self {
        // SAFETY: the caller promises that the object exists, so that it can be given another reference.
        unsafe {
            ffi::Py_INCREF(raw);
            Self { raw: NonNull::new_unchecked(raw), py }
        }
    }

    /// The token this reference lives under.
    pub(crate) const fn py(&self) -> Attached<'py> {
        self.py
    }

    pub(super) const fn as_ptr(&self) -> *mut ffi::PyObject {
        self.raw.as_ptr()
    }

    /// Gives the reference away; the owner of the pointer has to release it.
    pub(super) fn into_raw(self) -> *mut ffi::PyObject {
        ManuallyDrop::new(self).raw.as_ptr()
    }

    /// `self.name`.
    pub(crate) fn attribute(&self, name: &CStr) -> Result<'py, Self> {
        // SAFETY: the token proves that this thread is attached; `name` is NUL-terminated.
        unsafe {
            Self::from_owned(self.py, ffi::PyObject_GetAttrString(self.as_ptr(), name.as_ptr()))
        }
    }

    /// `self.name`, for a name that has been interned: CPython then caches where it was found.
    pub(crate) fn attribute_of(&self, name: &Self) -> Result<'py, Self> {
        // SAFETY: the token proves that this thread is attached; `self` and `name` keep their
        // references until the call returns.
        unsafe { Self::from_owned(self.py, ffi::PyObject_GetAttr(self.as_ptr(), name.as_ptr())) }
    }

    /// `self.name`, or `None` where there is no such attribute.
    pub(crate) fn attribute_if_any(&self, name: &CStr) -> Result<'py, Option<Self>> {
        match self.attribute(name) {
            Ok(value) => Ok(Some(value)),
            Err(raised) if raised.is(ExceptionKind::Attribute) => {
                raised.clear();
                Ok(None)
            }
            Err(raised) => Err(raised),
        }
    }

    /// `self.name = value`.
    pub(crate) fn set_attribute(&self, name: &CStr, value: &Self) -> Result<'py, ()> {
        // SAFETY: the token proves that this thread is attached; `name` is NUL-terminated; `self` and
        // `value` keep their references until the call returns.
        self.done(unsafe {
            ffi::PyObject_SetAttrString(self.as_ptr(), name.as_ptr(), value.as_ptr())
        })
    }

    /// `self()`.
    pub(crate) fn call0(&self) -> Result<'py, Self> {
        // SAFETY: the token proves that this thread is attached, and `self` keeps the object.
        unsafe { Self::from_owned(self.py, ffi::PyObject_CallNoArgs(self.as_ptr())) }
    }

    /// `self(*arguments)`.
    pub(crate) fn call<const N: usize>(&self, arguments: [&Self; N]) -> Result<'py, Self> {
        let raw = arguments.map(Self::as_ptr);
        // SAFETY: the token proves that this thread is attached; `arguments` keeps the N references in
        // `raw` until the call returns.
        unsafe {
            let answer =
                ffi::PyObject_Vectorcall(self.as_ptr(), raw.as_ptr(), N, std::ptr::null_mut());
            Self::from_owned(self.py, answer)
        }
    }

    /// `self(*arguments, **keywords)`.
    pub(crate) fn call_keywords(&self, arguments: &Self, keywords: &Self) -> Result<'py, Self> {
        // SAFETY: the token proves that this thread is attached; CPython checks that they are a tuple and a dict.
        unsafe {
            let raw = ffi::PyObject_Call(self.as_ptr(), arguments.as_ptr(), keywords.as_ptr());
            Self::from_owned(self.py, raw)
        }
    }

    /// `self.name(*arguments)`.
    pub(crate) fn call_method<const N: usize>(
        &self,
        name: &CStr,
        arguments: [&Self; N],
    ) -> Result<'py, Self> {
        self.attribute(name)?.call(arguments)
    }

    /// `bool(self)`.
    pub(crate) fn is_true(&self) -> Result<'py, bool> {
        // SAFETY: the token proves that this thread is attached, and `self` keeps the object.
        match unsafe { ffi::PyObject_IsTrue(self.as_ptr()) } {
            -1 => Err(Raised::new(self.py)),
            answer => Ok(answer == 1),
        }
    }

    /// `self is None`.
    pub(crate) fn is_none(&self) -> bool {
        // SAFETY: reads the address of the singleton.
        self.as_ptr() == unsafe { ffi::Py_None() }
    }

    /// The value of a `bool`; `None` for anything else.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        // SAFETY: reads the addresses of the two singletons.
        let (yes, no) = unsafe { (ffi::Py_True(), ffi::Py_False()) };
        if self.as_ptr() == yes {
            return Some(true);
        }
        (self.as_ptr() == no).then_some(false)
    }

    /// `callable(self)`.
    pub(crate) fn is_callable(&self) -> bool {
        // SAFETY: the token proves that this thread is attached, and `self` keeps the object.
        unsafe { ffi::PyCallable_Check(self.as_ptr()) == 1 }
    }

    /// The value of an `int`.
    pub(crate) fn as_i64(&self) -> Result<'py, i64> {
        // SAFETY: the token proves that this thread is attached; -1 may be the value or an error, which `if_any` distinguishes.
        let value = unsafe { ffi::PyLong_AsLongLong(self.as_ptr()) };
        if value == -1 { Raised::if_any(self.py).map_or(Ok(value), Err) } else { Ok(value) }
    }

    /// The value of a `float`, or of what can be made one.
    pub(crate) fn as_f64(&self) -> Result<'py, f64> {
        // SAFETY: the token proves that this thread is attached; -1 may be the value or an error, which `if_any` distinguishes.
        let value = unsafe { ffi::PyFloat_AsDouble(self.as_ptr()) };
        if value == -1.0 { Raised::if_any(self.py).map_or(Ok(value), Err) } else { Ok(value) }
    }

    /// The value of anything that can stand for an integer (`__index__`).
    pub(crate) fn as_index(&self) -> Result<'py, i64> {
        // SAFETY: the token proves that this thread is attached; a null exception type asks for clipping instead of OverflowError; -1
        // may be the value or an error, which `if_any` distinguishes.
        let value = unsafe { ffi::PyNumber_AsSsize_t(self.as_ptr(), std::ptr::null_mut()) };
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        if value == -1 { Raised::if_any(self.py).map_or(Ok(value), Err) } else { Ok(value) }
    }

    /// `len(self)`.
    pub(crate) fn length(&self) -> Result<'py, usize> {
        // SAFETY: the token proves that this thread is attached, and `self` keeps the object.
        let length = unsafe { ffi::PyObject_Size(self.as_ptr()) };
        usize::try_from(length).map_err(|_| Raised::new(self.py))
    }

    /// Whether it is a `str` (or of a subclass).
    pub(crate) fn is_str(&self) -> bool {
        // SAFETY: the token proves that this thread is attached; `self` keeps the object whose type
        // flags are read.
        unsafe { ffi::PyUnicode_Check(self.as_ptr()) != 0 }
    }

    /// Whether it is a `tuple` (or of a subclass).
    pub(crate) fn is_tuple(&self) -> bool {
        // SAFETY: the token proves that this thread is attached; `self` keeps the object whose type
        // flags are read.
        unsafe { ffi::PyTuple_Check(self.as_ptr()) != 0 }
    }

    /// Whether it is a `list` (or of a subclass).
    pub(crate) fn is_list(&self) -> bool {
        // SAFETY: the token proves that this thread is attached; `self` keeps the object whose type
        // flags are read.
        unsafe { ffi::PyList_Check(self.as_ptr()) != 0 }
    }

    /// Whether its type is exactly `list` or `tuple`: nothing an application defined runs when it
    /// is looked through, and it has no `close()`.
    pub(crate) fn is_plain_sequence(&self) -> bool {
        // SAFETY: the token proves that this thread is attached; `self` keeps the object whose type
        // is compared.
        unsafe {
            ffi::PyList_CheckExact(self.as_ptr()) != 0
                || ffi::PyTuple_CheckExact(self.as_ptr()) != 0
        }
    }

    /// Whether it is a `dict` (or of a subclass).
    pub(crate) fn is_dict(&self) -> bool {
        // SAFETY: the token proves that this thread is attached; `self` keeps the object whose type
        // flags are read.
        unsafe { ffi::PyDict_Check(self.as_ptr()) != 0 }
    }

    /// The number of items of a `list` or `tuple`.
    pub(crate) fn sequence_length(&self) -> usize {
        debug_assert!(self.is_list() || self.is_tuple());
        // SAFETY: the token proves that this thread is attached; both macros read the size of a list or tuple, which the callers checked.
        let length = unsafe {
            if self.is_list() {
                ffi::PyList_Size(self.as_ptr())
            } else {
                ffi::PyTuple_Size(self.as_ptr())
            }
        };
        usize::try_from(length).unwrap_or(0)
    }

    /// The item at `index` of a `list` or `tuple`.
    pub(crate) fn sequence_item(&self, index: usize) -> Result<'py, Self> {
        // SAFETY: the token proves that this thread is attached; the first returns a new reference, as another thread may take the item out
        // of the list where there is no lock; the second a borrowed one of a tuple, which does not
        // change; or null with IndexError set, which `from_borrowed` is not called with.
        unsafe {
            let raw = if self.is_list() {
                let raw = ffi::compat::PyList_GetItemRef(self.as_ptr(), index as isize);
                return Self::from_owned(self.py, raw);
            } else {
                ffi::PyTuple_GetItem(self.as_ptr(), index as isize)
            };
            if raw.is_null() {
                return Err(Raised::new(self.py));
            }
            Ok(Self::from_borrowed(self.py, raw))
        }
    }

    /// `tuple(list)`: what is in it now, whatever other threads do to it meanwhile.
    pub(crate) fn list_items(&self) -> Result<'py, Self> {
        // SAFETY: the token proves that this thread is attached; CPython checks that it is a list, and returns a new reference.
        unsafe { Self::from_owned(self.py, ffi::PyList_AsTuple(self.as_ptr())) }
    }

    /// `list.append`.
    pub(crate) fn append(&self, item: &Self) -> Result<'py, ()> {
        // SAFETY: the token proves that this thread is attached; CPython checks that it is a list.
        self.done(unsafe { ffi::PyList_Append(self.as_ptr(), item.as_ptr()) })
    }

    /// The content of a `bytes`; `None` for anything else, `bytearray` included.
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        // SAFETY: the token proves that this thread is attached; the buffer of a bytes object is immutable and lives as long as `self`.
        unsafe {
            if ffi::PyBytes_Check(self.as_ptr()) == 0 {
                return None;
            }
            let start = ffi::PyBytes_AsString(self.as_ptr());
            let length = usize::try_from(ffi::PyBytes_Size(self.as_ptr())).unwrap_or(0);
            Some(std::slice::from_raw_parts(start.cast(), length))
        }
    }

    /// A copy of what a bytes-like object holds.
    pub(crate) fn buffer_copy(&self) -> Result<'py, Vec<u8>> {
        if let Some(bytes) = self.as_bytes() {
            return Ok(bytes.to_vec());
        }
        // SAFETY: the token proves that this thread is attached; `bytes(x)` accepts every buffer and raises TypeError otherwise.
        unsafe {
            let copy = Self::from_owned(self.py, ffi::PyBytes_FromObject(self.as_ptr()))?;
            Ok(copy.as_bytes().unwrap_or_default().to_vec())
        }
    }

    /// `dict[key] = value`.
    pub(crate) fn set_item(&self, key: &Self, value: &Self) -> Result<'py, ()> {
        // SAFETY: the token proves that this thread is attached; CPython checks that it is a dict.
        self.done(unsafe { ffi::PyDict_SetItem(self.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }

    /// `dict.get(key)`, quietly `None` for a key that is not there.
    pub(crate) fn item(&self, key: &Self) -> Result<'py, Option<Self>> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the token proves that this thread is attached; writes a new reference and says 1, or null and 0, or null and -1 with an
        // error.
        unsafe {
            match ffi::compat::PyDict_GetItemRef(self.as_ptr(), key.as_ptr(), &raw mut raw) {
                1 => Self::from_owned(self.py, raw).map(Some),
                0 => Ok(None),
                _ => Err(Raised::new(self.py)),
            }
        }
    }

    /// `del dict[key]`; a key that is not there is no error.
    pub(crate) fn remove_item(&self, key: &Self) -> Result<'py, ()> {
        // SAFETY: the token proves that this thread is attached; CPython checks that it is a dict.
        match self.done(unsafe { ffi::PyDict_DelItem(self.as_ptr(), key.as_ptr()) }) {
            Err(raised) if raised.is(ExceptionKind::Key) => {
                raised.clear();
                Ok(())
            }
            other => other,
        }
    }

    /// `dict.copy()`.
    pub(crate) fn dict_copy(&self) -> Result<'py, Self> {
        // SAFETY: the token proves that this thread is attached; CPython checks that it is a dict.
        unsafe { Self::from_owned(self.py, ffi::PyDict_Copy(self.as_ptr())) }
    }

    /// A module's `__dict__`.
    pub(crate) fn module_dict(&self) -> Result<'py, Self> {
        // SAFETY: the token proves that this thread is attached; borrowed, or null with SystemError when it is no module.
        unsafe {
            let raw = ffi::PyModule_GetDict(self.as_ptr());
            if raw.is_null() {
                return Err(Raised::new(self.py));
            }
            Ok(Self::from_borrowed(self.py, raw))
        }
    }

    /// `type(self) is class`.
    pub(crate) fn is_exactly(&self, class: &Self) -> bool {
        // SAFETY: the token proves that this thread is attached; `self` keeps the object whose type is
        // read, and only the address of `class` is used.
        unsafe { ffi::Py_TYPE(self.as_ptr()).cast() == class.as_ptr() }
    }

    /// The name of its type, for error texts.
    pub(crate) fn type_name(&self) -> String {
        // SAFETY: the token proves that this thread is attached; `self` keeps the object, and that its
        // type.
        let class = unsafe { Self::from_borrowed(self.py, ffi::Py_TYPE(self.as_ptr()).cast()) };
        match class.attribute(c"__name__").and_then(|name| name.to_text()) {
            Ok(name) => name,
            Err(raised) => {
                raised.clear();
                "?".to_owned()
            }
        }
    }

    fn done(&self, status: std::ffi::c_int) -> Result<'py, ()> {
        if status < 0 { Err(Raised::new(self.py)) } else { Ok(()) }
    }
}

impl Clone for Object<'_> {
    fn clone(&self) -> Self {
        // SAFETY: `self` keeps the object; the token proves that this thread is attached.
        unsafe { ffi::Py_INCREF(self.as_ptr()) };
        Self { raw: self.raw, py: self.py }
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        // SAFETY: `self` owns one reference, which is released once; the token proves that this thread is attached.
        unsafe { ffi::Py_DECREF(self.as_ptr()) };
    }
}
