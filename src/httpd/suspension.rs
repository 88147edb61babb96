//! How a connection loses its thread: the event MPM counts it as suspended, watches it no more and forgets it. What takes the
//! connection over, and what goes over it, is not known here.
//!
//! A content handler calls [`Request::suspend`] and returns; httpd's thread leaves; its last hook hands the connection
//! over as a [`Parked`]. What must hold for that is in docs/safety.md, "Connections without a thread".

use super::departure::Departure;
use super::filters::are_known;
use super::module::{module_config, set_module_config};
use super::parked::Parked;
use super::request::Request;
use super::{Mpm, Outcome, guard};
use crate::apr::Pool;
use crate::bindings::{
    AP_MPMQ_IS_ASYNC, ap_add_output_filter, ap_extended_status, ap_filter_t, ap_filter_type,
    ap_hook_suspend_connection, ap_increment_counts, ap_mpm_query, ap_pass_brigade,
    ap_register_output_filter, ap_run_log_transaction, apr_bucket_brigade, apr_status_t, conn_rec,
    conn_state_e, request_rec, shim_brigade_drop_flushes,
};
use std::ffi::{CStr, c_int};
use std::sync::OnceLock;

/// `HTTP/1.1` as httpd writes it.
const HTTP_1_1: c_int = 1001;
/// `APR_HOOK_REALLY_LAST`.
const REALLY_LAST: c_int = 30;
/// The filter above httpd's network filter.
const GUARD: &CStr = c"WSGI_PARKED";
/// Output filters, as httpd writes their names, that never wait and never read a file while they are called with bytes in
/// memory.
const NEVER_WAIT: [&[u8]; 11] = [
    b"byterange",
    b"chunk",
    b"content_length",
    b"core",
    b"dumpio_out",
    b"http_header",
    b"http_outerror",
    b"log_input_output",
    b"ssl/tls coalescing filter",
    b"ssl/tls filter",
    b"wsgi_parked",
];

/// Input filters of connections that never wait when they are not to.
const NEVER_WAIT_FOR_INPUT: [&[u8]; 6] = [
    b"core_in",
    b"dumpio_in",
    b"log_input_output",
    b"remoteip_input",
    b"reqtimeout",
    b"ssl/tls filter",
];

/// What a connection has become whose thread was to leave.
pub(crate) enum Suspended<'a> {
    /// No thread of httpd has it any more.
    Parked(Parked),
    /// The thread has found it broken, and closes it. Its request is logged next, and freed.
    Broken(&'a Request<'a>),
}

