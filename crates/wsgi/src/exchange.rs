//! One request and its answer, as the gateway sees a transport.
//!
//! It must never know how bytes travel. Every method that may block says so, because the caller
//! has to let other Python threads run meanwhile.

use crate::{Environ, Level, ResponseHead};
use std::ffi::c_void;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::time::Duration;

/// A request that waits for its answer (design decision D4: one gateway, two transports).
pub trait Exchange {
    /// Hands over every variable of the request. Does not block.
    fn environ(&mut self, environ: &mut dyn Environ);

    /// Reads some of the request body, at most `into.len()` bytes; 0 is the end of it. Blocks.
    ///
    /// # Errors
    /// Once it failed it fails again at every later call.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, ReadError>;

    /// Sends a piece of the answer. Blocks.
    ///
    /// # Errors
    /// [`SendError`] when the client (or the transport) can take no more; nothing more need be sent.
    fn send(&mut self, output: Output<'_>) -> Result<(), SendError>;

    /// All of the answer has been sent, but the application goes on running: what the transport still holds
    /// back of it is to reach the client now. Blocks.
    fn flush_complete(&mut self) {}

    /// Whether the client gets the body of the answer (not so for `HEAD`).
    fn wants_body(&self) -> bool;

    /// Gives the answer up after its head went out: the client must be able to see that it is
    /// incomplete (RFC 9112 section 8).
    fn cut(&mut self);

    /// Writes one line to the log of the request's virtual host. Does not block for long.
    fn log(&mut self, level: Level, line: &[u8]);

    /// Whether the server itself decrypts the client's connection.
    fn is_encrypted(&self) -> bool {
        false
    }

    /// What the server knows of the client's encrypted connection, by mod_ssl's names.
    fn tls_variable(&mut self, _name: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// The server's own structure of the request, for extension modules that know the server. It is
    /// gone when the request ends.
    fn native_request(&self) -> Option<NonNull<c_void>> {
        None
    }

    /// Whether a line of this level would be written.
    fn logs(&self, _level: Level) -> bool {
        true
    }

    /// As [`Exchange::log`], for a line that has a place in a source file. A transport that cannot
    /// carry the place leaves it out.
    fn log_from(&mut self, level: Level, line: &[u8], _source: &Source<'_>) {
        self.log(level, line);
    }
}

/// A place in a source file.
pub struct Source<'a> {
    /// The file's path.
    pub path: &'a [u8],
    /// The line, from 1.
    pub line: u32,
}

/// A piece of an answer: the head where it is the first, some body, and what is to follow.
pub struct Output<'a> {
    /// The head, with the first piece only.
    pub head: Option<&'a ResponseHead>,
    /// Body bytes, possibly none.
    pub body: Body<'a>,
    /// What comes after this piece.
    pub then: Then,
}

/// Body of an [`Output`].
pub enum Body<'a> {
    /// No bytes.
    Empty,
    /// These bytes; they are the caller's again when `send` returns.
    Bytes(&'a [u8]),
    /// `length` bytes of a regular file from `offset` on. The transport duplicates the descriptor
    /// if it needs it beyond the call.
    File {
        /// The open file.
        file: BorrowedFd<'a>,
        /// Where to start, in bytes.
        offset: u64,
        /// How much, in bytes.
        length: u64,
    },
}

/// For how long an application is asked for pieces of a body that are discarded, because the request is `HEAD`, the
/// status has no body, or `Content-Length` is reached. The application may rely on being asked to the end; but some
/// bodies have no end, and a client that has left is not noticed where nothing is sent to it.
pub const DISCARD_LIMIT: Duration = Duration::from_secs(5);

/// What follows a piece of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// More, some time: the client gets what there is now (PEP 3333, "Buffering and Streaming").
    Flush,
    /// Nothing: the answer is complete.
    End,
    /// Nothing, although `Content-Length` promised more: the connection must not be used again.
    Short,
}

/// Why no more request body can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The client fell silent for longer than the server's time-out.
    Timeout,
    /// The client closed the connection.
    Disconnected,
    /// The body is larger than the configuration allows (`LimitRequestBody`).
    TooLarge,
    /// The body breaks the rules of HTTP, or of its own coding.
    Malformed,
    /// Anything else, in the transport's words.
    Other(String),
}

impl ReadError {
    /// The HTTP status that tells the client, when the application does not answer otherwise.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Timeout => 408,
            Self::TooLarge => 413,
            Self::Disconnected | Self::Malformed => 400,
            Self::Other(_) => 500,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("the client sent no data for longer than the time-out"),
            Self::Disconnected => f.write_str("the connection was terminated by the client"),
            Self::TooLarge => f.write_str("the request body is larger than LimitRequestBody"),
            Self::Malformed => f.write_str("the request body is malformed"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// Why no more of the answer can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The client went away.
    Disconnected,
    /// Something between us and the client failed, or has answered in our place.
    Failed,
    /// The answer is not wanted: the server replaces it by its own error page.
    Replaced,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnected => "the connection was terminated by the client",
            Self::Failed => "the response could not be passed on",
            Self::Replaced => "the response was replaced by an error document",
        })
    }
}
