//! Which thread answers a request: the one that serves it, or the main thread of a worker that cannot wait for
//! that thread any longer. The first of them to claim the response sends it, and the other one sends nothing.
#![forbid(unsafe_code)]

use crate::worker::connection::{Connection, Socket};
use crate::worker::error_response::{self, cause_of};
use fastcgi::app_status::StatusOnly;
use fastcgi::{RecordType, encoder};
use std::io::IoSlice;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

/// The claim to the response of the request that a thread serves, if it serves one.
#[derive(Default)]
pub(super) struct ResponseClaim(Mutex<Option<Unanswered>>);

/// A request without a response. Its socket stays open as long as this lives, so that its descriptor cannot be
/// another file's meanwhile.
pub(super) struct Unanswered {
    socket: Arc<Socket>,
    /// The FastCGI request id.
    id: u16,
    from_module: bool,
    queue_time: u64,
}

impl ResponseClaim {
    /// A request begins on this connection; `from_module`: the Apache module has sent it.
    pub(super) fn begin(&self, connection: &Connection, from_module: bool) {
        let socket = Arc::clone(connection.socket());
        let (id, queue_time) = (connection.id(), connection.queue_time);
        self.set(Some(Unanswered { socket, id, from_module, queue_time }));
    }

    /// Claims the response for the thread that serves the request; `false` when it has been claimed.
    pub(super) fn claim(&self) -> bool {
        self.take().is_some()
    }

    /// Claims the response; `None` when it has been claimed.
    pub(super) fn take(&self) -> Option<Unanswered> {
        self.set(None)
    }

    /// Sends a response with `status` for the thread that serves the request, unless that thread has claimed it.
    /// `log` is a line for the log of a web server that is the Apache module.
    pub(super) fn answer_for_thread(&self, status: u16, log: &[u8]) {
        if let Some(unanswered) = self.take() {
            unanswered.answer(status, log);
        }
    }

    fn set(&self, unanswered: Option<Unanswered>) -> Option<Unanswered> {
        let mut claim = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *claim, unanswered)
    }
}

impl Unanswered {
    /// Sends a response; see [`ResponseClaim::answer_for_thread`].
    pub(super) fn answer(&self, status: u16, log: &[u8]) {
        let id = self.id;
        let mut answer = Vec::new();
        if self.from_module {
            encoder::append_log(&mut answer, id, fastcgi::LogLevel::ERR, log);
            let end = StatusOnly { status, cause: cause_of(status) }.to_wire();
            answer.extend_from_slice(&encoder::end_answer_after(id, end, self.queue_time));
        } else {
            let head = error_response::head(status);
            encoder::append_stream(&mut answer, RecordType::STDOUT, id, head.as_bytes());
            answer.extend_from_slice(&encoder::end_answer(id, 0));
        }
        // The thread may be stuck for ever: the next request that is written to the connection fails at once.
        self.socket.shutdown_read();
        // It only fails where the other end is closed.
        let _ = sys::send_all(self.socket.as_fd(), &mut [IoSlice::new(&answer)], None);
    }
}
