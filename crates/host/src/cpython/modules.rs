//! Modules of an interpreter, `sys` among them.

use super::{Attached, Object, Raised, Result};
use pyo3_ffi as ffi;
use std::ffi::CStr;

impl<'py> Attached<'py> {
    /// `import name`.
    pub(crate) fn import(self, name: &CStr) -> Result<'py, Object<'py>> {
        // SAFETY: the token proves that this thread is attached; `name` is NUL-terminated.
        unsafe { Object::from_owned(self, ffi::PyImport_ImportModule(name.as_ptr())) }
    }

    /// A new, empty module object, not in `sys.modules`.
    pub(crate) fn new_module(self, name: &Object<'py>) -> Result<'py, Object<'py>> {
        // SAFETY: the token proves that this thread is attached; `name` keeps its reference until the
        // call returns; CPython checks that it is a str.
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
        // SAFETY: the token proves that this thread is attached; the three keep their references until
        // the call returns; a null `cpathname` means that there is none.
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
        // SAFETY: the token proves that this thread is attached; a borrowed reference to the interpreter's own dict.
        unsafe { Object::from_borrowed(self, ffi::PyImport_GetModuleDict()) }
    }

    /// Sets `sys.<name>`.
    pub(crate) fn set_sys_attribute(self, name: &CStr, value: &Object<'py>) -> Result<'py, ()> {
        // SAFETY: the token proves that this thread is attached; `name` is NUL-terminated and `value`
        // keeps its reference until the call returns.
        if unsafe { ffi::PySys_SetObject(name.as_ptr(), value.as_ptr()) } < 0 {
            return Err(Raised::new(self));
        }
        Ok(())
    }

    /// `sys.<name>`, when it is there.
    pub(crate) fn sys_attribute(self, name: &CStr) -> Result<'py, Option<Object<'py>>> {
        // Not `PySys_GetObject`, whose borrowed reference another thread may just be replacing.
        self.import(c"sys")?.attribute_if_any(name)
    }
}
