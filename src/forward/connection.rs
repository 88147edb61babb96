//! A connection to one worker, which serves one request after the other. It must never know the client.
#![forbid(unsafe_code)]

use super::connection_error::ConnectionError;
use super::params::{self, Params};
use fastcgi::{Answer, ClientConnection, Limits, RecordType, WireError, encoder};
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection, and what has come over it and is not yet relayed.
pub(crate) struct Connection {
    stream: UnixStream,
    client: ClientConnection,
    /// The file whose record is yet to be read.
    file: Option<OwnedFd>,
    /// A file has come with the response: there is one at most.
    had_file: bool,
    /// Bytes that the socket had no room for, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    /// BEGIN_REQUEST and the params of a request; the memory is used again.
    head: Vec<u8>,
    /// The bytes to read at once.
    read_size: usize,
    /// How long the worker may neither send nor take a byte.
    timeout: Duration,
    /// The limits of the worker.
    limits: Limits,
    /// No other request can go over the connection.
    closing: bool,
    /// The worker has been told to abort the request, and may still be running it.
    abandoned: bool,
    /// A request has been served over the connection.
    used: bool,
}

/// Bytes of memory that are kept for the params of the next request.
const MAX_REUSED_CAPACITY: usize = 16 * 1024;
/// Bytes to read at once: first enough for all of a small response; many, once a read has filled its memory.
const SMALL_READ: usize = 8 * 1024;
const LARGE_READ: usize = 64 * 1024;

