//! The answer to a request: head, body through the output filters, and how to break it off.

use super::Outcome;
use super::request::Request;
use crate::apr::{Brigade, FileFlags};
use crate::bindings::{
    AP_FILTER_ERROR, HTTP_BAD_GATEWAY, M_GET, ap_bucket_error_create, ap_conn_keepalive_e,
    ap_discard_request_body, ap_get_conn_socket, ap_internal_redirect, ap_pass_brigade,
    ap_set_content_length, ap_set_content_type, apr_os_sock_get, apr_socket_timeout_get,
    apr_socket_timeout_set,
};
use std::ffi::c_int;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use wsgi::{Level, ResponseHead};

/// Why the output filters took no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassError {
    /// The client went away.
    Aborted,
    /// A filter failed, or has answered itself.
    Failed,
}

/// A head whose names and values stand in one buffer, each followed by a NUL.
pub(crate) struct Head<'a> {
    pub(crate) status: u16,
    pub(crate) arena: &'a [u8],
    pub(crate) line: Range<usize>,
    pub(crate) headers: &'a [(Range<usize>, Range<usize>)],
}

impl<'a> Head<'a> {
    /// The head an application gave.
    pub(crate) fn of(head: &'a ResponseHead) -> Self {
        Self {
            status: head.status(),
            arena: head.arena(),
            line: head.line_span(),
            headers: head.spans(),
        }
    }
}

