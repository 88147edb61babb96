//! A connection that no thread of httpd serves: the event MPM has counted it as suspended, watches it no more and forgets
//! it. Who takes it over, and what goes over it, is not known here.
//!
//! A content handler calls [`Request::suspend`] and returns; httpd's thread leaves; its last hook hands the connection
//! over as a [`Parked`]. What must hold for that is in docs/safety.md, "Connections without a thread".

use super::filters::{are_known, last_output_filter};
use super::module::{module_config, set_module_config};
use super::raw_bytes::{pass_bytes, read_bytes};
use super::request::Request;
use super::response::PassError;
use super::{Mpm, Outcome, guard};
use crate::apr::{Brigade, Pool};
use crate::bindings::{
    AP_MPMQ_IS_ASYNC, ap_add_output_filter, ap_bucket_eoc_create, ap_filter_t, ap_filter_type,
    ap_finalize_request_protocol, ap_get_conn_socket, ap_hook_suspend_connection, ap_mpm_query,
    ap_pass_brigade, ap_prep_lingering_close, ap_process_request_after_handler,
    ap_register_output_filter, apr_bucket_brigade, apr_os_sock_get, apr_pool_clear,
    apr_pool_destroy, apr_pool_t, apr_socket_timeout_get, apr_socket_timeout_set, apr_status_t,
    conn_rec, conn_state_e, request_rec, shim_brigade_drop_flushes,
};
use std::ffi::{CStr, c_int};
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use wsgi::ReadError;

/// `HTTP/1.1` as httpd writes it.
const HTTP_1_1: c_int = 1001;
/// `APR_HOOK_REALLY_LAST`.
const REALLY_LAST: c_int = 30;
/// The thread of httpd that has suspended a connection writes to its record once more, after its last hook. When so much
/// time has passed since that hook, it has.
const RECORD_IN_USE: Duration = Duration::from_secs(2);
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

/// What takes a suspended connection over.
type TakeOver = Box<dyn FnOnce(Parked) + Send>;

/// What a content handler has left for the hook; of the connection's pool.
struct Suspension {
    take_over: Option<TakeOver>,
    request: *mut request_rec,
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

