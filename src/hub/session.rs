//! The two sides of a link: the client's connection, and what goes over it. Both are traits, so that a link is tested
//! without httpd. It must never know a thread.
#![forbid(unsafe_code)]

use super::waker::Waker;
use crate::httpd::{ClosedRecord, Parked};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// The connection to a client, as far as a link needs it. No call waits.
pub(crate) trait Client: Send + Sized {
    /// What is left of a closed connection, as long as a thread of httpd may use it.
    type Record: Send;
    fn socket(&self) -> BorrowedFd<'_>;
    /// Whether the client is known to be gone.
    fn is_aborted(&self) -> bool;
    /// Sends what is held back as far as the client takes it; whether something is left.
    fn push(&mut self) -> bool;
    /// Ends the request, if there is one.
    fn end_request(&mut self);
    /// Says that the connection ends. To be pushed.
    fn end_connection(&mut self);
    /// Closes the connection.
    fn release(self) -> Self::Record;
    /// Whether a record is to be kept.
    fn is_in_use(record: &Self::Record) -> bool;
}

impl Client for Parked {
    type Record = ClosedRecord;
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket()
    }
    fn is_aborted(&self) -> bool {
        self.is_aborted()
    }
    fn push(&mut self) -> bool {
        self.push()
    }
    fn end_request(&mut self) {
        self.end_request();
    }
    fn end_connection(&mut self) {
        self.end_connection();
    }
    fn release(self) -> ClosedRecord {
        self.release()
    }
    fn is_in_use(record: &ClosedRecord) -> bool {
        record.is_in_use()
    }
}

/// What has been found at the two descriptors of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    /// The worker has sent something, or has closed its end.
    pub(crate) worker: bool,
    /// The worker takes more.
    pub(crate) worker_takes: bool,
    /// The client has sent something, or its end.
    pub(crate) readable: bool,
    /// The client takes more.
    pub(crate) writable: bool,
    /// The client sends no more. It may have left.
    pub(crate) half_closed: bool,
    /// The client has left.
    pub(crate) gone: bool,
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// For the worker to send something.
    pub(crate) worker: bool,
    /// For the worker to take more.
    pub(crate) worker_takes: bool,
    /// For the client to send something.
    pub(crate) readable: bool,
    /// For the client to take more.
    pub(crate) writable: bool,
    /// For the client to send no more.
    pub(crate) half_closed: bool,
    /// For the client to leave altogether. It is told together with anything else of the client.
    pub(crate) end: bool,
}

/// When a session may be ended before its time, because the process is to leave: the client comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EarlyEnd {
    /// At any time, the sooner the better.
    AnyTime,
    /// Once it has gone on for so long.
    After(Duration),
}

/// How a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Open,
    /// All has been passed on that the client is to get: the connection is to be closed.
    Over,
}

/// What goes over a link, until it is over.
pub(crate) trait Session<C>: Send {
    /// Takes what another thread may use to have [`Session::advance`] called; once, before anything else.
    fn set_waker(&mut self, _waker: Waker) {}
    /// The socket to the worker, as long as the worker is needed.
    fn worker(&self) -> Option<BorrowedFd<'_>>;
    /// Whether [`Session::worker`] is needed no more. Then [`Session::release_worker`] follows once nothing watches it.
    fn is_done_with_worker(&self) -> bool;
    fn release_worker(&mut self);
    fn wants(&self) -> Wants;
    /// When [`Session::advance`] is to be called at the latest.
    fn deadline(&self) -> Option<Instant>;
    /// Does what can be done without waiting.
    fn advance(&mut self, client: &mut C, ready: Ready, now: Instant) -> Step;
    /// When it may be ended before its time; `None`: it ends by itself.
    fn early_end(&self) -> Option<EarlyEnd>;
    /// Ends the session: what the client has been sent is complete as far as it can be.
    fn end(&mut self, client: &mut C, now: Instant) -> Step;
    /// Ends it at once, because the process stops.
    fn stop(&mut self, client: &mut C);
    /// Ends it at once, because `why` keeps its descriptors from being watched.
    fn fail(&mut self, client: &mut C, why: &std::io::Error);
}
