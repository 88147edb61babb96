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

/// The arguments of every line of this name, those in sections included, in the order of the configuration.
pub(crate) fn every_directive(name: &CStr) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    // SAFETY: as of `main_directive`: the tree and its strings live as long as the configuration, and do not change while hooks
    // run.
    let mut rest = vec![unsafe { ap_conftree.cast_const() }];
    while let Some(line) = rest.pop() {
        // SAFETY: null, or a line of the same tree, whose name is a C string.
        unsafe {
            let Some(line) = line.as_ref() else { continue };
            if CStr::from_ptr(line.directive).to_bytes().eq_ignore_ascii_case(name.to_bytes()) {
                found.push(crate::apr::bytes(line.args).unwrap_or_default().to_vec());
            }
            rest.extend([line.next.cast_const(), line.first_child.cast_const()]);
        }
    }
    found
}
