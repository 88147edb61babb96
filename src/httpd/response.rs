//! The answer to a request: head, body through the output filters, and how to break it off.

use super::request::Request;
use crate::apr::{Brigade, FileFlags};
use crate::bindings::{
    HTTP_BAD_GATEWAY, M_GET, ap_bucket_error_create, ap_conn_keepalive_e, ap_discard_request_body,
    ap_get_conn_socket, ap_internal_redirect, ap_pass_brigade, ap_set_content_length,
    ap_set_content_type, apr_socket_timeout_get, apr_socket_timeout_set,
};
use std::ffi::c_int;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use wsgi::ResponseHead;

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
                        let length = std::str::from_utf8(digits).unwrap_or_default().parse();
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
        // SAFETY: live request, own brigade.
        let status = unsafe { ap_pass_brigade((*self.raw).output_filters, brigade.as_ptr()) };
        brigade.clear();
        if self.is_aborted() {
            return Err(PassError::Aborted);
        }
        if status != 0 { Err(PassError::Failed) } else { Ok(()) }
    }

    /// Whether the client is known to be gone.
    pub(crate) fn is_aborted(&self) -> bool {
        // SAFETY: live.
        unsafe { (*(*self.raw).connection).aborted != 0 }
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

    /// No further request comes over this connection.
    pub(crate) fn close_connection(&mut self) {
        // SAFETY: live.
        unsafe { (*(*self.raw).connection).keepalive = ap_conn_keepalive_e::AP_CONN_CLOSE };
    }

    /// Breaks off an answer whose head is out: an error bucket keeps the chunked encoding from ending
    /// as if complete, makes mod_http2 reset the stream, and the connection is closed (what httpd's own
    /// proxy does when a backend breaks).
    pub(crate) fn cut(&mut self) {
        self.close_connection();
        let mut brigade = self.new_brigade();
        // SAFETY: live request, own brigade, its allocator.
        unsafe {
            (*self.raw).no_cache = 1;
            let bucket = ap_bucket_error_create(
                HTTP_BAD_GATEWAY as c_int,
                std::ptr::null(),
                (*self.raw).pool,
                brigade.allocator(),
            );
            brigade.append(bucket);
        }
        brigade.append_end();
        // Whether the client still hears of it makes no difference any more.
        let _ = self.pass(&mut brigade);
    }

    /// Answers with what this server has at another path, for a GET without a body (what CGI calls a
    /// local redirect).
    pub(crate) fn answer_with(&mut self, path: &[u8]) {
        let path = self.pool().copy(path);
        // SAFETY: live; the path is copied to the pool and ends with a NUL.
        unsafe {
            // Whoever answers must not find what is left of this request's body.
            ap_discard_request_body(self.raw);
            (*self.raw).method = c"GET".as_ptr();
            (*self.raw).method_number = M_GET as c_int;
        }
        for name in [c"Content-Length", c"Transfer-Encoding"] {
            self.headers_in().remove(name);
        }
        // SAFETY: as above; the head has not gone out.
        unsafe { ap_internal_redirect(path, self.raw) };
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
            unsafe { brigade.append_lent(data) };
        }
        end.append(brigade);
        self.pass(brigade)
    }

    /// Passes part of a file on, as `EnableMMAP` and `EnableSendfile` allow; `sendfile` is what the
    /// application's configuration says (`WSGIEnableSendfile`).
    pub(crate) fn pass_file(
        &mut self,
        brigade: &mut Brigade<'call>,
        file: BorrowedFd<'_>,
        part: Range<u64>,
        sendfile: bool,
        end: BrigadeEnd,
    ) -> Result<(), PassError> {
        let (may_send, mmap) = self.file_options();
        let flags = FileFlags { sendfile: sendfile && may_send, mmap };
        if !part.is_empty() {
            brigade
                .append_file(file, part.start, part.end - part.start, flags)
                .map_err(|_| PassError::Failed)?;
        }
        end.append(brigade);
        self.pass(brigade)
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
