//! This module as httpd knows it: the structure that `LoadModule` has found. httpd files a module's
//! configuration and its `LogLevel` under that structure's index; what the structure holds besides is
//! unknown here.

use crate::bindings::{
    ap_conf_vector_t, ap_get_module_config, ap_set_module_config, module as module_record,
};
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

/// Set once for each load of the module, always to the same address: the shared object is linked with
/// `-z nodelete`.
static MODULE: AtomicPtr<module_record> = AtomicPtr::new(std::ptr::null_mut());

/// Makes `module` the structure whose index is used from now on.
///
/// # Safety
/// It is the structure httpd loads this module by, and a static of the shared object. httpd has given it an
/// index, and does not change that while threads run.
pub(crate) unsafe fn register_module(module: *mut module_record) {
    MODULE.store(module, Ordering::Release);
}

/// Under which number httpd files what is this module's; `APLOG_NO_MODULE` (-1) before it is loaded.
pub(super) fn module_index() -> c_int {
    let module = MODULE.load(Ordering::Acquire);
    // SAFETY: null, or a static whose index httpd has written before it called `register_hooks` (the promise
    // made at `register_module`); only that field is read.
    if module.is_null() { -1 } else { unsafe { (&raw const (*module).module_index).read() } }
}

/// What this module has put into a vector of configurations, null where that is nothing.
///
/// # Safety
/// `vector` is one of httpd's, of a server, a directory or a request, and its pool is not destroyed during
/// the call.
pub(super) unsafe fn module_config(vector: *const ap_conf_vector_t) -> *mut c_void {
    let module = MODULE.load(Ordering::Acquire);
    if module.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the vector by the caller's promise; the module has an index (`register_module`).
    unsafe { ap_get_module_config(vector, module) }
}

/// Puts `config` into a vector of configurations.
///
/// # Safety
/// As for [`module_config`]; and `config` lives as long as the vector, or is never followed.
pub(super) unsafe fn set_module_config(vector: *mut ap_conf_vector_t, config: *mut c_void) {
    let module = MODULE.load(Ordering::Acquire);
    if !module.is_null() {
        // SAFETY: the vector by the caller's promise; the module has an index (`register_module`).
        unsafe { ap_set_module_config(vector, module, config) };
    }
}
