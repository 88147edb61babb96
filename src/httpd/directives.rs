//! Directives of httpd and other modules as they stand in the configuration, where there is no other way to ask. What they
//! mean is not known here.

use crate::bindings::{ap_conftree, ap_directive_t};
use std::ffi::CStr;

/// The arguments of the last line of this name that stands outside of sections; `None` where there is none.
pub(crate) fn main_directive(name: &CStr) -> Option<Vec<u8>> {
    let mut found = None;
    // SAFETY: httpd keeps the tree, and the strings in it, as long as the configuration. It is complete when hooks run, and
    // never changes then. What `<IfModule>` and the like permit stands in the tree in their place.
    unsafe {
        let mut next: *const ap_directive_t = ap_conftree;
        while let Some(line) = next.as_ref() {
            if CStr::from_ptr(line.directive).to_bytes().eq_ignore_ascii_case(name.to_bytes()) {
                found = Some(crate::apr::bytes(line.args).unwrap_or_default().to_vec());
            }
            next = line.next;
        }
    }
    found
}
