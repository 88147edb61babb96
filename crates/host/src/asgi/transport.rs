//! Requests as the event loop sees a transport: nothing here waits. It must never know how bytes travel.
#![forbid(unsafe_code)]

use crate::asgi::sent::Sent;
use crate::asgi::socket_transport::AsgiSocket;
use crate::gateway::target::{Served, Target};
use std::os::fd::BorrowedFd;
use std::time::Duration;
use wsgi::{Environ, Level, Output, ReadError, ResponseHead, SendError};

/// What an event loop serves.
pub trait AsgiSource: Send + Sync {
    /// Readable while a request may have come.
    fn arrivals(&self) -> BorrowedFd<'_>;
    /// Readable while there is something to do for a request that is under way, one has come that [`AsgiSource::arrivals`]
    /// does not tell of, or the loop is to end.
    fn progress(&self) -> BorrowedFd<'_>;
    /// What has happened on [`AsgiSource::arrivals`].
    fn take_arrivals(&self) -> Vec<AsgiEvent>;
    /// What has happened on [`AsgiSource::progress`].
    fn take_progress(&self) -> Vec<AsgiEvent>;
    /// Whether one more request may begin.
    fn has_room(&self) -> bool;
    /// Notes that an executor has been given a function, or that one is over. May be called from any thread.
    fn note_function(&self, executor: AsgiExecutor, is_over: bool);
    /// The applications named at the start have been told that the worker starts; `failed`: not all of them could.
    fn started(&self, failed: bool);
    /// Notes how late a timer of the loop was; whether a request is under way, which an open WebSocket is not.
    fn note_lag(&self, lag: Duration) -> bool;
}

/// What runs functions that may block, in threads, for an event loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsgiExecutor {
    /// The loop's own executor.
    Default,
    /// asgiref's, which has one thread.
    ThreadSensitive,
}

/// Something to do for the event loop.
pub enum AsgiEvent {
    /// A request has come.
    Request(Box<dyn AsgiExchange>),
    /// The request of this number can go on.
    Ready(usize),
    /// The loop is to end.
    Stop,
}

/// A request that waits for its response. Nothing of it waits; each method may be called from any thread.
pub trait AsgiExchange: Send {
    /// Its number among those that are under way, from 0.
    fn number(&self) -> usize;
    /// Its number among the requests that the process says it serves; `None` once its WebSocket is open, which is none of
    /// them.
    fn request_number(&self) -> Option<usize>;
    /// Has `load` find the application, given where it is and a log, and notes how that went. `false`: the request has
    /// been answered without it.
    fn load(&mut self, load: &mut Load<'_>) -> bool;
    /// Hands over every variable of the request.
    fn environ(&mut self, environ: &mut dyn Environ);
    /// Reads what is here of the request body, at most `into.len()` bytes.
    ///
    /// # Errors
    /// Once it failed it fails again at every later call.
    fn read(&mut self, into: &mut [u8]) -> Result<Input, ReadError>;
    /// Whether nothing more of the body will come.
    fn body_is_complete(&mut self) -> bool;
    /// Hands a piece of the response on, or keeps what there is no room for.
    ///
    /// # Errors
    /// When the client (or the transport) can take no more.
    fn send(&mut self, output: &Output<'_>) -> Result<Sent, SendError>;
    /// Hands on what was kept.
    ///
    /// # Errors
    /// As for [`AsgiExchange::send`].
    fn flush(&mut self) -> Result<Sent, SendError>;
    /// Reports [`AsgiEvent::Ready`] once when there is more of the body, or the client has gone.
    fn watch(&mut self);
    /// Whether the client has gone, as far as that has been reported.
    fn is_disconnected(&mut self) -> bool;
    /// Whether the client may get early hints (103) before the response.
    fn takes_early_hints(&self) -> bool;
    /// Sends early hints: values of `Link`, valid in a header, each with a newline behind it.
    ///
    /// # Errors
    /// As for [`AsgiExchange::send`].
    fn hint(&mut self, links: &[u8]) -> Result<Sent, SendError>;
    /// Whether the client gets the body of the response (not so for `HEAD`).
    fn wants_body(&self) -> bool;
    /// Whether the client asks for a WebSocket.
    fn is_websocket(&self) -> bool;
    /// Accepts the WebSocket, with the headers of `head`. `None`: the client has gone. The exchange then only writes to the log.
    fn accept(&mut self, head: &ResponseHead) -> Option<Box<dyn AsgiSocket>>;
    /// Answers with an error page of this HTTP status, where nothing has been sent; else the client must be able to see that
    /// the response is incomplete.
    fn fail(&mut self, status: u16);
    /// Answers 503: the application has not started.
    fn fail_start(&mut self);
    /// The application has returned.
    fn end(&mut self);
    /// Writes one line to the log of the request's virtual host.
    fn log(&mut self, level: Level, line: &[u8]);
    /// Whether a line of this level would be written.
    fn logs(&self, level: Level) -> bool;
}

/// Finds an application; see [`AsgiExchange::load`].
pub type Load<'a> = dyn FnMut(&Target<'_>, &mut dyn FnMut(Level, &[u8])) -> Served + 'a;

/// What there is of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// So many bytes were read.
    Bytes(usize),
    /// Nothing yet; [`AsgiEvent::Ready`] will be reported.
    Nothing,
    /// The end.
    End,
}
