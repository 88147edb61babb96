//! How this process is called.
#![forbid(unsafe_code)]

use std::ffi::CStr;

/// Sets the name of this process in `top`: 15 bytes of it are shown.
pub fn set_process_name(name: &CStr) {
    // It can only fail for a name that is no address.
    let _ = rustix::thread::set_name(name);
}
