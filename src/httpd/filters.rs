//! Which filters stand between a request and its client.

use super::request::Request;
use crate::bindings::ap_filter_type::{AP_FTYPE_NETWORK, AP_FTYPE_PROTOCOL};
use crate::bindings::{ap_filter_t, conn_rec};
use std::ffi::CStr;
use std::time::{Duration, Instant};

/// The output filter that a connection's bytes come to last.
///
/// # Safety
/// The connection is live.
pub(super) unsafe fn last_output_filter(connection: *const conn_rec) -> Option<*mut ap_filter_t> {
    // SAFETY: the caller's promise: a connection's chain of filters lives as long.
    unsafe {
        let mut filter = (*connection).output_filters;
        while let Some(next) = filter.as_ref().filter(|filter| !filter.next.is_null()) {
            filter = next.next;
        }
        (!filter.is_null()).then_some(filter)
    }
}

/// Whether all filters from this one on have one of these `names`, which are in small letters.
///
/// # Safety
/// A filter of a live chain, or null.
pub(super) unsafe fn are_known(first: *const ap_filter_t, names: &[&[u8]]) -> bool {
    // SAFETY: the caller's promise; each filter has its record, and its name is a C string.
    unsafe {
        let mut next = first.as_ref();
        while let Some(filter) = next {
            let name = CStr::from_ptr((*filter.frec).name).to_bytes();
            if !names.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                return false;
            }
            next = filter.next.as_ref();
        }
    }
    true
}

impl Request<'_> {
    /// Whether all filters that stand between the response and the client's socket have one of these `names`, which are in
    /// small letters.
    pub(crate) fn has_only_filters(&self, names: &[&[u8]]) -> bool {
        // SAFETY: the filter chain of a live request.
        unsafe { are_known((*self.raw).output_filters, names) }
    }

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

    /// Whether its connection is a stream of HTTP/2, which shares a socket with others.
    pub(crate) fn is_stream(&self) -> bool {
        // SAFETY: a live request and its connection, which outlives it (`Request::from_raw`).
        unsafe { !(*(*self.raw).connection).master.is_null() }
    }

    /// Whether httpd has kept some of what has been passed on, because the client is behind or more may come.
    pub(crate) fn has_waiting_output(&self) -> bool {
        // SAFETY: a live request and its connection, which outlives it (`Request::from_raw`).
        unsafe { (*(*self.raw).connection).data_in_output_filters != 0 }
    }

    /// Whether the client has yet to take some of what has been passed on. What it takes at once is sent; never waits.
    /// Always `false` for a stream of HTTP/2, which has no socket of its own.
    pub(crate) fn is_client_behind(&mut self) -> bool {
        // SAFETY: a live request and its connection, which this thread has for itself. The network filter is the last;
        // called with no brigade it sends what it holds as far as the socket takes it, which is what the MPMs do
        // to complete a response (`CONN_STATE_WRITE_COMPLETION`).
        unsafe {
            let connection = (*self.raw).connection;
            if (*connection).data_in_output_filters == 0 || !(*connection).master.is_null() {
                return false;
            }
            if let Some(filter) = last_output_filter(connection)
                && let Some(send) = (*(*filter).frec).filter_func.out_func
            {
                send(filter, std::ptr::null_mut());
            }
            (*connection).data_in_output_filters != 0
        }
    }

    /// The same after waiting for up to `limit` until the client has taken all.
    pub(crate) fn is_client_behind_after(&mut self, limit: Duration) -> bool {
        let mut until = None;
        while self.is_client_behind() {
            let until = *until.get_or_insert_with(|| Instant::now() + limit);
            let left = until.saturating_duration_since(Instant::now());
            let Some(client) = self.client_socket().filter(|_| !left.is_zero()) else {
                return true;
            };
            if !sys::is_writable(client, left) || self.is_aborted() {
                return true;
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
