//! A WebSocket as the event loop sees a transport: messages, nothing of which waits. It must never know frames, nor how bytes
//! travel.
#![forbid(unsafe_code)]

use crate::asgi::sent::Sent;
use std::time::Duration;
use wsgi::SendError;

/// A WebSocket that has been accepted. Its number is that of the exchange that it comes from; what happens to it is reported
/// as [`AsgiEvent::Ready`](crate::AsgiEvent::Ready). It stays open, or closes in good order, as long as this lives.
pub trait AsgiSocket: Send {
    /// Does what can be done after an event: reads what there is room for, sends what waits.
    fn progress(&mut self);
    /// What the application gets next.
    fn receive(&mut self) -> Received;
    /// Hands a message on, or keeps it where there is no room.
    ///
    /// # Errors
    /// When the WebSocket is closing or closed, and before the client has its 101.
    fn send(&mut self, message: SocketMessage<'_>) -> Result<Sent, SendError>;
    /// Hands on what was kept.
    ///
    /// # Errors
    /// As for [`AsgiSocket::send`].
    fn flush(&mut self) -> Result<Sent, SendError>;
    /// Closes it with this code and reason, unless it is closing already.
    fn close(&mut self, code: u16, reason: &str);
    /// Does what is due by now. How long it may be until the next call.
    fn tick(&mut self) -> Duration;
    /// Whether something is due before the time that [`AsgiSocket::tick`] has said.
    fn is_due_earlier(&self) -> bool;
    /// Whether the client has got its 101; `None`: not known yet.
    fn has_opened(&self) -> Option<bool>;
    /// Whether the client has closed it or gone, or the server has given it up.
    fn is_closed(&self) -> bool;
    /// Whether there is nothing left to do: it may be dropped without loss.
    fn is_over(&self) -> bool;
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketMessage<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// What has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing yet.
    Nothing,
    /// The end has been read, of which no event tells: [`AsgiSocket::progress`] comes next, then the messages before the end.
    Ending,
    /// A message of text.
    Text(String),
    /// A message of bytes.
    Bytes(Vec<u8>),
    /// The end: every later call gives the same.
    Closed {
        /// Its code (RFC 6455, 7.4); 1005 where the client sent none, 1006 where it has gone without a word.
        code: u16,
        /// Its reason, which may be empty.
        reason: String,
    },
}
