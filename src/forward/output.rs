//! What goes to the client, at the client's pace. A client that is behind makes neither this thread nor the worker wait:
//! what it has yet to take is kept in a [`Backlog`], and passed on while it reads. This file must never know the worker,
//! nor a record of the wire.
#![forbid(unsafe_code)]

use super::backlog::Backlog;
use super::group::Group;
use super::spool::SpoolError;
use crate::apr::Brigade;
use crate::failure_flag::Flag;
use crate::httpd::{BrigadeEnd, PassError, Request};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use wsgi::Level;

/// Bytes that httpd keeps for a client without waiting: fewer than 64 KB, with what filters add.
const ROOM: usize = 62 * 1024;
/// Bytes to pass on at once. With less than 4 KB httpd waits for more: there is room for that beside a piece.
const PIECE: usize = 56 * 1024;
/// The size of a socket's buffer a third of which has room for 64 KB beside what httpd may have kept, in bytes as the
/// kernel counts them.
const WIDE_SOCKET: usize = 512 * 1024;
/// Pieces of the backlog that are passed on before the worker is looked at.
const PIECES: usize = 16;
/// How long a client may be behind before anything is kept in a file: one that reads quickly is so for a moment only.
const PATIENCE: Duration = Duration::from_millis(10);
/// Bytes of a response that are passed on to a stream of HTTP/2 before any wait in a file: it takes 64 KB without waiting
/// (`H2StreamMaxMemSize`), and any number of bytes in files.
const STREAM_ROOM: usize = 32 * 1024;
/// Bytes in a file that are passed on to such a stream at once: at first, and in the end.
const MIN_SHARE: u64 = 1 << 20;
const MAX_SHARE: u64 = 16 << 20;
/// Room that the backlog has to have for more to be read from the worker: what one read gives, and the rest of a record.
const ROOM_FOR_READ: u64 = 256 * 1024;

/// The body of a response on its way to the client.
pub(super) struct ClientOutput<'a, B> {
    group: &'a Group,
    /// A [`Brigade`], one for the whole response, because each takes memory from the request's pool that is given back at
    /// the end of the request only. Empty but for a file between two calls. Nothing while the request is out of reach.
    brigade: B,
    /// Body bytes that wait for what comes after them: what goes out together with the end lets httpd tell the length.
    pending: Vec<u8>,
    /// How long a client may be behind before anything is kept for it.
    patience: Duration,
    /// Bytes that could not be kept in a file, where this thread may not wait for the client. No more is read then.
    held: Vec<u8>,
    /// Bytes passed on since the last flush.
    unflushed: usize,
    backlog: Backlog<'a>,
    /// The client is to get what it has been passed, once it has taken what was passed before.
    flush_due: bool,
    /// httpd has a file of the worker's, which is closed where the request ends.
    has_file: bool,
    /// Bytes that httpd takes without waiting, as far as is known.
    room: usize,
    /// The buffer of the client's socket has at least [`WIDE_SOCKET`] bytes.
    wide: bool,
    /// Nothing waits for the client but this thread: `response-spool-size=0`, or no space.
    blocking: bool,
    /// What has been passed on to a stream of HTTP/2; `None` for a client with a socket of its own.
    stream: Option<Stream>,
    /// When the client last took something while it was behind.
    moved: Option<Instant>,
}

/// A stream of HTTP/2. Whether its client is behind is not to be seen: all that does not fit in memory goes through files.
struct Stream {
    /// Bytes that it has been passed, but for those in files.
    passed: usize,
    /// How many may still go through files.
    left: u64,
    /// How many are passed on at once.
    share: u64,
}

impl<'a, B> ClientOutput<'a, B> {
    /// The same with another brigade, or without one; and the one that it had.
    pub(super) fn with_brigade<C>(self, brigade: C) -> (ClientOutput<'a, C>, B) {
        let Self { group, pending, patience, held, unflushed, backlog, flush_due, .. } = self;
        let Self { has_file, room, wide, blocking, stream, moved, .. } = self;
        let output = ClientOutput {
            group,
            brigade,
            pending,
            patience,
            held,
            unflushed,
            backlog,
            flush_due,
            has_file,
            room,
            wide,
            blocking,
            stream,
            moved,
        };
        (output, self.brigade)
    }

