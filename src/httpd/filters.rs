//! Which filters stand between a request and its client.

use super::request::Request;
use crate::bindings::ap_filter_type::{AP_FTYPE_NETWORK, AP_FTYPE_PROTOCOL};
use std::ffi::CStr;

impl Request<'_> {
    /// Whether a content filter stands first among the output filters.
    pub(crate) fn has_content_filter(&self) -> bool {
        // SAFETY: the filter chain of a live request.
        unsafe {
            (*self.raw)
                .output_filters
                .as_ref()
                .is_some_and(|filter| (*filter.frec).ftype < AP_FTYPE_PROTOCOL)
        }
    }

    /// Whether a filter of this name is among those that change the request body.
    pub(crate) fn has_input_filter(&self, name: &CStr) -> bool {
        // SAFETY: the filter chain of a live request; each filter's name is a C string.
        unsafe {
            let mut next = (*self.raw).input_filters.as_ref();
            while let Some(filter) = next {
                let record = &*filter.frec;
                if record.ftype >= AP_FTYPE_PROTOCOL {
                    return false;
                }
                // httpd keeps names in small letters.
                if CStr::from_ptr(record.name).to_bytes().eq_ignore_ascii_case(name.to_bytes()) {
                    return true;
                }
                next = filter.next.as_ref();
            }
        }
        false
    }

    /// Whether what is passed on goes to the client's socket as it is, and is not examined in this process
    /// on its way: no filter that changes content, no TLS, no stream of HTTP/2.
    pub(crate) fn is_unfiltered(&self) -> bool {
        // SAFETY: the connection of a live request, and its filter chain.
        let first = unsafe {
            let connection = (*self.raw).connection;
            (*connection).output_filters.as_ref().filter(|_| (*connection).master.is_null())
        };
        // SAFETY: every filter has its record.
        let is_last = |filter: &crate::bindings::ap_filter_t| unsafe {
            (*filter.frec).ftype >= AP_FTYPE_NETWORK
        };
        !self.has_content_filter() && first.is_some_and(is_last)
    }
}
