//! A connection that no thread of httpd serves, nor does httpd watch it. What owns it, and what goes over it, is not known here;
//! how it came to that is the matter of `suspension.rs`.

use super::departure::Departure;
use super::filters::last_output_filter;
use super::raw_bytes::{pass_bytes, read_bytes};
use super::request::Request;
use super::response::PassError;
use crate::apr::{Brigade, Pool};
use crate::bindings::{
    ap_bucket_eoc_create, ap_finalize_request_protocol, ap_get_conn_socket, ap_pass_brigade,
    ap_prep_lingering_close, ap_process_request_after_handler, apr_allocator_max_free_set,
    apr_bucket_brigade, apr_os_sock_get, apr_pool_allocator_get, apr_pool_clear, apr_pool_destroy,
    apr_pool_t, apr_socket_timeout_get, apr_socket_timeout_set, conn_rec, conn_state_e,
    request_rec,
};
use std::ffi::c_int;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use wsgi::ReadError;

/// Bytes of freed memory that a connection keeps with [`Parked::keep_buffers`]: one buffer of a read, and its bookkeeping.
const KEPT_BUFFERS: usize = 16 * 1024;

/// A connection that its owner alone uses and closes: httpd does not.
pub(crate) struct Parked {
    /// Null once it has been released.
    connection: *mut conn_rec,
    descriptor: c_int,
    /// Null once the request has ended.
    request: *mut request_rec,
    /// Of the request's pool: one for all of the response.
    brigade: *mut apr_bucket_brigade,
    /// Of the connection's pool.
    last: *mut apr_bucket_brigade,
    /// Whether the thread that has suspended it has left.
    departure: Departure,
    /// How long the client might take over a read or a write.
    timeout: Option<Duration>,
}

// SAFETY: between the last hook and the release its owner alone uses the connection, from whichever thread, but for the two
// stores of the thread that suspended it, which touch fields that are not read here (docs/safety.md).
unsafe impl Send for Parked {}

impl Parked {
    /// # Safety
    /// The MPM has suspended the connection and runs the last of its hooks; the request is live and its own.
    pub(super) unsafe fn new(connection: *mut conn_rec, request: *mut request_rec) -> Self {
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
            let departure = Departure::begin();
            // What is freed goes back to the process: nothing uses the pool's allocator again soon.
            apr_allocator_max_free_set(apr_pool_allocator_get((*connection).pool), 1);
            Self { connection, descriptor, request, brigade, last, departure, timeout }
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

    /// From now on the connection keeps what one read takes, for the next one: to be called once the request has been freed
    /// and messages are to come.
    pub(crate) fn keep_buffers(&mut self) {
        // SAFETY: the connection is live until `self` is consumed; its pool has an allocator of its own.
        unsafe {
            let allocator = apr_pool_allocator_get((*self.connection).pool);
            apr_allocator_max_free_set(allocator, KEPT_BUFFERS);
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

    /// Closes the connection, and frees all but its record, which is freed with what this gives.
    pub(crate) fn release(mut self) -> ClosedRecord {
        let record = self.clear();
        self.connection = std::ptr::null_mut();
        record
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
            ClosedRecord { pool, departure: self.departure.clone() }
        }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        // One that has not been released, because of a panic.
        if !self.connection.is_null() {
            drop(self.clear());
        }
    }
}

/// The record of a closed connection, freed when this is dropped. One that is dropped while it is in use is left for ever.
pub(crate) struct ClosedRecord {
    pool: *mut apr_pool_t,
    departure: Departure,
}

impl ClosedRecord {
    /// Whether the thread that has suspended the connection may still write to the record.
    pub(crate) fn is_in_use(&self) -> bool {
        !self.departure.has_come()
    }
}

// SAFETY: the pool has an allocator of its own, and its owner alone uses it; its parent's allocator has a mutex.
unsafe impl Send for ClosedRecord {}

impl Drop for ClosedRecord {
    fn drop(&mut self) {
        if self.is_in_use() {
            return;
        }
        // SAFETY: cleared, and used by nothing any more: the thread that wrote to it last has left it (`Departure`).
        unsafe { apr_pool_destroy(self.pool) };
    }
}