impl Connection {
    /// Connects within `wait`; each later read and write may take `timeout`.
    ///
    /// # Errors
    /// Those of connect(2). A backlog that stays full is reported as too many waiting requests.
    pub(crate) fn open(
        path: &Path,
        wait: Duration,
        timeout: Duration,
        limits: Limits,
    ) -> io::Result<Self> {
        let stream = sys::connect(path, wait).map_err(|why| match why.kind() {
            io::ErrorKind::WouldBlock => io::Error::other("too many requests wait already"),
            _ => why,
        })?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self {
            stream,
            client: ClientConnection::new(limits),
            file: None,
            had_file: false,
            unsent: Vec::new(),
            sent: 0,
            head: Vec::new(),
            read_size: SMALL_READ,
            timeout,
            limits,
            closing: false,
            abandoned: false,
            used: false,
        })
    }

    /// Whether another request can go over the connection: nothing is left of the last one. If the worker closes the
    /// connection meanwhile, the next request fails with [`ConnectionError::Unsent`], which costs an attempt only.
    pub(crate) fn is_reusable(&self) -> bool {
        // The response may have come before all of the request was sent: in the middle of a record.
        !self.closing && !self.has_unsent() && self.file.is_none() && self.client.is_reusable()
    }

    /// Whether a request has been served over the connection before.
    pub(crate) const fn is_used(&self) -> bool {
        self.used
    }

    /// Whether the worker has been told to abort the request.
    pub(crate) const fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Records that a request has been served over the connection.
    pub(crate) const fn mark_used(&mut self) {
        self.used = true;
    }

    /// Waits up to `limit` for something to read; whether there is something.
    pub(crate) fn waits_for_input(&self, limit: Duration) -> bool {
        sys::is_readable(self.stream.as_fd(), limit)
    }

    /// Whether no byte of a response has come.
    pub(crate) fn is_silent(&self) -> bool {
        self.client.is_silent()
    }

    /// Sends the params and the first part of the body with one system call, enough for most requests. Waits for room
    /// only without a body: a worker that is busy responding reads none.
    pub(crate) fn send_request(
        &mut self,
        params: &Params<'_>,
        body: &[u8],
        complete: bool,
    ) -> Result<(), ConnectionError> {
        // A large response may be followed by a small one.
        self.read_size = SMALL_READ;
        self.had_file = false;
        self.head.clear();
        self.head.shrink_to(MAX_REUSED_CAPACITY);
        let mut writer = self.client.begin_with_common_params(
            &mut self.head,
            params::EXTENSIONS,
            params.key(),
            |list| {
                params.encode(list);
            },
        );
        writer.pairs(params.request_params());
        writer
            .finish_within(&self.limits)
            .map_err(|why| ConnectionError::TooLong(too_long(&why)))?;
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

    /// Sends a piece of body that is scattered over `piece`, and the end of the body if `complete`. Never waits.
    pub(crate) fn send_body(
        &mut self,
        piece: &[&[u8]],
        complete: bool,
    ) -> Result<(), ConnectionError> {
        let id = ClientConnection::REQUEST_ID;
        let mut parts = Vec::with_capacity(2 * piece.len() + 2);
        encoder::scattered_stream(RecordType::STDIN, id, piece, |part| parts.push(part));
        let end = encoder::end_of_stream(RecordType::STDIN, id);
        let end = if complete { &end[..] } else { &[] };
        let mut pieces: Vec<_> =
            parts.iter().map(AsRef::as_ref).chain([end]).map(IoSlice::new).collect();
        send(&self.stream, &mut pieces, &mut self.unsent)
    }

    /// Whether bytes wait for room in the socket.
    pub(crate) const fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Sends as many of the waiting bytes as there is room for.
    pub(crate) fn send_unsent(&mut self) -> Result<(), ConnectionError> {
        let rest = self.unsent.get(self.sent..).unwrap_or_default();
        match sys::send_now(self.stream.as_fd(), &[IoSlice::new(rest)]) {
            Ok(count) => self.sent += count,
            Err(why) if is_full(&why) => {}
            Err(why) => return Err(ConnectionError::Io(why)),
        }
        if !self.has_unsent() {
            self.unsent.clear();
            self.sent = 0;
        }
        Ok(())
    }

    /// Tells the worker to abort the request: the response is of no more use.
    pub(crate) fn send_abort(&mut self) {
        (self.closing, self.abandoned) = (true, true);
        if !self.has_unsent() {
            let record = encoder::abort_request(ClientConnection::REQUEST_ID);
            // Where there is no room for the record, the worker sees the end of the connection, which follows.
            let _ = sys::send_now(self.stream.as_fd(), &[IoSlice::new(&record)]);
        }
    }

    /// Records that the worker closes the connection after this response.
    pub(crate) const fn mark_closing(&mut self) {
        self.closing = true;
    }

    /// The next part of the response that has already been read; `None`: more is to be read first.
    pub(crate) fn next(&mut self) -> Result<Option<Answer<'_>>, ConnectionError> {
        self.client.next().map_err(|why| ConnectionError::Malformed(why.to_string()))
    }

    /// Reads what has come, and waits for it up to the time limit.
    pub(crate) fn read(&mut self) -> Result<(), ConnectionError> {
        // A thread that sleeps in recv(2) on a Unix socket is woken when the other end has read what was
        // sent; one that sleeps in poll(2) is not (`unix_write_space` in Linux). With large reads there is no
        // sleep to save.
        if self.read_size == SMALL_READ && !self.waits_for_input(self.timeout) {
            return Err(ConnectionError::Timeout);
        }
        let spare = self.client.spare(self.read_size);
        let room = spare.len();
        let (count, file) = sys::receive_with_descriptor(self.stream.as_fd(), spare, true)?;
        if count == 0 {
            return Err(ConnectionError::Closed);
        }
        if count == room {
            self.read_size = LARGE_READ;
        }
        self.client.filled(count);
        if let Some(file) = file {
            if self.had_file {
                return Err(ConnectionError::Malformed(
                    "a second file came with one answer".to_owned(),
                ));
            }
            self.had_file = true;
            self.file = Some(file);
        }
        Ok(())
    }

    /// The file that belongs to the file record.
    pub(crate) fn take_file(&mut self) -> Option<OwnedFd> {
        self.file.take()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The error in the words of HTTP, since an administrator does not know params.
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

/// Sends what the socket has room for, and adds the remainder to `unsent`.
fn send(
    stream: &UnixStream,
    mut pieces: &mut [IoSlice<'_>],
    unsent: &mut Vec<u8>,
) -> Result<(), ConnectionError> {
    let count = match sys::send_now(stream.as_fd(), pieces) {
        Ok(count) => count,
        Err(why) if is_full(&why) => 0,
        Err(why) if is_closed(&why) => return Err(ConnectionError::Unsent),
        Err(why) => return Err(ConnectionError::Io(why)),
    };
    IoSlice::advance_slices(&mut pieces, count);
    for piece in pieces {
        unsent.extend_from_slice(piece);
    }
    Ok(())
}

fn write_all(
    stream: &mut UnixStream,
    mut pieces: &mut [IoSlice<'_>],
) -> Result<(), ConnectionError> {
    IoSlice::advance_slices(&mut pieces, 0);
    let mut begun = false;
    while !pieces.is_empty() {
        match stream.write_vectored(pieces) {
            Ok(0) => return Err(ConnectionError::Closed),
            Ok(written) => {
                begun = true;
                IoSlice::advance_slices(&mut pieces, written);
            }
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) if !begun && is_closed(&why) => return Err(ConnectionError::Unsent),
            Err(why) => return Err(why.into()),
        }
    }
    Ok(())
}

fn is_closed(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn is_full(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
