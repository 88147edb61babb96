//! Why a connection to a worker is of no more use. It must never know what becomes of the request.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;

/// What ended a connection.
#[derive(Debug)]
pub(super) enum ConnectionError {
    /// The worker closed the connection.
    Closed,
    /// The worker sent and took nothing for longer than socket-timeout.
    Timeout,
    /// The worker did not take the request.
    Refused,
    /// The worker breaks the rules of the wire; the sentence says which.
    Malformed(String),
    /// The head of the response exceeds a limit; the sentence says which.
    HeadTooLong(String),
    /// The request is too long for the wire; the sentence says in what.
    TooLong(String),
    /// The worker has closed the connection before it took a single byte of what was sent.
    Unsent,
    /// A file has come that this process cannot open.
    NoDescriptor,
    /// Any other error of the socket.
    Io(io::Error),
}

impl ConnectionError {
    /// Whether the worker certainly knows nothing of the request. A reset does not show that: Linux reports one
    /// whenever anything was left unread, also the end of what was read and acted on.
    pub(super) const fn is_unread(&self) -> bool {
        matches!(self, Self::Unsent | Self::Refused)
    }

    /// Whether the worker may have exited.
    pub(super) const fn is_end(&self) -> bool {
        matches!(self, Self::Closed | Self::Unsent | Self::Io(_))
    }
}

impl From<io::Error> for ConnectionError {
    fn from(why: io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Io(why),
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed | Self::Unsent => f.write_str("the connection was closed"),
            Self::Timeout => f.write_str("no data within socket-timeout"),
            Self::Refused => f.write_str("the worker is overloaded"),
            Self::Malformed(what) | Self::HeadTooLong(what) | Self::TooLong(what) => f.write_str(what),
            Self::NoDescriptor => f.write_str(
                "its file cannot be received: this process has too many open files, or may not have this one",
            ),
            Self::Io(why) => write!(f, "{why}"),
        }
    }
}
