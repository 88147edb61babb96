//! A connection to one worker, which serves one request after the other. It must never know the client.
#![forbid(unsafe_code)]

use super::closer::Closer;
use super::connection_error::ConnectionError;
use super::params::Params;
use super::stream::WorkerStream;
use fastcgi::{Answer, ClientConnection, Extensions, Limits, RecordType, WireError, encoder};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use sys::Received;

/// A connection, and what has come over it and is not yet relayed.
pub(crate) struct Connection {
    stream: WorkerStream,
    /// The extensions of FastCGI that the worker may use.
    extensions: Extensions,
    closer: Arc<Closer>,
    client: ClientConnection,
    /// The file whose record is yet to be read.
    file: Option<OwnedFd>,
    /// A file has come with the response: there is one at most.
    had_file: bool,
    /// How far a request has been sent.
    sending: Sending,
    /// BEGIN_REQUEST and the params of a request; the memory is used again.
    head: Vec<u8>,
    /// The bytes to read at once.
    read_size: usize,
    /// The limits of the worker.
    limits: Limits,
    /// No other request can go over the connection.
    closing: bool,
    /// The worker has been told to abort the request, and may still be running it.
    abandoned: bool,
    /// A request has been served over the connection.
    used: bool,
}

/// What is being sent of a request: params with the first part of the body, or another piece of it. The bytes of the body
/// are not copied for a socket that has no room for them: they stay where they are until they are sent.
#[derive(Default)]
struct Sending {
    /// The params precede the body's bytes.
    with_head: bool,
    /// The body ends with this piece.
    ends_body: bool,
    /// How many bytes have been sent, the headers of records included.
    sent: usize,
    /// How many have not.
    left: usize,
}

/// Bytes of memory that are kept in each buffer for the next request.
const MAX_REUSED_CAPACITY: usize = 16 * 1024;
/// Bytes to read at once: first enough for all of a small response; many, once a read has filled its memory, but no more
/// than are passed on at once.
const SMALL_READ: usize = 8 * 1024;
const LARGE_READ: usize = 64 * 1024;