    /// Whether the client has yet to take something that has been written.
    pub(super) const fn is_client_behind(&self) -> bool {
        self.flush_due || !self.backlog.is_empty() || !self.held.is_empty()
    }

    /// Whether nothing more may be read from the worker until the client has taken something.
    pub(super) fn is_full(&self) -> bool {
        !self.held.is_empty() || !self.backlog.is_empty() && self.backlog.room() < ROOM_FOR_READ
    }

    /// From now on no call waits for the client, not even for a moment.
    pub(super) const fn never_wait(&mut self) {
        self.patience = Duration::ZERO;
    }

    /// The memory that it was given.
    pub(super) fn take_pending(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// How many bytes have been written since the last flush.
    pub(super) const fn unflushed(&self) -> usize {
        self.unflushed
    }
}

impl<'a, 'call> ClientOutput<'a, Brigade<'call>> {
    /// For the response to `request`; `pending` is memory to use.
    pub(super) fn new(request: &Request<'call>, group: &'a Group, pending: Vec<u8>) -> Self {
        let limit = group.response_spool_size();
        let has_socket = !request.is_stream();
        Self {
            group,
            brigade: request.new_brigade(),
            pending,
            patience: PATIENCE,
            held: Vec::new(),
            unflushed: 0,
            // All long responses to streams go through a file: one on a disk costs more.
            backlog: match has_socket {
                true => Backlog::new(limit, &group.spool_allowance),
                false => Backlog::in_memory(limit, &group.spool_allowance),
            },
            flush_due: false,
            has_file: false,
            room: ROOM,
            wide: false,
            blocking: limit == 0,
            stream: (!has_socket).then_some(Stream { passed: 0, left: limit, share: MIN_SHARE }),
            moved: None,
        }
    }

    /// Whether no call would wait for the client, once [`Self::never_wait`] has been called, nor the end of the request for
    /// a file system.
    pub(super) fn may_leave(&self) -> bool {
        !self.blocking
            && !self.has_file
            && self.stream.is_none()
            && self.brigade.is_empty()
            && self.pending.is_empty()
            && !self.is_client_behind()
    }

    /// How long the client, which is behind, may still take nothing.
    pub(super) fn client_time_left(&mut self, request: &Request<'call>) -> Duration {
        let limit = request.client_timeout().unwrap_or_else(|| self.group.client_timeout());
        limit.saturating_sub(self.moved.get_or_insert_with(Instant::now).elapsed())
    }

    /// Has the client get the head of a response that has no body yet. Waits until the client has taken it.
    pub(super) fn pass_head(&mut self, request: &mut Request<'call>) -> Result<(), PassError> {
        request.pass_bytes(&mut self.brigade, &[], BrigadeEnd::Flush)
    }

    /// Writes bytes of the body. Up to `limit` of them wait for what comes after them.
    pub(super) fn write(
        &mut self,
        request: &mut Request<'call>,
        data: &[u8],
        limit: usize,
    ) -> Result<(), PassError> {
        self.unflushed += data.len();
        if self.pending.len() + data.len() <= limit {
            self.pending.extend_from_slice(data);
            return Ok(());
        }
        self.write_pending(request)?;
        self.put(request, data)
    }

    /// Writes a part of a file of the worker's. It is passed on with the end of the response, or by
    /// [`Self::pass_file`].
    pub(super) fn write_file(
        &mut self,
        request: &mut Request<'call>,
        file: BorrowedFd<'_>,
        part: Range<u64>,
        sendfile: bool,
    ) -> Result<(), PassError> {
        self.unflushed += 1;
        self.has_file = true;
        self.write_pending(request)?;
        self.append_backlog(request)?;
        // The range of a file is served where the end is passed on with it (httpd's byterange filter).
        // The file is the worker's, which may truncate it at any time. To read a mapping then raises SIGBUS, while
        // sendfile(2) only fails.
        let mmap = request.is_unfiltered();
        request.append_file(&mut self.brigade, file, part, sendfile, mmap)
    }

    /// Passes on a file whose response goes on.
    pub(super) fn pass_file(&mut self, request: &mut Request<'call>) -> Result<(), PassError> {
        if self.brigade.is_empty() {
            return Ok(());
        }
        request.pass(&mut self.brigade)
    }

