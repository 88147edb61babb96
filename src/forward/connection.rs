//! A kept connection to one worker.
#![forbid(unsafe_code)]

use super::params::{self, Params};
use crate::posix;
use fastcgi::{Answer, ClientConnection, Limits, RecordType, WireError, encoder};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection, and what came over it and is not yet relayed.
pub(crate) struct Connection {
    stream: UnixStream,
    client: ClientConnection,
    files: VecDeque<OwnedFd>,
    /// What there was no room for when it was sent, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    /// The begin of a request and its params, and the memory for them.
    head: Vec<u8>,
    /// How much to read at once.
    appetite: usize,
    /// How long the worker may be silent.
    timeout: Duration,
    /// Those of the worker.
    limits: Limits,
    aborted: bool,
    /// The worker may still be at the request.
    given_up: bool,
    used: bool,
}

/// Bytes of memory kept for the params of the next request.
const KEPT: usize = 16 * 1024;
/// Bytes to read at once: enough for the whole of a small answer, and for as long as more comes a lot.
const SIP: usize = 8 * 1024;
const GULP: usize = 64 * 1024;
/// Files that may have come before their records are read: an answer has one.
const FILES: usize = 4;

/// Why a connection is of no more use.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The worker closed it.
    Closed,
    /// The worker fell silent for longer than socket-timeout.
    Timeout,
    /// The worker did not take the request.
    Refused,
    /// The worker breaks the rules of the wire.
    Malformed(String),
    /// The request is too long for the wire.
    TooLong(String),
    /// The worker has closed the connection before it took a single byte of what was sent.
    Unsent,
    /// Anything else.
    Io(io::Error),
}

impl Broken {
    /// The worker certainly knows nothing of the request. A reset says nothing of the kind: Linux reports
    /// one whenever anything was left unread, also the end of what was read and acted on.
    pub(crate) const fn is_unread(&self) -> bool {
        matches!(self, Self::Unsent | Self::Refused)
    }
}

impl Broken {
    /// The worker may be gone altogether.
    pub(crate) const fn is_end(&self) -> bool {
        matches!(self, Self::Closed | Self::Unsent | Self::Io(_))
    }
}

impl From<io::Error> for Broken {
    fn from(why: io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Io(why),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed | Self::Unsent => f.write_str("the connection was closed"),
            Self::Timeout => f.write_str("nothing came within socket-timeout"),
            Self::Refused => f.write_str("it is overloaded"),
            Self::Malformed(what) | Self::TooLong(what) => f.write_str(what),
            Self::Io(why) => write!(f, "{why}"),
        }
    }
}

