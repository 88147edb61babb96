//! The connection of a request whose answer is 101: bytes past the filters of the request, and how it is left to another
//! process.

use super::filters::are_known;
use super::raw_bytes::{failure, pass_bytes, read_bytes};
use super::request::Request;
use super::response::PassError;
use crate::apr::{Brigade, Status};
use crate::bindings::{
    ap_filter_t, ap_get_brigade, ap_input_mode_t, ap_remove_input_filter, apr_read_type_e, conn_rec,
};
use std::ffi::CStr;
use wsgi::ReadError;

/// The filters of a connection that hand bytes on as they are, and need not see those that come after a response.
const TRANSPARENT: [&[u8]; 4] = [b"core", b"core_in", b"reqtimeout", b"log_input_output"];

/// Marks the connection as lost when it is dropped: httpd then closes its socket without shutting it down.
struct LeftToOther(*mut conn_rec);

impl Drop for LeftToOther {
    fn drop(&mut self) {
        // SAFETY: dropped with the pool of a request (`leave_connection`), whose connection outlives it; one thread has both.
        unsafe { (*self.0).aborted = 1 };
    }
}

impl<'call> Request<'call> {
    /// Whether this is part of another request's answer (`ap_sub_req_*`).
    pub(crate) fn is_subrequest(&self) -> bool {
        // SAFETY: reads a field of a live request.
        unsafe { !(*self.raw).main.is_null() }
    }

    /// Whether it answers in place of one that has failed (`ErrorDocument`).
    pub(crate) fn is_error_document(&self) -> bool {
        // SAFETY: a live request; httpd keeps the requests of a chain as long as the last.
        unsafe {
            let mut previous = (*self.raw).prev.cast_const();
            while let Some(request) = previous.as_ref() {
                if request.status != crate::bindings::HTTP_OK as i32 {
                    return true;
                }
                previous = request.prev;
            }
        }
        false
    }

    /// Whether what the client sends and gets goes through this process as it is: no TLS, no stream of HTTP/2, and no filter
    /// of another module on the connection.
    pub(crate) fn has_plain_connection(&self) -> bool {
        // SAFETY: the connection of a live request, and its chains of filters.
        unsafe {
            let connection = (*self.raw).connection;
            (*connection).master.is_null()
                && are_known((*connection).output_filters, &TRANSPARENT)
                && are_known((*connection).input_filters, &TRANSPARENT)
        }
    }

    /// Sends a head of status 101 as it is, and waits until the client's socket has taken it. From now on this request has no
    /// other response.
    pub(crate) fn switch_protocols(&mut self, head: &[u8]) -> Result<(), PassError> {
        // SAFETY: a live request. httpd writes a head of its own unless a body has been sent, and an end of the body unless
        // that has.
        unsafe {
            (*self.raw).status = 101;
            (*self.raw).eos_sent = 1;
            (*self.raw).sent_bodyct = 1;
        }
        self.close_connection();
        let mut brigade = self.new_brigade();
        self.pass_to_client(&mut brigade, head)
    }

    /// Passes bytes on past the filters of the request, and waits until the client's socket has taken them. `brigade` is an
    /// empty one of the request's, which stays empty.
    pub(crate) fn pass_to_client(
        &mut self,
        brigade: &mut Brigade<'call>,
        bytes: &[u8],
    ) -> Result<(), PassError> {
        // SAFETY: a live request and its connection; the brigade is of its pool and its connection's allocator.
        unsafe { pass_bytes((*self.raw).connection, brigade, bytes) }
    }

    /// Reads what the client has sent behind its request, past the filters of the request; never waits. Whether there was
    /// something. `brigade` as in [`Self::pass_to_client`].
    ///
    /// # Errors
    /// Also at the end of what the client sends.
    pub(crate) fn read_from_client(
        &mut self,
        brigade: &mut Brigade<'call>,
        into: &mut Vec<u8>,
    ) -> Result<bool, ReadError> {
        // SAFETY: a live request and its connection; the brigade is of its pool and its connection's allocator.
        unsafe { read_bytes((*self.raw).connection, brigade, into) }
    }

    /// Takes what httpd has read from the client behind its request; what is still in the socket stays there. Nothing can be
    /// read from the client in this process afterwards. Only for a plain connection
    /// ([`Self::has_plain_connection`]), whose filters keep bytes in one place.
    pub(crate) fn take_early(&mut self) -> Result<Vec<u8>, ReadError> {
        self.end_request_timeout();
        let mut brigade = self.new_brigade();
        // SAFETY: a live request and its connection; the brigade is of its pool and its connection's allocator. In this mode
        // httpd's core gives all that it has set aside, and behind that the bucket of the socket.
        let status = Status(unsafe {
            ap_get_brigade(
                (*(*self.raw).connection).input_filters,
                brigade.as_ptr(),
                ap_input_mode_t::AP_MODE_EXHAUSTIVE,
                apr_read_type_e::APR_NONBLOCK_READ,
                0,
            )
        });
        let mut early = Vec::new();
        let taken = if status.is_success() { brigade.take_known(&mut early) } else { Err(status) };
        brigade.clear();
        taken.map_err(failure)?;
        Ok(early)
    }

    /// The client has sent its request in time: it may be silent for as long as it likes from now on (mod_reqtimeout).
    pub(crate) fn end_request_timeout(&mut self) {
        // SAFETY: the chain of a live connection, of which this thread takes a filter out as mod_proxy does for its tunnels.
        unsafe {
            let mut filter = (*(*self.raw).connection).input_filters;
            while let Some(next) = filter.as_ref().map(|filter| filter.next) {
                if name_of(filter) == b"reqtimeout" {
                    ap_remove_input_filter(filter);
                }
                filter = next;
            }
        }
    }

    /// Leaves the connection to another process, which has its socket: when this request has been logged, httpd closes its own
    /// descriptor, without a word to the client.
    pub(crate) fn leave_connection(&mut self) {
        self.close_connection();
        // SAFETY: a live request and its connection, which outlives the request's pool.
        let connection = unsafe { (*self.raw).connection };
        // httpd logs a request before it destroys the pool: the connection does not look lost in the line.
        self.keep_until_its_end(LeftToOther(connection));
    }
}

/// The name under which a filter is registered, in small letters.
///
/// # Safety
/// A filter of a live chain.
unsafe fn name_of<'a>(filter: *mut ap_filter_t) -> &'a [u8] {
    // SAFETY: the caller's promise; httpd keeps the records of filters, and their names, as long as the process.
    unsafe { CStr::from_ptr((*(*filter).frec).name).to_bytes() }
}