impl<'call> Request<'call> {
    /// An empty brigade for this request.
    pub(crate) fn new_brigade(&self) -> Brigade<'call> {
        // SAFETY: the connection and its bucket allocator outlive the request.
        unsafe { Brigade::new(self.pool(), (*(*self.raw).connection).bucket_alloc) }
    }

    /// Sets status and headers. All of them are copied to the pool at once.
    pub(crate) fn set_head(&mut self, head: &Head<'_>) {
        let pool = self.pool();
        let copy = pool.copy(head.arena).cast::<u8>().cast_const();
        // SAFETY: the copy lives as long as the request and every span of the arena ends with a NUL
        // inside it, as the type says.
        unsafe {
            (*self.raw).status = c_int::from(head.status);
            (*self.raw).status_line = copy.add(head.line.start).cast();
            for (name_at, value_at) in head.headers {
                let name = head.arena.get(name_at.clone()).unwrap_or_default();
                let (name_text, value) = (copy.add(name_at.start), copy.add(value_at.start));
                match name.len() {
                    12 if name.eq_ignore_ascii_case(b"Content-Type") => {
                        ap_set_content_type(self.raw, value.cast());
                    }
                    14 if name.eq_ignore_ascii_case(b"Content-Length") => {
                        let digits = head.arena.get(value_at.clone()).unwrap_or_default();
                        let digits = std::str::from_utf8(digits).unwrap_or_default();
                        let length = digits.trim_ascii().parse();
                        ap_set_content_length(self.raw, length.unwrap_or(0));
                    }
                    16 if name.eq_ignore_ascii_case(b"WWW-Authenticate") => {
                        self.error_headers_out().add_lent(name_text, value);
                    }
                    // How the body is framed is the server's affair (PEP 3333, "Other HTTP
                    // Features"); a second opinion would let responses be split.
                    17 if name.eq_ignore_ascii_case(b"Transfer-Encoding") => {}
                    _ => self.headers_out().add_lent(name_text, value),
                }
            }
        }
    }

    /// Passes a brigade on and empties it. Blocks as long as the client is slow, if the brigade ends
    /// with a flush.
    pub(crate) fn pass(&mut self, brigade: &mut Brigade<'call>) -> Result<(), PassError> {
        // SAFETY: a live request (`Request::from_raw`); the brigade is of its pool and its connection's allocator.
        let status = unsafe { ap_pass_brigade((*self.raw).output_filters, brigade.as_ptr()) };
        brigade.clear();
        if self.is_aborted() {
            return Err(PassError::Aborted);
        }
        if status != 0 { Err(PassError::Failed) } else { Ok(()) }
    }

    /// Whether the client is known to be gone.
    pub(crate) fn is_aborted(&self) -> bool {
        // SAFETY: a live request and its connection, which outlives it (`Request::from_raw`).
        unsafe { (*(*self.raw).connection).aborted != 0 }
    }

    /// Records that the client has left: nothing more is sent to it.
    pub(crate) fn mark_aborted(&self) {
        // SAFETY: live, and used by this thread alone; what httpd's own proxy does.
        unsafe {
            (*(*self.raw).connection).aborted = 1;
            (*(*self.raw).connection).keepalive = ap_conn_keepalive_e::AP_CONN_CLOSE;
        }
    }

    /// Sets how long a read or a write of the client's connection may take; gives what it was. `None`
    /// where the connection has no socket of its own (a stream of HTTP/2).
    pub(crate) fn set_client_timeout(&mut self, microseconds: i64) -> Option<i64> {
        // SAFETY: the connection and its socket live as long as the request.
        unsafe {
            let socket = ap_get_conn_socket((*self.raw).connection);
            let mut before = 0;
            (!socket.is_null()
                && apr_socket_timeout_get(socket, &raw mut before) == 0
                && apr_socket_timeout_set(socket, microseconds) == 0)
                .then_some(before)
        }
    }

    /// How long a read of the client's connection may take, where it has a socket of its own.
    pub(crate) fn client_timeout(&self) -> Option<Duration> {
        let mut limit = 0;
        // SAFETY: the connection and its socket live as long as the request.
        unsafe {
            let socket = ap_get_conn_socket((*self.raw).connection);
            if socket.is_null() || apr_socket_timeout_get(socket, &raw mut limit) != 0 {
                return None;
            }
        }
        u64::try_from(limit).ok().map(Duration::from_micros)
    }

    /// The client's socket, to wait at: what has been read from it may still lie in an input filter.
    /// `None` for a stream of HTTP/2, which shares a socket with others.
    pub(crate) fn client_socket(&self) -> Option<BorrowedFd<'call>> {
        // SAFETY: the connection and its socket live as long as the request.
        unsafe {
            let connection = &*(*self.raw).connection;
            let socket = ap_get_conn_socket((*self.raw).connection);
            let mut descriptor = -1;
            (connection.master.is_null()
                && !socket.is_null()
                && apr_os_sock_get(&raw mut descriptor, socket) == 0
                && descriptor >= 0)
                .then(|| BorrowedFd::borrow_raw(descriptor))
        }
    }

    /// No further request comes over this connection.
    pub(crate) fn close_connection(&mut self) {
        // SAFETY: a live request and its connection, which outlives it (`Request::from_raw`).
        unsafe { (*(*self.raw).connection).keepalive = ap_conn_keepalive_e::AP_CONN_CLOSE };
    }

    /// Whether httpd has written the head of the answer.
    pub(crate) fn is_head_out(&self) -> bool {
        // SAFETY: reads a field of a live request (`Request::from_raw`).
        unsafe { (*self.raw).sent_bodyct != 0 }
    }

    /// What becomes of a request whose answer was passed on, as far as it went.
    pub(crate) fn outcome(&mut self, passed: Result<(), PassError>) -> Outcome {
        match passed {
            Err(PassError::Failed) if !self.is_head_out() => return Outcome::FilterFailed,
            Err(PassError::Failed) => self.cut(),
            // A client that has left gets nothing.
            Ok(()) | Err(PassError::Aborted) => {}
        }
        Outcome::Done
    }

    /// Breaks off an answer whose head is out: an error bucket keeps the chunked encoding from ending
    /// as if complete, makes mod_http2 reset the stream, and the connection is closed (what httpd's own
    /// proxy does when a backend breaks).
    pub(crate) fn cut(&mut self) {
        self.close_connection();
        // SAFETY: a live request and its connection, which outlives it (`Request::from_raw`).
        unsafe { (*self.raw).no_cache = 1 };
        // First past the filters that change content: some lose such a bucket (mod_sed, mod_xml2enc) and
        // pass on the end alone. Then through them, for those that keep what is complete (mod_cache).
        let mut brigade = self.new_brigade();
        self.append_error(&mut brigade);
        // SAFETY: a live request (`Request::from_raw`); the brigade is of its pool and its connection's allocator.
        let status = unsafe { ap_pass_brigade((*self.raw).proto_output_filters, brigade.as_ptr()) };
        brigade.clear();
        if status == AP_FILTER_ERROR {
            // The head was not out yet, and httpd has answered.
            return;
        }
        self.append_error(&mut brigade);
        brigade.append_end();
        // Whether the client still receives it makes no difference any more.
        let _ = self.pass(&mut brigade);
    }

    fn append_error(&self, brigade: &mut Brigade<'call>) {
        // SAFETY: a live request (`Request::from_raw`), the brigade's own allocator.
        unsafe {
            let bucket = ap_bucket_error_create(
                HTTP_BAD_GATEWAY as c_int,
                std::ptr::null(),
                (*self.raw).pool,
                brigade.allocator(),
            );
            brigade.append(bucket);
        }
    }

    /// Answers with what a `GET` of this path of the server gives. What is left of the request body is read:
    /// else it would be taken for the next request, once nothing tells its length any more.
    pub(crate) fn redirect(&mut self, path: &[u8]) -> Outcome {
        // SAFETY: a live request (`Request::from_raw`); its method's name is static, and the path lives in its pool.
        unsafe {
            let refused = ap_discard_request_body(self.raw);
            if refused != 0 {
                self.close_connection();
                return Outcome::Status(u16::try_from(refused).unwrap_or(400));
            }
            for name in [c"Content-Length", c"Transfer-Encoding"] {
                self.headers_in().unset(name);
            }
            (*self.raw).method = c"GET".as_ptr();
            (*self.raw).method_number = M_GET as c_int;
            ap_internal_redirect(self.pool().copy(path), self.raw);
        }
        Outcome::Done
    }

    /// Sends what httpd still holds back of an answer that is complete, until the request ends: that may be
    /// long after, when the application goes on or the client does not hurry to send the rest of its body.
    pub(crate) fn flush_complete(&mut self) {
        let mut brigade = self.new_brigade();
        brigade.append_flush();
        // SAFETY: the connection outlives the request; the brigade is of its allocator. The request's own filters have seen the end already.
        unsafe { ap_pass_brigade((*(*self.raw).connection).output_filters, brigade.as_ptr()) };
        brigade.clear();
    }

    /// Passes bytes on.
    pub(crate) fn pass_bytes(
        &mut self,
        brigade: &mut Brigade<'call>,
        data: &[u8],
        end: BrigadeEnd,
    ) -> Result<(), PassError> {
        if !data.is_empty() {
            // SAFETY: `pass` returns before the bytes go, and has emptied the brigade then; filters that
            // keep data beyond their call set it aside, which copies a transient bucket.
            unsafe { brigade.append_transient(data) };
        }
        end.append(brigade);
        self.pass(brigade)
    }

    /// Passes part of a file on; see [`Request::append_file`].
    pub(crate) fn pass_file(
        &mut self,
        brigade: &mut Brigade<'call>,
        file: BorrowedFd<'_>,
        part: Range<u64>,
        sendfile: bool,
        end: BrigadeEnd,
    ) -> Result<(), PassError> {
        self.append_file(brigade, file, part, sendfile, true)?;
        end.append(brigade);
        self.pass(brigade)
    }

    /// Appends part of a file, to be sent as `EnableMMAP` and `EnableSendfile` allow, and as `mmap` and
    /// `sendfile` do; the latter is what the application's configuration says (`WSGIEnableSendfile`).
    pub(crate) fn append_file(
        &self,
        brigade: &mut Brigade<'call>,
        file: BorrowedFd<'_>,
        part: Range<u64>,
        sendfile: bool,
        mmap: bool,
    ) -> Result<(), PassError> {
        let (may_send, may_map) = self.file_options();
        let flags =
            FileFlags { sendfile: sendfile && may_send == Some(true), mmap: mmap && may_map };
        self.append_file_with(brigade, file, part, flags)
    }

    /// Appends part of a file of this process's own that is on a local disk: by `sendfile(2)` unless the configuration
    /// says `EnableSendfile Off`. Where the client is slow httpd then keeps the file, and no part of it in memory.
    pub(crate) fn append_own_file(
        &self,
        brigade: &mut Brigade<'call>,
        file: BorrowedFd<'_>,
        part: Range<u64>,
    ) -> Result<(), PassError> {
        let (may_send, _) = self.file_options();
        let flags = FileFlags { sendfile: may_send != Some(false), mmap: false };
        self.append_file_with(brigade, file, part, flags)
    }

    fn append_file_with(
        &self,
        brigade: &mut Brigade<'call>,
        file: BorrowedFd<'_>,
        part: Range<u64>,
        flags: FileFlags,
    ) -> Result<(), PassError> {
        if part.is_empty() {
            return Ok(());
        }
        brigade.append_file(file, part.start, part.end - part.start, flags).map_err(|why| {
            // Filters log their own failures; this one is the module's.
            let line = format!("WSGI0220: a file cannot be sent: {why}");
            self.log(Level::Error, line.as_bytes());
            PassError::Failed
        })
    }
}

/// What a brigade ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrigadeEnd {
    /// Nothing: more comes at once.
    More,
    /// The client gets what there is now.
    Flush,
    /// There is no more.
    End,
}

impl BrigadeEnd {
    fn append(self, brigade: &mut Brigade<'_>) {
        match self {
            Self::More => {}
            Self::Flush => brigade.append_flush(),
            Self::End => brigade.append_end(),
        }
    }
}