/// What takes a suspended connection over.
type TakeOver = Box<dyn FnOnce(Suspended<'_>) + Send>;

/// What a content handler has left for the hook; of the request's pool. It is in the connection's vector of configurations
/// until it is dropped.
struct Suspension {
    /// Until the connection has been taken over.
    take_over: Option<TakeOver>,
    request: *mut request_rec,
}

impl Drop for Suspension {
    /// The request is about to be freed. One whose connection nothing has taken over has not been logged: httpd leaves that to
    /// what takes over.
    fn drop(&mut self) {
        // SAFETY: dropped by a cleanup of the request's pool that runs before anything of the request is freed, once; the
        // connection outlives the request. The thread that frees an unfinished request has it for itself.
        unsafe {
            let connection = (*self.request).connection;
            set_module_config((*connection).conn_config, std::ptr::null_mut());
            if let Some(take_over) = self.take_over.take() {
                take_over(Suspended::Broken(&Request::from_raw(self.request)));
                ap_run_log_transaction(self.request);
                if ap_extended_status != 0 {
                    ap_increment_counts((*connection).sbh.cast(), self.request);
                }
            }
        }
    }
}

impl Request<'_> {
    /// Whether the rest of the response needs no thread of httpd, once its head is out: the event MPM, a connection of its own
    /// with HTTP/1.1, no internal redirect, and only output filters that never wait.
    pub(crate) fn is_parkable(&self) -> bool {
        self.may_be_suspended() && self.has_only_filters(&NEVER_WAIT)
    }

    /// Whether the bytes of the connection need no thread of httpd: as [`Self::is_parkable`], of the connection's filters in
    /// both directions, and not of those of the response.
    pub(crate) fn is_connection_parkable(&self) -> bool {
        // SAFETY: the chains of filters of a live connection.
        let is_known = || unsafe {
            let connection = (*self.raw).connection;
            are_known((*connection).output_filters, &NEVER_WAIT)
                && are_known((*connection).input_filters, &NEVER_WAIT_FOR_INPUT)
        };
        self.may_be_suspended() && is_known()
    }

    fn may_be_suspended(&self) -> bool {
        // SAFETY: a live request and its connection, which outlives it (`Request::from_raw`).
        let fits = unsafe {
            let connection = (*self.raw).connection;
            (*self.raw).main.is_null()
                && (*self.raw).prev.is_null()
                && (*self.raw).proto_num >= HTTP_1_1
                && (*connection).master.is_null()
                && !(*connection).cs.is_null()
                && (*connection).aborted == 0
        };
        fits && is_event()
    }

    /// Has httpd's thread leave once the handler has returned what this gives. Then `take_over` gets the connection, or is told
    /// that the thread has found it broken. No further request comes over the connection.
    ///
    /// Of a request that is to go on the head has to be out ([`Self::is_head_out`]): before that, to break the response off
    /// has httpd answer by itself, with an internal redirect to an `ErrorDocument`, which would run without a thread.
    pub(crate) fn suspend(
        &mut self,
        take_over: impl FnOnce(Suspended<'_>) + Send + 'static,
    ) -> Outcome {
        self.close_connection();
        // SAFETY: a live request and its connection, which outlives it; the filter is registered. What is put into the
        // connection's vector of configurations takes itself out when it is dropped.
        unsafe {
            let connection = (*self.raw).connection;
            ap_add_output_filter(GUARD.as_ptr(), std::ptr::null_mut(), self.raw, connection);
            let suspension = Suspension { take_over: Some(Box::new(take_over)), request: self.raw };
            let pool = Pool::from_raw((*self.raw).pool);
            let kept: *mut Suspension = pool.adopt_above_others(suspension);
            set_module_config((*connection).conn_config, kept.cast());
        }
        Outcome::Suspended
    }
}

/// Whether the multi-processing module takes connections without a thread.
fn is_event() -> bool {
    static IS_EVENT: OnceLock<bool> = OnceLock::new();
    *IS_EVENT.get_or_init(|| {
        let mut is_async = 0;
        // SAFETY: the MPM writes the number where it knows the answer.
        let status = unsafe { ap_mpm_query(AP_MPMQ_IS_ASYNC as c_int, &raw mut is_async) };
        status == 0 && is_async != 0 && Mpm::query().name == "event"
    })
}

/// Has suspended connections handed over. To be called from `register_hooks`.
pub(crate) fn hook_suspend_connection() {
    unsafe extern "C" fn call(connection: *mut conn_rec, _request: *mut request_rec) {
        guard((), || {
            // The thread has nothing more to do with the connection that it suspended before.
            Departure::note();
            // SAFETY: httpd lends a live connection. Its entry is null or a `Suspension` of its request's, which this thread
            // has for itself: the handler that left it there has returned.
            let found = unsafe {
                let suspension = module_config((*connection).conn_config).cast::<Suspension>();
                let suspended = (*connection)
                    .cs
                    .as_ref()
                    .is_some_and(|state| state.state == conn_state_e::CONN_STATE_SUSPENDED);
                let take_over =
                    suspension.as_mut().filter(|_| suspended).and_then(|it| it.take_over.take());
                take_over.map(|take_over| (take_over, (*suspension).request))
            };
            if let Some((take_over, request)) = found {
                // SAFETY: the MPM has suspended the connection, and this is the last of its hooks.
                take_over(Suspended::Parked(unsafe { Parked::new(connection, request) }));
            }
        });
    }
    // SAFETY: called from register_hooks, where httpd takes hooks and filters; the functions and the name are static.
    unsafe {
        let none = std::ptr::null();
        ap_hook_suspend_connection(Some(call), none, none, REALLY_LAST);
        let place = ap_filter_type::AP_FTYPE_NETWORK - 1;
        ap_register_output_filter(GUARD.as_ptr(), Some(drop_flushes), None, place);
    }
}

/// Passes on all but "send now, and wait": httpd's network filter would wait for the client.
unsafe extern "C" fn drop_flushes(
    filter: *mut ap_filter_t,
    brigade: *mut apr_bucket_brigade,
) -> apr_status_t {
    // SAFETY: httpd lends a live filter, which is not the last, and a brigade or none.
    unsafe {
        shim_brigade_drop_flushes(brigade);
        ap_pass_brigade((*filter).next, brigade)
    }
}