impl Connection {
    /// Connects within `wait`; from then on each read and each write has `timeout`.
    pub(crate) fn open(
        path: &Path,
        wait: Duration,
        timeout: Duration,
        limits: Limits,
    ) -> io::Result<Self> {
        let stream = posix::connect(path, wait).map_err(|why| match why.kind() {
            io::ErrorKind::WouldBlock => io::Error::other("too many requests wait already"),
            _ => why,
        })?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self {
            stream,
            client: ClientConnection::new(limits),
            files: VecDeque::new(),
            unsent: Vec::new(),
            sent: 0,
            head: Vec::new(),
            appetite: SIP,
            timeout,
            limits,
            aborted: false,
            given_up: false,
            used: false,
        })
    }

    /// Whether another request can go over it: nothing is left of the last one. If the worker closes it
    /// meanwhile, the next request finds that out by [`Broken::Unsent`], which costs nothing but the
    /// attempt.
    pub(crate) fn is_reusable(&self) -> bool {
        // The answer may have come before all of the request had gone: in the middle of a record.
        !self.aborted && !self.has_unsent() && self.files.is_empty() && self.client.is_reusable()
    }

    /// Whether it was used before.
    pub(crate) const fn is_used(&self) -> bool {
        self.used
    }

    /// Whether the worker was told that nobody waits for its answer.
    pub(crate) const fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// It has served a request.
    pub(crate) const fn mark_used(&mut self) {
        self.used = true;
    }

    /// Waits for something to read.
    pub(crate) fn waits_for_input(&self, limit: Duration) -> bool {
        posix::is_readable(self.stream.as_fd(), limit)
    }

    /// Whether not a byte of an answer has come.
    pub(crate) fn is_silent(&self) -> bool {
        self.client.is_silent()
    }

    /// Sends the params and the first part of the body with one call, which most requests need. With a body
    /// it does not wait: a worker that is busy answering reads none.
    pub(crate) fn send_request(
        &mut self,
        params: &Params<'_>,
        body: &[u8],
        complete: bool,
    ) -> Result<(), Broken> {
        // What was large may be followed by what is small.
        self.appetite = SIP;
        self.head.clear();
        self.head.shrink_to(KEPT);
        let mut writer = self.client.begin_with_common_params(
            &mut self.head,
            params::EXTENSIONS,
            params.key(),
            |list| {
                params.encode(list);
            },
        );
        writer.pairs(params.own());
        writer.finish_within(&self.limits).map_err(|why| Broken::TooLong(too_long(&why)))?;
        let id = ClientConnection::REQUEST_ID;
        let end = encoder::end_of_stream(RecordType::STDIN, id);
        if body.is_empty() && complete {
            self.head.extend_from_slice(&end);
            return write_all(&mut self.stream, &mut [IoSlice::new(&self.head)]);
        }
        let chunks: Vec<_> = encoder::stream(RecordType::STDIN, id, body).collect();
        let mut pieces = Vec::with_capacity(6);
        pieces.push(IoSlice::new(&self.head));
        for (header, content) in &chunks {
            pieces.push(IoSlice::new(header));
            pieces.push(IoSlice::new(content));
        }
        if complete {
            pieces.push(IoSlice::new(&end));
        }
        if body.is_empty() {
            return write_all(&mut self.stream, &mut pieces);
        }
        send(&self.stream, &mut pieces, &mut self.unsent)
    }

    /// Sends a piece of body, wherever it lies, and its end if `complete`. Never waits.
    pub(crate) fn send_body(&mut self, piece: &[&[u8]], complete: bool) -> Result<(), Broken> {
        let id = ClientConnection::REQUEST_ID;
        let mut parts = Vec::with_capacity(2 * piece.len() + 2);
        encoder::scattered_stream(RecordType::STDIN, id, piece, |part| parts.push(part));
        let end = encoder::end_of_stream(RecordType::STDIN, id);
        let end = if complete { &end[..] } else { &[] };
        let mut pieces: Vec<_> =
            parts.iter().map(AsRef::as_ref).chain([end]).map(IoSlice::new).collect();
        send(&self.stream, &mut pieces, &mut self.unsent)
    }

    /// Whether something waits for room in the socket.
    pub(crate) const fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Sends as much of it as there is room for.
    pub(crate) fn send_rest(&mut self) -> Result<(), Broken> {
        let rest = self.unsent.get(self.sent..).unwrap_or_default();
        match posix::send_now(self.stream.as_fd(), &[IoSlice::new(rest)]) {
            Ok(count) => self.sent += count,
            Err(why) if is_full(&why) => {}
            Err(why) => return Err(Broken::Io(why)),
        }
        if !self.has_unsent() {
            self.unsent.clear();
            self.sent = 0;
        }
        Ok(())
    }

    /// Tells the worker that nobody waits for the answer any more.
    pub(crate) fn abort(&mut self) {
        (self.aborted, self.given_up) = (true, true);
        if !self.has_unsent() {
            let record = encoder::abort_request(ClientConnection::REQUEST_ID);
            // If the worker cannot hear it, it sees the end of the connection, which follows.
            let _ = posix::send_now(self.stream.as_fd(), &[IoSlice::new(&record)]);
        }
    }

    /// The worker closes it after this answer.
    pub(crate) const fn forsake(&mut self) {
        self.aborted = true;
    }

    /// The next part of the answer that is already here.
    pub(crate) fn next(&mut self) -> Result<Option<Answer<'_>>, Broken> {
        self.client.next().map_err(|why| Broken::Malformed(why.to_string()))
    }

    /// Reads what has come, waiting for it.
    pub(crate) fn read(&mut self) -> Result<(), Broken> {
        // A thread that sleeps in recv(2) on a Unix socket is woken when the other end has read what was
        // sent; one that sleeps in poll(2) is not (`unix_write_space` in Linux). Where a lot comes nobody
        // sleeps.
        if self.appetite == SIP && !self.waits_for_input(self.timeout) {
            return Err(Broken::Timeout);
        }
        let spare = self.client.spare(self.appetite);
        let room = spare.len();
        let (count, file) = sys::receive_with_descriptor(self.stream.as_fd(), spare, true)?;
        if count == 0 {
            return Err(Broken::Closed);
        }
        if count == room {
            self.appetite = GULP;
        }
        self.client.filled(count);
        self.files.extend(file);
        if self.files.len() > FILES {
            return Err(Broken::Malformed("it sends descriptors and no file records".to_owned()));
        }
        Ok(())
    }

    /// The file that belongs to the next file record.
    pub(crate) fn take_file(&mut self) -> Option<OwnedFd> {
        self.files.pop_front()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The same for an administrator, who knows no params.
fn too_long(why: &WireError) -> String {
    match why {
        WireError::TooManyPairs { limit } => {
            format!("it has more than {limit} headers and other variables")
        }
        WireError::ParamsTooLarge { limit } => {
            format!("its headers and other variables have more than {limit} bytes")
        }
        WireError::NameTooLong { limit, .. } => {
            format!("one of its headers or other variables has a name of more than {limit} bytes")
        }
        why => why.to_string(),
    }
}

/// Sends what there is room for; the rest is added to `unsent`.
fn send(
    stream: &UnixStream,
    mut pieces: &mut [IoSlice<'_>],
    unsent: &mut Vec<u8>,
) -> Result<(), Broken> {
    let count = match posix::send_now(stream.as_fd(), pieces) {
        Ok(count) => count,
        Err(why) if is_full(&why) => 0,
        Err(why) if is_gone(&why) => return Err(Broken::Unsent),
        Err(why) => return Err(Broken::Io(why)),
    };
    IoSlice::advance_slices(&mut pieces, count);
    for piece in pieces {
        unsent.extend_from_slice(piece);
    }
    Ok(())
}

fn write_all(stream: &mut UnixStream, mut pieces: &mut [IoSlice<'_>]) -> Result<(), Broken> {
    IoSlice::advance_slices(&mut pieces, 0);
    let mut begun = false;
    while !pieces.is_empty() {
        match stream.write_vectored(pieces) {
            Ok(0) => return Err(Broken::Closed),
            Ok(written) => {
                begun = true;
                IoSlice::advance_slices(&mut pieces, written);
            }
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) if !begun && is_gone(&why) => return Err(Broken::Unsent),
            Err(why) => return Err(why.into()),
        }
    }
    Ok(())
}

fn is_gone(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn is_full(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
