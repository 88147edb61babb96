//! Interim responses (RFC 9110, 15.2): what a client gets before the response to its request.

use super::request::Request;
use crate::apr::Table;
use crate::bindings::{ap_send_interim_response, apr_table_make};
use std::ffi::c_int;
use std::ptr;

/// The first version of HTTP with interim responses, as httpd counts them.
const HTTP_1_1: c_int = 1001;
const CONTINUE: c_int = 100;
const EARLY_HINTS: c_int = 103;

impl Request<'_> {
    /// Whether the client may get interim responses: HTTP/1.0 knows none, and a part of another response has no place
    /// for one.
    pub(crate) fn takes_interim_responses(&self) -> bool {
        // SAFETY: reads fields of a live request (`Request::from_raw`).
        unsafe { (*self.raw).proto_num >= HTTP_1_1 && (*self.raw).main.is_null() }
    }

    /// Sends `100 Continue` to a client that waits for it.
    pub(crate) fn send_continue(&mut self) {
        self.send_interim(CONTINUE, false);
    }

    /// Sends `103 Early Hints` with these values of `Link`, which must be valid in a header.
    pub(crate) fn send_early_hints<'a>(&mut self, links: impl Iterator<Item = &'a [u8]>) {
        let pool = self.pool();
        // SAFETY: a live request (`Request::from_raw`); the table is of its pool. httpd sends and clears the table that the
        // request has, so that it has another one meanwhile; no filter of the request runs before it has its own again.
        unsafe {
            let kept = (*self.raw).headers_out;
            (*self.raw).headers_out = apr_table_make(pool.as_ptr(), 4);
            let hints = Table::from_raw((*self.raw).headers_out);
            links.for_each(|link| hints.add(pool, c"Link", link));
            self.send_interim(EARLY_HINTS, true);
            (*self.raw).headers_out = kept;
        }
    }

    /// Sends an interim response, with the headers that the request has for its response where `with_headers` says so. Blocks
    /// as long as the client is slow.
    fn send_interim(&mut self, status: c_int, with_headers: bool) {
        // SAFETY: a live request (`Request::from_raw`). httpd reads both fields and looks the line up where there is none;
        // they are what they were when the response is made.
        unsafe {
            let (own, line) = ((*self.raw).status, (*self.raw).status_line);
            ((*self.raw).status, (*self.raw).status_line) = (status, ptr::null());
            ap_send_interim_response(self.raw, c_int::from(with_headers));
            ((*self.raw).status, (*self.raw).status_line) = (own, line);
        }
    }
}