    /// Has httpd's thread leave once the handler has returned what this gives. Then `take_over` gets the connection. Where the
    /// thread finds the connection broken, it closes it and drops `take_over`. No further request comes over the connection.
    ///
    /// Of a request that is to go on the head has to be out ([`Self::is_head_out`]): before that, to break the response off
    /// has httpd answer by itself, with an internal redirect to an `ErrorDocument`, which would run without a thread.
    pub(crate) fn suspend(&mut self, take_over: impl FnOnce(Parked) + Send + 'static) -> Outcome {
        self.close_connection();
        // SAFETY: a live request and its connection, which outlives it; the filter is registered. What is put into the
        // connection's vector of configurations lives as long as the connection's pool.
        unsafe {
            let connection = (*self.raw).connection;
            ap_add_output_filter(GUARD.as_ptr(), std::ptr::null_mut(), self.raw, connection);
            let suspension = Suspension { take_over: Some(Box::new(take_over)), request: self.raw };
            let kept: *mut Suspension = Pool::from_raw((*connection).pool).adopt(suspension);
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
            // SAFETY: httpd lends a live connection. Its entry is null or a `Suspension` of its pool, which this thread
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
                take_over(unsafe { Parked::new(connection, request) });
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

/// A connection that its owner alone uses and closes: httpd does not.
pub(crate) struct Parked {
    connection: *mut conn_rec,
    descriptor: c_int,
    /// Null once the request has ended.
    request: *mut request_rec,
    /// Of the request's pool: one for all of the response.
    brigade: *mut apr_bucket_brigade,
    /// Of the connection's pool.
    last: *mut apr_bucket_brigade,
    since: Instant,
    /// How long the client might take over a read or a write.
    timeout: Option<Duration>,
}

// SAFETY: between the last hook and the release its owner alone uses the connection, from whichever thread, but for the two
// stores of the thread that suspended it, which touch fields that are not read here (docs/safety.md).
unsafe impl Send for Parked {}

impl Parked {
    /// # Safety
    /// The MPM has suspended the connection and runs the last of its hooks; the request is live and its own.
    unsafe fn new(connection: *mut conn_rec, request: *mut request_rec) -> Self {
        // SAFETY: the caller's promise. The socket, where there is one, lives as long as the connection.
        unsafe {
            // It is the place of a thread that has another connection by then.
            (*connection).sbh = std::ptr::null_mut();
            let socket = ap_get_conn_socket(connection);
            let (mut descriptor, mut limit) = (-1, -1);
            if !socket.is_null() {
                apr_os_sock_get(&raw mut descriptor, socket);
                apr_socket_timeout_get(socket, &raw mut limit);
                apr_socket_timeout_set(socket, 0);
            }
            let allocator = (*connection).bucket_alloc;
            let brigade = Brigade::new(Pool::from_raw((*request).pool), allocator).as_ptr();
            let last = Brigade::new(Pool::from_raw((*connection).pool), allocator).as_ptr();
            let timeout = u64::try_from(limit).ok().map(Duration::from_micros);
            let since = Instant::now();
            Self { connection, descriptor, request, brigade, last, since, timeout }
        }
    }

    /// The request, until it has ended, and an empty brigade for its response.
    pub(crate) fn lend(&mut self) -> Option<(Request<'_>, Brigade<'_>)> {
        if self.request.is_null() {
            return None;
        }
        // SAFETY: the request is live until `end_request`, and borrowed with `self`; the brigade was made by `new` with its
        // pool and its connection's allocator.
        unsafe {
            let pool = Pool::from_raw((*self.request).pool);
            let allocator = (*self.connection).bucket_alloc;
            let brigade = Brigade::from_raw(self.brigade, pool, allocator);
            Some((Request::from_raw(self.request), brigade))
        }
    }

    /// How long the client might take over a read or a write before the connection was suspended.
    pub(crate) const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether the client's socket is there still: at a stop that is not graceful the MPM closes those of the connections
    /// that its threads serve.
    pub(crate) const fn has_socket(&self) -> bool {
        self.descriptor >= 0
    }

    /// The client's socket, where there is one ([`Self::has_socket`]).
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: a connection of the event MPM has a socket, which is closed with the connection's pool, when `self` is
        // consumed.
        unsafe { BorrowedFd::borrow_raw(self.descriptor) }
    }

    /// Whether the client is known to be gone.
    pub(crate) fn is_aborted(&self) -> bool {
        // SAFETY: the connection is live until `self` is consumed.
        unsafe { (*self.connection).aborted != 0 }
    }

    /// Sends what httpd holds as far as the socket takes it; whether it holds something still. Never waits.
    pub(crate) fn push(&mut self) -> bool {
        // SAFETY: the connection is live until `self` is consumed, and its owner alone uses it. The network filter is the
        // last; called with no brigade it sends what it holds, as the MPM has it do.
        unsafe {
            if (*self.connection).data_in_output_filters == 0 {
                return false;
            }
            if let Some(filter) = last_output_filter(self.connection)
                && let Some(send) = (*(*filter).frec).filter_func.out_func
            {
                send(filter, std::ptr::null_mut());
            }
            (*self.connection).data_in_output_filters != 0
        }
    }

    /// Passes bytes to the client past any request. What it does not take at once is left to [`Self::push`]: no more is to be
    /// passed on before all of that has gone.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), PassError> {
        // SAFETY: the connection is live until `self` is consumed, and its owner alone uses it.
        unsafe { pass_bytes(self.connection, &mut self.own_brigade(), bytes) }
    }

    /// Reads what the client has sent past any request; whether there was something. Never waits.
    ///
    /// # Errors
    /// Also at the end of what the client sends.
    pub(crate) fn read(&mut self, into: &mut Vec<u8>) -> Result<bool, ReadError> {
        // SAFETY: the connection is live until `self` is consumed, and its owner alone uses it.
        unsafe { read_bytes(self.connection, &mut self.own_brigade(), into) }
    }

    /// An empty brigade of the connection's.
    ///
    /// # Safety
    /// The connection is live, and there is no other handle to the brigade.
    unsafe fn own_brigade<'a>(&self) -> Brigade<'a> {
        // SAFETY: the caller's promise; the brigade was made by `new` with this pool and this allocator.
        unsafe {
            let pool = Pool::from_raw((*self.connection).pool);
            Brigade::from_raw(self.last, pool, (*self.connection).bucket_alloc)
        }
    }

    /// Ends the request: what is missing of its response's end is passed on, and it is logged and freed once httpd has
    /// sent all of it.
    pub(crate) fn end_request(&mut self) {
        let request = std::mem::replace(&mut self.request, std::ptr::null_mut());
        if request.is_null() {
            return;
        }
        // SAFETY: the request is live and not used after this. No handle to it is left, since `lend` borrows `self`. The
        // connection is not kept alive, so nothing is read from it.
        unsafe {
            ap_finalize_request_protocol(request);
            ap_process_request_after_handler(request);
            self.set_suspended();
        }
    }

    /// Tells the filters of the connection that it ends: TLS sends its close_notify. To be pushed.
    pub(crate) fn end_connection(&mut self) {
        // SAFETY: the connection is live until `self` is consumed; the bucket is made with the brigade's allocator.
        unsafe {
            ap_prep_lingering_close(self.connection);
            let mut brigade = self.own_brigade();
            brigade.append(ap_bucket_eoc_create((*self.connection).bucket_alloc));
            ap_pass_brigade((*self.connection).output_filters, brigade.as_ptr());
            brigade.clear();
            self.set_suspended();
        }
    }

    /// # Safety
    /// The connection is live.
    unsafe fn set_suspended(&mut self) {
        // SAFETY: the caller's promise; a suspended connection has a state record.
        unsafe { (*(*self.connection).cs).state = conn_state_e::CONN_STATE_SUSPENDED };
    }

    /// Closes the connection, and frees it and its request. Of one that has been suspended a moment ago the record is left,
    /// in a [`ClosedRecord`].
    pub(crate) fn release(self) -> Option<ClosedRecord> {
        let is_recent = self.since.elapsed() < RECORD_IN_USE;
        let record = self.clear();
        std::mem::forget(self);
        // Dropping a record frees it.
        Some(record).filter(|_| is_recent)
    }

    /// Closes and frees all but the record.
    fn clear(&self) -> ClosedRecord {
        // SAFETY: the connection is live; its owner gives it up. Its cleanups close the socket and take the connection out of
        // the MPM's count of suspended ones, by the state that it has. All but the first block of the pool is freed: there
        // are the connection's record and the MPM's own, to which a thread may still write.
        unsafe {
            (*(*self.connection).cs).state = conn_state_e::CONN_STATE_SUSPENDED;
            let pool = (*self.connection).pool;
            apr_pool_clear(pool);
            ClosedRecord(pool)
        }
    }
}

/// One that is not released, because of a panic: its record is left for ever.
impl Drop for Parked {
    fn drop(&mut self) {
        std::mem::forget(self.clear());
    }
}

/// The record of a closed connection, freed when this is dropped, which is to be a moment later.
pub(crate) struct ClosedRecord(*mut apr_pool_t);

// SAFETY: the pool has an allocator of its own, and its owner alone uses it; its parent's allocator has a mutex.
unsafe impl Send for ClosedRecord {}

impl Drop for ClosedRecord {
    fn drop(&mut self) {
        // SAFETY: cleared, and used by nothing any more once its time has passed (`Parked::release`).
        unsafe { apr_pool_destroy(self.0) };
    }
}