    /// Has the client get what has been written; later where it is behind.
    pub(super) fn flush(&mut self, request: &mut Request<'call>) -> Result<(), PassError> {
        self.unflushed = 0;
        if self.blocking || self.stream.is_some() && self.backlog.is_empty() {
            return self.pass_pending(request, BrigadeEnd::Flush);
        }
        self.write_pending(request)?;
        if self.stream.is_some() {
            self.append_backlog(request)?;
            return request.pass_bytes(&mut self.brigade, &[], BrigadeEnd::Flush);
        }
        self.flush_due = true;
        self.flush_if_due(request)
    }

    /// Passes on what the client takes of what waits for it. Never waits.
    pub(super) fn pass_backlog(&mut self, request: &mut Request<'call>) -> Result<(), PassError> {
        self.moved = Some(Instant::now());
        let mut piece = Vec::new();
        for _ in 0..PIECES {
            if self.backlog.is_empty() || request.is_client_behind() {
                break;
            }
            self.backlog.front(PIECE, &mut piece).map_err(|why| failed(request, &why))?;
            request.pass_bytes(&mut self.brigade, &piece, BrigadeEnd::More)?;
            self.room = 0;
            self.backlog.consume(piece.len());
        }
        if request.is_aborted() {
            return Err(PassError::Aborted);
        }
        if !self.held.is_empty() && self.backlog.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.put(request, &held)?;
        }
        if self.flush_due && self.backlog.is_empty() && !request.is_client_behind() {
            self.flush_if_due(request)?;
        }
        Ok(())
    }

    /// Ends the response, or what there is of it. Where the client is slow httpd sends what waits for it, the event MPM
    /// without a thread.
    pub(super) fn finish(
        &mut self,
        request: &mut Request<'call>,
        end: BrigadeEnd,
    ) -> Result<(), PassError> {
        if self.backlog.is_empty() {
            return self.pass_pending(request, end);
        }
        // In the file as well, if it can be: httpd waits where it would have much in memory.
        let pending = std::mem::take(&mut self.pending);
        let kept = self.backlog.push(&pending);
        self.append_backlog(request)?;
        let rest = if kept.is_ok() { &[][..] } else { &pending };
        // A flush would wait for the client.
        let end = if end == BrigadeEnd::Flush { BrigadeEnd::More } else { end };
        let passed = request.pass_bytes(&mut self.brigade, rest, end);
        self.pending = pending;
        self.pending.clear();
        passed
    }

    fn write_pending(&mut self, request: &mut Request<'call>) -> Result<(), PassError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let put = self.put(request, &pending);
        self.pending = pending;
        self.pending.clear();
        put
    }

    fn pass_pending(
        &mut self,
        request: &mut Request<'call>,
        end: BrigadeEnd,
    ) -> Result<(), PassError> {
        let passed = request.pass_bytes(&mut self.brigade, &self.pending, end);
        self.pending.clear();
        passed
    }

    /// Passes bytes on, or keeps them where the client is behind.
    fn put(&mut self, request: &mut Request<'call>, data: &[u8]) -> Result<(), PassError> {
        if self.blocking {
            return self.pass(request, data);
        }
        if self.stream.is_some() {
            return self.put_into_stream(request, data);
        }
        let fits = data.len() <= self.room || self.has_room_for_read(request);
        if fits && !self.is_client_behind() {
            return self.pass(request, data);
        }
        for piece in data.chunks(PIECE) {
            if !self.blocking && self.is_behind(request) {
                match self.keep(piece) {
                    Ok(()) => continue,
                    Err(why) => self.stop_spooling(request, &why)?,
                }
            }
            self.pass(request, piece)?;
        }
        Ok(())
    }

    fn pass(&mut self, request: &mut Request<'call>, data: &[u8]) -> Result<(), PassError> {
        request.pass_bytes(&mut self.brigade, data, BrigadeEnd::More)?;
        self.room = match request.has_waiting_output() {
            true => self.room.saturating_sub(data.len()),
            false => ROOM,
        };
        Ok(())
    }

    /// Whether the client's socket has room for all that one read from the worker gives. A socket that can be written
    /// has a third of its buffer free (`sk_stream_is_writeable` in Linux).
    fn has_room_for_read(&mut self, request: &Request<'call>) -> bool {
        let Some(client) = request.client_socket() else { return false };
        self.wide = self.wide || sys::send_buffer_size(client) >= WIDE_SOCKET;
        self.wide && sys::is_writable(client, Duration::ZERO)
    }

