//! The extension module `wsgi_host`: the Python of an environment loads it and is a worker, or a template, of a group.
//! CPython's functions come from the program that loads it, so that it needs no libpython. All of it is in the crate
//! `daemon`.
#![allow(unsafe_code, reason = "CPython finds the function by its name")]

use std::ffi::c_void;

/// Called by CPython when it loads the module.
#[unsafe(no_mangle)]
pub extern "C" fn PyInit_wsgi_host() -> *mut c_void {
    host::module_definition(wsgi_daemon::run_in_python)
}