impl Connection {
    /// A connection over `stream` that is not used yet. Each read and write may take `timeout`; with `files` the
    /// worker may send a file in each response.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub(crate) fn new(
        stream: WorkerStream,
        closer: Arc<Closer>,
        files: bool,
        timeout: Duration,
        limits: Limits,
    ) -> io::Result<Self> {
        stream.set_timeout(timeout)?;
        Ok(Self {
            stream,
            extensions: Extensions { log: true, file: files, interim: true },
            closer,
            client: ClientConnection::new(limits),
            file: None,
            had_file: false,
            sending: Sending::default(),
            head: Vec::new(),
            read_size: SMALL_READ,
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

    /// Gives memory back that a large request or response took.
    pub(crate) fn shrink(&mut self) {
        self.client.shrink();
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

    /// Whether no worker has read all that has been sent: a worker that serves has, but for the rest of a long body.
    pub(super) fn is_unread(&self) -> bool {
        sys::is_unread(self.stream.as_fd())
    }

    /// Sends the params and the first `piece` of the body, which lies in several places, with one system call, enough for
    /// most requests. Waits for room only without a body: a worker that is busy responding reads none.
    pub(crate) fn send_request(
        &mut self,
        params: &Params<'_>,
        piece: &[&[u8]],
        complete: bool,
    ) -> Result<(), ConnectionError> {
        // A large response may be followed by a small one.
        self.read_size = SMALL_READ;
        self.had_file = false;
        self.head.clear();
        self.head.shrink_to(MAX_REUSED_CAPACITY);
        let extensions = self.extensions;
        let mut writer = self.client.begin_with_common_params(
            &mut self.head,
            extensions,
            params.key(),
            |list| params.encode(list, extensions),
        );
        writer.pairs(params.request_params());
        writer
            .finish_within(&self.limits)
            .map_err(|why| ConnectionError::TooLong(too_long(&why)))?;
        if piece.iter().all(|part| part.is_empty()) {
            if complete {
                let id = ClientConnection::REQUEST_ID;
                self.head.extend_from_slice(&encoder::end_of_stream(RecordType::STDIN, id));
            }
            self.sending = Sending::default();
            return write_all(&self.stream, &mut [IoSlice::new(&self.head)]);
        }
        self.sending = Sending { with_head: true, ends_body: complete, sent: 0, left: 0 };
        self.send_piece(piece)
    }

    /// Goes on to another piece of the body, with its end if `complete`.
    pub(crate) fn begin_piece(&mut self, complete: bool) {
        self.sending = Sending { ends_body: complete, ..Sending::default() };
    }

    /// Sends as much as there is room for, and has not been sent, of a `piece` of the body, which lies in several places.
    /// Never waits. It is to be called with the same piece until [`has_unsent`](Self::has_unsent) says that all is sent.
    pub(crate) fn send_piece(&mut self, piece: &[&[u8]]) -> Result<(), ConnectionError> {
        let Sending { with_head, ends_body, sent, .. } = self.sending;
        let id = ClientConnection::REQUEST_ID;
        let mut parts = Vec::with_capacity(2 * piece.len() + 2);
        encoder::scattered_stream(RecordType::STDIN, id, piece, |part| parts.push(part));
        let end = encoder::end_of_stream(RecordType::STDIN, id);
        let end = if ends_body { &end[..] } else { &[] };
        let head = if with_head { &self.head[..] } else { &[] };
        let all = [head].into_iter().chain(parts.iter().map(AsRef::as_ref)).chain([end]);
        let mut all: Vec<_> = all.map(IoSlice::new).collect();
        let total: usize = all.iter().map(|part| part.len()).sum();
        let mut rest = &mut all[..];
        IoSlice::advance_slices(&mut rest, sent.min(total));
        let count = match sys::send_now(self.stream.as_fd(), rest) {
            Ok(count) => count,
            Err(why) if is_full(&why) => 0,
            Err(why) if is_closed(&why) => return Err(ConnectionError::Unsent),
            Err(why) => return Err(ConnectionError::Io(why)),
        };
        self.sending.sent = sent + count;
        self.sending.left = total.saturating_sub(sent + count);
        Ok(())
    }

    /// Whether bytes wait for room in the socket.
    pub(crate) const fn has_unsent(&self) -> bool {
        self.sending.left > 0
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

    /// Whether [`waits_for_input`](Self::waits_for_input) is to be called before each read. A thread that sleeps in
    /// recv(2) on a Unix socket is woken when the other end has read what was sent; one that sleeps in poll(2) is not
    /// (`unix_write_space` in Linux). With large reads there is no sleep to save.
    pub(crate) const fn polls(&self) -> bool {
        self.read_size == SMALL_READ
    }

    /// Reads what has come, and waits for it up to the time limit of the socket.
    pub(crate) fn read(&mut self) -> Result<(), ConnectionError> {
        self.read_by(sys::receive)
    }

    /// Reads what has come, without waiting; [`ConnectionError::Timeout`] where nothing has.
    pub(crate) fn read_now(&mut self) -> Result<(), ConnectionError> {
        self.read_by(sys::receive_now_with_descriptors)
    }

    fn read_by(
        &mut self,
        receive: fn(BorrowedFd<'_>, &mut [u8]) -> io::Result<Received>,
    ) -> Result<(), ConnectionError> {
        let spare = self.client.spare(self.read_size);
        let room = spare.len().min(LARGE_READ);
        let spare = spare.get_mut(..room).unwrap_or_default();
        let received = receive(self.stream.as_fd(), spare)?;
        let count = received.count;
        if received.truncated || !received.descriptors.is_empty() {
            self.accept_file(received.descriptors, received.truncated)?;
        }
        if count == 0 {
            return Err(ConnectionError::Closed);
        }
        if count == room {
            self.read_size = LARGE_READ;
        } else if count < SMALL_READ {
            // The worker is not ahead any more.
            self.read_size = SMALL_READ;
        }
        self.client.filled(count);
        Ok(())
    }

    /// Reads bytes that are no records, once the connection is no FastCGI any more; 0 at the end. Waits up to the time limit
    /// of the socket.
    pub(crate) fn read_raw(&mut self, into: &mut [u8]) -> Result<usize, ConnectionError> {
        self.read_raw_by(sys::receive, into)
    }

    /// As [`Self::read_raw`], without waiting; [`ConnectionError::Timeout`] where nothing has come.
    pub(crate) fn read_raw_now(&mut self, into: &mut [u8]) -> Result<usize, ConnectionError> {
        self.read_raw_by(sys::receive_now_with_descriptors, into)
    }

    fn read_raw_by(
        &mut self,
        receive: fn(BorrowedFd<'_>, &mut [u8]) -> io::Result<Received>,
        into: &mut [u8],
    ) -> Result<usize, ConnectionError> {
        let received = receive(self.stream.as_fd(), into)?;
        if received.truncated || !received.descriptors.is_empty() {
            // Nothing is asked for.
            self.had_file = true;
            self.accept_file(received.descriptors, received.truncated)?;
        }
        Ok(received.count)
    }

    /// Whether more has come than the response that has ended.
    pub(crate) fn has_rest(&self) -> bool {
        self.file.is_some() || !self.client.is_at_end()
    }

    /// Takes the file of the response, if that is what has come.
    fn accept_file(
        &mut self,
        mut came: Vec<OwnedFd>,
        truncated: bool,
    ) -> Result<(), ConnectionError> {
        let may_come = self.extensions.file && !self.had_file && came.len() <= 1;
        if truncated && may_come {
            self.closer.close(came);
            return Err(ConnectionError::NoDescriptor);
        }
        if !may_come {
            self.closer.close_unasked(came);
            let what = match self.had_file {
                true => "a second file came with one answer",
                false => "descriptors came that were not asked for",
            };
            return Err(ConnectionError::Malformed(what.to_owned()));
        }
        self.had_file = true;
        self.file = came.pop();
        Ok(())
    }

    /// Whether the worker may send a file in a response.
    pub(crate) const fn takes_files(&self) -> bool {
        self.extensions.file
    }

    /// Has a file closed that is not what a file record may refer to.
    pub(crate) fn reject_file(&self, file: OwnedFd) {
        self.closer.close_unasked([file]);
    }

    /// The file that belongs to the file record.
    pub(crate) fn take_file(&mut self) -> Option<OwnedFd> {
        self.file.take()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.closer.close([file]);
        }
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

fn write_all(stream: &WorkerStream, mut pieces: &mut [IoSlice<'_>]) -> Result<(), ConnectionError> {
    IoSlice::advance_slices(&mut pieces, 0);
    let mut begun = false;
    while !pieces.is_empty() {
        match sys::send(stream.as_fd(), pieces) {
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