    fn put_into_stream(
        &mut self,
        request: &mut Request<'call>,
        data: &[u8],
    ) -> Result<(), PassError> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if self.backlog.is_empty() && stream.passed + data.len() <= STREAM_ROOM {
            stream.passed += data.len();
            return self.pass(request, data);
        }
        let left = stream.left.checked_sub(data.len() as u64).ok_or(SpoolError::Full);
        if let Err(why) = left.and_then(|left| {
            stream.left = left;
            self.backlog.push(data)
        }) {
            self.stop_spooling(request, &why)?;
            return self.pass(request, data);
        }
        if self.backlog.len() >= stream.share {
            stream.share = (2 * stream.share).min(MAX_SHARE);
            self.append_backlog(request)?;
            request.pass(&mut self.brigade)?;
        }
        Ok(())
    }

    /// Keeps a piece for a client that is behind. Where this thread may not wait for the client, it is kept in any case.
    fn keep(&mut self, piece: &[u8]) -> Result<(), SpoolError> {
        let waits = !self.patience.is_zero();
        let kept = match self.held.is_empty() {
            true => self.backlog.push(piece),
            false => Err(SpoolError::Full),
        };
        if kept.is_err() && !waits {
            self.held.extend_from_slice(piece);
            return Ok(());
        }
        kept
    }

    fn is_behind(&self, request: &mut Request<'call>) -> bool {
        !self.backlog.is_empty()
            || !self.held.is_empty()
            || request.is_client_behind_after(self.patience)
    }

    /// From now on this thread waits for the client, and the worker for this thread. httpd keeps the file.
    fn stop_spooling(
        &mut self,
        request: &mut Request<'call>,
        why: &SpoolError,
    ) -> Result<(), PassError> {
        if !matches!(why, SpoolError::Full) {
            let line = format!(
                "WSGI0221: the response is passed on at the pace of its client, because no more of it \
                 can be kept for it: {why}"
            );
            request.log(Level::Warning, line.as_bytes());
        }
        (self.blocking, self.flush_due) = (true, false);
        self.append_backlog(request)
    }

    /// Appends the backlog to what is passed on next.
    fn append_backlog(&mut self, request: &mut Request<'call>) -> Result<(), PassError> {
        let mut appended = Ok(());
        if let Some((file, parts)) = self.backlog.parts() {
            for part in parts {
                appended =
                    appended.and_then(|()| request.append_own_file(&mut self.brigade, file, part));
            }
        }
        if appended.is_err() {
            // There is no descriptor for it.
            self.brigade.clear();
            return self.pass_whole_backlog(request);
        }
        if let Some(share) = self.backlog.give_up() {
            // httpd closes the file then, too.
            request.keep_until_its_end(share);
        }
        Ok(())
    }

    /// Passes the backlog on, at the pace of the client.
    fn pass_whole_backlog(&mut self, request: &mut Request<'call>) -> Result<(), PassError> {
        let mut piece = Vec::new();
        while !self.backlog.is_empty() {
            self.backlog.front(PIECE, &mut piece).map_err(|why| failed(request, &why))?;
            request.pass_bytes(&mut self.brigade, &piece, BrigadeEnd::More)?;
            self.backlog.consume(piece.len());
        }
        Ok(())
    }

    /// Flushes what filters hold, unless the client is behind: then that is left for later.
    fn flush_if_due(&mut self, request: &mut Request<'call>) -> Result<(), PassError> {
        if self.is_behind(request) {
            return Ok(());
        }
        (self.flush_due, self.moved, self.room) = (false, None, ROOM);
        // What goes to the socket as it is has gone there.
        if request.is_unfiltered() {
            return Ok(());
        }
        request.pass_bytes(&mut self.brigade, &[], BrigadeEnd::Flush)
    }
}

fn failed(request: &Request<'_>, why: &SpoolError) -> PassError {
    let code = Flag::Filter.code();
    let line = format!("WSGI0221: what was kept of the response cannot be read: {why} [{code}]");
    request.log(Level::Error, line.as_bytes());
    PassError::Failed
}
