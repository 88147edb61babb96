//! New Python objects from Rust values.

use super::{Attached, Object, Raised, Result};
use pyo3_ffi as ffi;
use std::ffi::c_int;

unsafe extern "C" {
    /// In CPython's documentation, private in the bindings.
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: isize) -> c_int;
}

impl<'py> Attached<'py> {
    /// `None`.
    pub(crate) fn none(self) -> Object<'py> {
        // SAFETY: Py_None is a valid object of every interpreter; the reference is borrowed.
        unsafe { Object::from_borrowed(self, ffi::Py_None()) }
    }

    /// `True` or `False`.
    pub(crate) fn bool(self, value: bool) -> Object<'py> {
        // SAFETY: both singletons are always valid; the reference is borrowed.
        unsafe { Object::from_borrowed(self, if value { ffi::Py_True() } else { ffi::Py_False() }) }
    }

    /// An `int`.
    pub(crate) fn int(self, value: i64) -> Result<'py, Object<'py>> {
        // SAFETY: the token proves that this thread is attached; returns a new reference or null with an error set.
        unsafe { Object::from_owned(self, ffi::PyLong_FromLongLong(value)) }
    }

    /// A `float`.
    pub(crate) fn float(self, value: f64) -> Result<'py, Object<'py>> {
        // SAFETY: the token proves that this thread is attached; returns a new reference or null with an error set.
        unsafe { Object::from_owned(self, ffi::PyFloat_FromDouble(value)) }
    }

    /// A `bytes`.
    pub(crate) fn bytes(self, value: &[u8]) -> Result<'py, Object<'py>> {
        // SAFETY: the token proves that this thread is attached; CPython copies `len` bytes from the slice.
        unsafe {
            let raw = ffi::PyBytes_FromStringAndSize(value.as_ptr().cast(), value.len() as isize);
            Object::from_owned(self, raw)
        }
    }

    /// A `bytes` of at most `capacity`, filled by `fill`, which returns how many bytes it wrote. The buffer
    /// is not yet visible to any other thread, so `fill` may run detached.
    pub(crate) fn bytes_with<E>(
        self,
        capacity: usize,
        fill: impl FnOnce(Self, &mut [u8]) -> std::result::Result<usize, E>,
    ) -> Result<'py, std::result::Result<Object<'py>, E>> {
        // SAFETY: the token proves that this thread is attached; a null pointer asks for uninitialised content, which is overwritten
        // with zeros before a slice is made of it.
        unsafe {
            let raw = ffi::PyBytes_FromStringAndSize(std::ptr::null(), capacity as isize);
            if raw.is_null() {
                return Err(Raised::new(self));
            }
            let start = ffi::PyBytes_AsString(raw).cast::<u8>();
            start.write_bytes(0, capacity);
            match fill(self, std::slice::from_raw_parts_mut(start, capacity)) {
                Ok(length) if length >= capacity => Object::from_owned(self, raw).map(Ok),
                Ok(length) => {
                    let whole = Object::from_owned(self, raw)?;
                    let part = whole.as_bytes().and_then(|bytes| bytes.get(..length));
                    self.bytes(part.unwrap_or_default()).map(Ok)
                }
                Err(why) => {
                    ffi::Py_DECREF(raw);
                    Ok(Err(why))
                }
            }
        }
    }

    /// A `bytes` that grows in its place: `fill` writes to its end, at first up to `first` bytes, which are not none, and
    /// says how many. When it has filled what there was, `more` says how many bytes more there are to be for a length,
    /// none at the end. As in [`bytes_with`](Self::bytes_with) `fill` may run detached.
    pub(crate) fn growing_bytes<E>(
        self,
        first: usize,
        more: impl Fn(usize) -> usize,
        mut fill: impl FnMut(Self, &mut [u8]) -> std::result::Result<usize, E>,
    ) -> Result<'py, std::result::Result<Object<'py>, E>> {
        let (mut length, mut capacity) = (0, first.max(1));
        // SAFETY: the token proves that this thread is attached. The object has one reference, this one, until it is
        // returned, as `_PyBytes_Resize` demands; that call gives the new place, or null with an exception set and the
        // object freed. What is new has uninitialised content, which is overwritten with zeros before a slice is made of
        // it; the slice ends before the object is resized.
        unsafe {
            let mut raw = ffi::PyBytes_FromStringAndSize(std::ptr::null(), capacity as isize);
            if raw.is_null() {
                return Err(Raised::new(self));
            }
            loop {
                let end = ffi::PyBytes_AsString(raw).cast::<u8>().add(length);
                end.write_bytes(0, capacity - length);
                match fill(self, std::slice::from_raw_parts_mut(end, capacity - length)) {
                    Ok(count) => length = capacity.min(length + count),
                    Err(why) => {
                        ffi::Py_DECREF(raw);
                        return Ok(Err(why));
                    }
                }
                let wanted = if length < capacity { 0 } else { more(length) };
                if (wanted > 0 || length < capacity)
                    && _PyBytes_Resize(&raw mut raw, (length + wanted) as isize) < 0
                {
                    return Err(Raised::new(self));
                }
                if wanted == 0 {
                    return Object::from_owned(self, raw).map(Ok);
                }
                capacity = length + wanted;
            }
        }
    }

    /// A `tuple` of these.
    pub(crate) fn tuple<const N: usize>(self, items: [Object<'py>; N]) -> Result<'py, Object<'py>> {
        // SAFETY: the token proves that this thread is attached; PyTuple_SetItem takes over one reference each, and the tuple is new.
        unsafe {
            let tuple = Object::from_owned(self, ffi::PyTuple_New(N as isize))?;
            for (index, item) in items.into_iter().enumerate() {
                if ffi::PyTuple_SetItem(tuple.as_ptr(), index as isize, item.into_raw()) < 0 {
                    return Err(Raised::new(self));
                }
            }
            Ok(tuple)
        }
    }

    /// An empty `list`.
    pub(crate) fn list(self) -> Result<'py, Object<'py>> {
        // SAFETY: the token proves that this thread is attached; returns a new reference or null with an error set.
        unsafe { Object::from_owned(self, ffi::PyList_New(0)) }
    }

    /// An empty `dict`.
    pub(crate) fn dict(self) -> Result<'py, Object<'py>> {
        // SAFETY: the token proves that this thread is attached; returns a new reference or null with an error set.
        unsafe { Object::from_owned(self, ffi::PyDict_New()) }
    }
}
