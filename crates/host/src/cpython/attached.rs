//! The proof that this thread may touch Python objects of one interpreter.

use super::{Object, Raised, Result};
use pyo3_ffi as ffi;
use std::ffi::CStr;
use std::marker::PhantomData;

unsafe extern "C" {
    /// In CPython (pythread.h), missing from the bindings.
    fn PyThread_get_thread_ident() -> std::ffi::c_ulong;
}

/// A token that exists only while this thread holds an attached thread state. It is neither `Send`
/// nor storable beyond the attachment it came from.
#[derive(Clone, Copy)]
pub(crate) struct Attached<'py>(PhantomData<(&'py (), *mut ())>);

impl<'py> Attached<'py> {
    /// # Safety
    /// A thread state must be current in this thread for all of `'py` (except within
    /// [`Attached::detached`]).
    pub(super) const unsafe fn assume() -> Self {
        Self(PhantomData)
    }

    /// Lets other threads of the interpreter run while `call` blocks.
    ///
    /// `call` must not touch Python objects; taking no token, it cannot do so by way of this room.
    pub(crate) fn detached<R>(self, call: impl FnOnce() -> R) -> R {
        struct Reattach(*mut ffi::PyThreadState);
        impl Drop for Reattach {
            fn drop(&mut self) {
                // SAFETY: the state PyEval_SaveThread returned to this very thread. In `drop`, so
                // that a panic in `call` unwinds into attached code as it left it.
                super::waiting::timed(|| unsafe { ffi::PyEval_RestoreThread(self.0) });
            }
        }
        // SAFETY: the token proves that a thread state is attached.
        let _reattach = Reattach(unsafe { ffi::PyEval_SaveThread() });
        call()
    }

    /// The number by which Python names the calling thread (`threading.get_ident()`).
    pub(crate) fn thread_ident() -> u64 {
        // SAFETY: only asks the C library.
        unsafe { PyThread_get_thread_ident() as u64 }
    }

    /// Has the thread of this number raise `exception` in this interpreter as soon as it runs Python code
    /// there; `None` takes back what has not been raised yet.
    pub(crate) fn interrupt(self, thread: u64, exception: Option<&Object<'py>>) {
        let exception = exception.map_or(std::ptr::null_mut(), Object::as_ptr);
        // SAFETY: attached; the function takes a reference of its own, and a thread that is gone is not
        // found.
        unsafe { ffi::PyThreadState_SetAsyncExc(thread as std::ffi::c_long, exception) };
    }

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
        // SAFETY: attached; returns a new reference or null with an error set.
        unsafe { Object::from_owned(self, ffi::PyLong_FromLongLong(value)) }
    }

    /// A `float`.
    pub(crate) fn float(self, value: f64) -> Result<'py, Object<'py>> {
        // SAFETY: attached; returns a new reference or null with an error set.
        unsafe { Object::from_owned(self, ffi::PyFloat_FromDouble(value)) }
    }

    /// A `bytes`.
    pub(crate) fn bytes(self, value: &[u8]) -> Result<'py, Object<'py>> {
        // SAFETY: attached; CPython copies `len` bytes from the slice.
        unsafe {
            let raw = ffi::PyBytes_FromStringAndSize(value.as_ptr().cast(), value.len() as isize);
            Object::from_owned(self, raw)
        }
    }

    /// A `bytes` of at most `capacity`, filled by `fill`, which says how much it wrote. The buffer
    /// is not yet visible to any other thread, so `fill` may run detached.
    pub(crate) fn bytes_with<E>(
        self,
        capacity: usize,
        fill: impl FnOnce(Self, &mut [u8]) -> std::result::Result<usize, E>,
    ) -> Result<'py, std::result::Result<Object<'py>, E>> {
        // SAFETY: attached; a null pointer asks for uninitialised content, which is overwritten
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

    /// A `tuple` of these.
    pub(crate) fn tuple<const N: usize>(self, items: [Object<'py>; N]) -> Result<'py, Object<'py>> {
        // SAFETY: attached; PyTuple_SetItem takes over one reference each, and the tuple is new.
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
        // SAFETY: attached; returns a new reference or null with an error set.
        unsafe { Object::from_owned(self, ffi::PyList_New(0)) }
    }

    /// An empty `dict`.
    pub(crate) fn dict(self) -> Result<'py, Object<'py>> {
        // SAFETY: attached; returns a new reference or null with an error set.
        unsafe { Object::from_owned(self, ffi::PyDict_New()) }
    }

    /// `import name`.
    pub(crate) fn import(self, name: &CStr) -> Result<'py, Object<'py>> {
        // SAFETY: attached; `name` is NUL-terminated.
        unsafe { Object::from_owned(self, ffi::PyImport_ImportModule(name.as_ptr())) }
    }

    /// A new, empty module object, not in `sys.modules`.
    pub(crate) fn new_module(self, name: &Object<'py>) -> Result<'py, Object<'py>> {
        // SAFETY: attached; `name` is a live object, checked by CPython to be a str.
        unsafe { Object::from_owned(self, ffi::PyModule_NewObject(name.as_ptr())) }
    }

    /// Runs `code` as the module `name` from `path`: makes the module, puts it into `sys.modules`,
    /// and takes it out again when the code raises.
    pub(crate) fn execute_module(
        self,
        name: &Object<'py>,
        code: &Object<'py>,
        path: &Object<'py>,
    ) -> Result<'py, Object<'py>> {
        // SAFETY: attached; the three are live, a null `cpathname` means that there is none.
        unsafe {
            let raw = ffi::PyImport_ExecCodeModuleObject(
                name.as_ptr(),
                code.as_ptr(),
                path.as_ptr(),
                std::ptr::null_mut(),
            );
            Object::from_owned(self, raw)
        }
    }

    /// `sys.modules`.
    pub(crate) fn modules(self) -> Object<'py> {
        // SAFETY: attached; a borrowed reference to the interpreter's own dict.
        unsafe { Object::from_borrowed(self, ffi::PyImport_GetModuleDict()) }
    }

    /// Sets `sys.<name>`.
    pub(crate) fn set_sys(self, name: &CStr, value: &Object<'py>) -> Result<'py, ()> {
        // SAFETY: attached; both live for the call.
        if unsafe { ffi::PySys_SetObject(name.as_ptr(), value.as_ptr()) } < 0 {
            return Err(Raised::new(self));
        }
        Ok(())
    }

    /// `sys.<name>`, when it is there.
    pub(crate) fn sys(self, name: &CStr) -> Result<'py, Option<Object<'py>>> {
        // Not `PySys_GetObject`, which lends what another thread may just be replacing.
        self.import(c"sys")?.attribute_if_any(name)
    }
}
