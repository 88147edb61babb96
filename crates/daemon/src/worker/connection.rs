//! A connection from a web server: its socket and its side of FastCGI. It knows no Python.
#![forbid(unsafe_code)]

use crate::probe::HttpCheck;
use crate::worker::target::Application;
use fastcgi::{Capabilities, Event, Header, Limits, MAX_CONTENT, RecordType, ServerConnection};
use fastcgi::{WireError, encoder};
use group_config::{FrontEnds, GroupConfig};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use sys::CloseOnFork;

/// One connection; used for one request after the other.
pub(crate) struct Connection {
    /// Shared with the [`ResponseClaim`](super::response_claim::ResponseClaim) of the request that is served.
    socket: Arc<Socket>,
    pub(crate) wire: ServerConnection,
    /// The application that its requests are for, as long as they do not say otherwise.
    application: Option<(u64, Arc<Application>)>,
    /// Its place among the idle connections, once it has one.
    pub(crate) place: Option<usize>,
    accepted: Instant,
    /// It has come over TCP: the web server is on another machine, or could be.
    is_remote: bool,
    served: bool,
    answered_elsewhere: bool,
    /// What the web server may still send of the last request.
    rest: Rest,
    /// The beginning of a request has come: until when the rest of its params is waited for.
    params_until: Option<Instant>,
    /// How long the last request has waited for this worker, in microseconds.
    pub(super) queue_time: u64,
}

/// Whether the end of a connection has to wait for the web server. Where it closes a connection with every request,
/// it may not have sent all of the request when it is answered: what it writes to a closed socket would fail, and it
/// would not look at the answer.
#[derive(Clone, Copy)]
enum Rest {
    /// It has sent all.
    Nothing,
    /// It may send more; see [`Connection::linger`].
    Expected,
    /// It sends until then, and at most so many bytes.
    Lingering { until: Instant, left: usize },
}

/// The socket of a connection.
pub(crate) struct Socket {
    // Before the stream, because fields are dropped in this order: a number that is marked has to be open.
    _close_on_fork: CloseOnFork,
    stream: OwnedFd,
}

impl Socket {
    /// From now on the web server cannot write to the connection.
    pub(super) fn shutdown_read(&self) {
        sys::shutdown_read(self.stream.as_fd());
    }

    /// Sends bytes where there is room for all of them; whether that was so. A peer that does not read has no thread and no
    /// event loop wait for it: its connection is to be closed.
    fn sends_now(&self, bytes: &[u8]) -> bool {
        let sent = sys::send_now(self.as_fd(), &[IoSlice::new(bytes)]);
        sent.is_ok_and(|count| count == bytes.len())
    }

    /// Whether the web server has given the connection up. Over a Unix socket that can be told from one that only sends no
    /// more; over TCP it cannot, but no web server does that before it has its answer.
    fn is_given_up(&self, is_remote: bool) -> bool {
        if is_remote { sys::has_ended(self.as_fd()) } else { sys::has_hung_up(self.as_fd()) }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// What has come on a connection.
pub(crate) enum Next {
    /// A request with all of its params.
    Request,
    /// Nothing yet, or not all of it: see [`Connection::awaits_params`].
    Nothing,
    /// Something for so long that the connection is to be closed.
    TooSlow,
    /// The end of the connection, with the reason where the web server has broken the protocol.
    Closed(Option<WireError>),
}

/// What has come of a request body.
pub(crate) enum Body {
    /// So many bytes were copied.
    Bytes(usize),
    /// The end of the body.
    End,
    /// The web server has aborted the request.
    Aborted,
}

/// The most bytes that one read takes outside of request bodies.
const READ: usize = 16 * 1024;
/// The same in a request body.
const READ_BODY: usize = 192 * 1024;
/// How long a new connection may take to send its first request before it counts as idle.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// How long all that precedes the body of a request may take from its first byte on: web servers send it at once.
const PARAMS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a thread waits for the first bytes on a new connection, and once in a request for what follows its beginning:
/// some web servers write both in several pieces.
const MOMENT: Duration = Duration::from_millis(2);
/// So many reads in a row are made for one request, or for what is none: then other connections have their turn.
const MAX_READS: u32 = 16;
/// How long a web server may go on with a request that has been answered.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);
/// How much it may send of it, in bytes.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

impl Connection {
    pub(crate) fn new(
        stream: impl Into<OwnedFd>,
        threads: u32,
        timeout: Option<Duration>,
    ) -> io::Result<Self> {
        let stream = stream.into();
        if let Some(timeout) = timeout {
            sys::set_timeouts(stream.as_fd(), timeout)?;
        }
        let capabilities =
            Capabilities { max_conns: threads, max_reqs: threads, authorizer: false };
        Ok(Self {
            socket: Arc::new(Socket { _close_on_fork: CloseOnFork::new(stream.as_fd()), stream }),
            wire: ServerConnection::new(Limits::default(), capabilities),
            application: None,
            place: None,
            accepted: Instant::now(),
            is_remote: false,
            served: false,
            answered_elsewhere: false,
            rest: Rest::Nothing,
            params_until: None,
            queue_time: 0,
        })
    }

    /// The same connection, which has come over TCP.
    pub(crate) fn over_tcp(mut self) -> Self {
        self.is_remote = true;
        self.wire.hold_no_params();
        self
    }

    /// Whether it has come over TCP.
    pub(crate) const fn is_remote(&self) -> bool {
        self.is_remote
    }

    /// Its other end, as the log names it.
    pub(crate) fn peer(&self) -> String {
        let socket = self.socket.as_fd();
        match sys::peer_address(socket) {
            Some(address) => address.to_canonical().to_string(),
            None => sys::peer_uid(socket)
                .map_or_else(|_| "an unknown peer".to_owned(), |uid| format!("uid {uid}")),
        }
    }

    /// Reads up to the params of the next request. Waits only once a request has begun, once and for a moment.
    pub(crate) fn next_request(&mut self) -> Next {
        self.next_request_with(true)
    }

    /// The same, without waiting.
    pub(crate) fn next_request_now(&mut self) -> Next {
        self.next_request_with(false)
    }

    fn next_request_with(&mut self, may_wait: bool) -> Next {
        if matches!(self.rest, Rest::Lingering { .. }) {
            return self.discard();
        }
        let mut reads = 0;
        loop {
            match self.wire.next() {
                // It may have waited so long that the web server has given it up.
                Ok(Some(Event::Params(_)))
                    if !self.served && self.socket.is_given_up(self.is_remote) =>
                {
                    return Next::Closed(None);
                }
                Ok(Some(Event::Params(_))) => {
                    self.served = true;
                    self.params_until = None;
                    return Next::Request;
                }
                Ok(Some(Event::Begin(_) | Event::Stdin(_) | Event::StdinEnd)) => {}
                Ok(Some(Event::Reply(bytes))) => {
                    if !self.socket.sends_now(bytes) || self.wire.must_close() {
                        return Next::Closed(None);
                    }
                }
                Ok(Some(Event::Abort)) => {
                    self.params_until = None;
                    if !self.socket.sends_now(&self.end(0)) {
                        return Next::Closed(None);
                    }
                    self.wire.finish();
                    if self.wire.must_close() {
                        return Next::Closed(None);
                    }
                }
                Err(why) => {
                    if !HttpCheck::is_begun(self.wire.unread()) {
                        return Next::Closed(Some(why));
                    }
                    if let Some(end) = self.fetch(&mut reads, may_wait) {
                        return end;
                    }
                }
                Ok(None) => {
                    if let Some(end) = self.fetch(&mut reads, may_wait) {
                        return end;
                    }
                }
            }
        }
    }

    /// Reads what has come of the next request; gives what has become of the request instead, where that is known.
    /// `reads`: how many there have been in a row.
    fn fetch(&mut self, reads: &mut u32, may_wait: bool) -> Option<Next> {
        let may_read = *reads < MAX_READS;
        if may_read {
            *reads += 1;
            match self.fill(false) {
                Ok(0) => return Some(Next::Closed(self.wire.end_of_input().err())),
                Ok(_) => return None,
                Err(why) if would_block(&why) => {}
                Err(_) => return Some(Next::Closed(None)),
            }
        }
        if self.wire.is_idle() {
            self.params_until = None;
            return Some(Next::Nothing);
        }
        self.await_params(may_wait && may_read)
    }

    /// Notes that the rest of a request is still to come, and waits for it the first time, for a moment; `None` where more
    /// has come. No thread waits for longer: half a
    /// request would cost one.
    fn await_params(&mut self, may_wait: bool) -> Option<Next> {
        // Most requests come at once: no clock is asked for them.
        let now = Instant::now();
        let may_wait = may_wait && self.params_until.is_none();
        if now >= *self.params_until.get_or_insert(now + PARAMS_TIMEOUT) {
            return Some(Next::TooSlow);
        }
        let has_more = may_wait && sys::is_readable(self.socket.as_fd(), MOMENT);
        (!has_more).then_some(Next::Nothing)
    }

    /// Where the beginning of a request has come: until when its params have to be complete.
    pub(super) const fn awaits_params(&self) -> Option<Instant> {
        self.params_until
    }

    /// Reads what the web server still sends of a request that has been answered.
    fn discard(&mut self) -> Next {
        while let Rest::Lingering { until, left } = self.rest {
            let read = sys::receive_now(self.socket.as_fd(), self.wire.spare(READ));
            let in_time = Instant::now() < until;
            match read {
                Err(why) if would_block(&why) && in_time => return Next::Nothing,
                Ok(count) if (1..=left).contains(&count) && in_time => {
                    self.rest = Rest::Lingering { until, left: left - count };
                }
                _ => break,
            }
        }
        Next::Closed(None)
    }

    /// Notes that END_REQUEST has been sent for the active request, whose body need not have come.
    pub(crate) fn finish_request(&mut self) {
        if !self.wire.input_is_complete() {
            self.pass_over_body();
        }
        let all_has_come = self.wire.input_is_complete();
        self.rest = if all_has_come { Rest::Nothing } else { Rest::Expected };
        self.wire.finish();
    }

    /// Whether a connection that is to be closed waits for the rest of a request. Nothing is sent on it from now on.
    pub(crate) fn lingers(&mut self) -> bool {
        if matches!(self.rest, Rest::Expected) {
            sys::shutdown_write(self.socket.as_fd());
            let until = Instant::now() + LINGER_TIMEOUT;
            self.rest = Rest::Lingering { until, left: LINGER_BYTES };
        }
        self.is_lingering()
    }

    /// The same of one that has begun to.
    pub(crate) fn is_lingering(&self) -> bool {
        matches!(self.rest, Rest::Lingering { until, .. } if Instant::now() < until)
    }

    /// Whether it is to be closed, and waited for the rest of a request only.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.rest, Rest::Lingering { .. })
    }

    /// Whether the Apache module is at the other end: it sends a request that was not read to another worker.
    pub(crate) const fn is_from_module(&self) -> bool {
        self.application.is_some()
    }

    /// The application that the active request is for.
    pub(crate) fn application(&mut self, config: &GroupConfig) -> Arc<Application> {
        if self.is_remote {
            // The Apache module does not come over TCP, and no other web server says what code is run.
            return Arc::new(Application::of_config(self.wire.params(), config));
        }
        let Some((version, params)) = self.wire.common_params() else {
            return Arc::new(Application::read(self.wire.params(), config));
        };
        if let Some((known, application)) = &self.application
            && *known == version
        {
            return Arc::clone(application);
        }
        let application = Arc::new(Application::from_common_params(params, config));
        self.application = Some((version, Arc::clone(&application)));
        application
    }

    /// Whether the web server of the active request takes lines for its log. `front_ends` are those of a daemon that is run
    /// by hand.
    pub(super) fn takes_log_lines(&self, front_ends: Option<&FrontEnds>) -> bool {
        front_ends.is_none_or(|front_ends| {
            let software = self.wire.params().get(b"SERVER_SOFTWARE");
            front_ends.takes_log_lines(software.unwrap_or_default())
        })
    }

    /// Copies the next bytes of the request body into `into`, which must not be empty. Blocks until there are some.
    pub(crate) fn read_body(&mut self, into: &mut [u8]) -> io::Result<Body> {
        loop {
            match self.wire.next_by(into.len()).map_err(io::Error::other)? {
                Some(Event::Stdin(bytes)) => {
                    let Some(room) = into.get_mut(..bytes.len()) else {
                        return Err(io::ErrorKind::InvalidInput.into());
                    };
                    room.copy_from_slice(bytes);
                    return Ok(Body::Bytes(bytes.len()));
                }
                Some(Event::StdinEnd) => return Ok(Body::End),
                Some(Event::Abort) => return Ok(Body::Aborted),
                Some(Event::Reply(bytes)) => {
                    sys::send_all(self.socket.as_fd(), &mut [IoSlice::new(bytes)], None)?;
                }
                Some(Event::Begin(_) | Event::Params(_)) => {}
                None => {
                    if self.fill_with(READ_BODY, true)? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }

    /// As [`Connection::read_body`], without waiting: `None` where nothing more has come.
    pub(crate) fn read_body_now(&mut self, into: &mut [u8]) -> io::Result<Option<Body>> {
        loop {
            match self.wire.next_by(into.len()).map_err(io::Error::other)? {
                Some(Event::Stdin(bytes)) => {
                    let Some(room) = into.get_mut(..bytes.len()) else {
                        return Err(io::ErrorKind::InvalidInput.into());
                    };
                    room.copy_from_slice(bytes);
                    return Ok(Some(Body::Bytes(bytes.len())));
                }
                Some(Event::StdinEnd) => return Ok(Some(Body::End)),
                Some(Event::Abort) => return Ok(Some(Body::Aborted)),
                Some(Event::Reply(bytes)) => {
                    if !self.socket.sends_now(bytes) {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
                Some(Event::Begin(_) | Event::Params(_)) => {}
                None => match self.fill_with(READ_BODY, false) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(why) if would_block(&why) => return Ok(None),
                    Err(why) => return Err(why),
                },
            }
        }
    }

    /// Sends as much as there is room for, without waiting; how many bytes.
    pub(crate) fn send_now(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match sys::send_now(self.socket.as_fd(), pieces) {
            Err(why) if would_block(&why) => Ok(0),
            sent => sent,
        }
    }

    /// The same with an open file, which goes with the first byte.
    pub(crate) fn send_file_now(&self, record: &[u8], file: BorrowedFd<'_>) -> io::Result<usize> {
        match sys::send_file_now(self.socket.as_fd(), &[IoSlice::new(record)], file) {
            Err(why) if would_block(&why) => Ok(0),
            sent => sent,
        }
    }

    /// Discards what has come of the request body and was not read. Never blocks.
    fn pass_over_body(&mut self) {
        // An error of the protocol is reported at the next use of the connection.
        while let Ok(Some(event)) = self.wire.next() {
            if matches!(event, Event::StdinEnd | Event::Abort) {
                return;
            }
        }
    }

    /// Whether the web server has aborted a request whose body has been read.
    pub(crate) fn is_aborted(&mut self) -> bool {
        if self.wire.is_abort_next() {
            return true;
        }
        match self.fill(false) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(why) => return !would_block(&why),
        }
        matches!(self.wire.next(), Ok(Some(Event::Abort)) | Err(_))
    }

    /// Sends some of the answer to the active request in one piece, and its end if there is one.
    pub(crate) fn write(&self, head: &[u8], body: &[u8], end: &[u8]) -> io::Result<()> {
        let id = self.id();
        let total = head.len() + body.len();
        if total <= MAX_CONTENT {
            // At most MAX_CONTENT, which is u16::MAX.
            let header = Header::new(RecordType::STDOUT, id, total as u16).to_bytes();
            let header = if total > 0 { &header[..] } else { &[] };
            return self.send(&mut [header, head, body, end].map(IoSlice::new), None);
        }
        let stream = |content| encoder::stream(RecordType::STDOUT, id, content);
        let records: Vec<_> = stream(head).chain(stream(body)).collect();
        let pieces = records.iter().flat_map(|(header, content)| [&header[..], *content]);
        let mut pieces: Vec<_> = pieces.chain([end]).map(IoSlice::new).collect();
        self.send(&mut pieces, None)
    }

    /// Sends whole records, with an open file where the first of them is one.
    pub(crate) fn send(
        &self,
        records: &mut [IoSlice<'_>],
        file: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        sys::send_all(self.socket.as_fd(), records, file)
    }

    /// How the response to the active request ends; `app_status` says what became of it.
    pub(super) fn end(&self, app_status: u32) -> [u8; 24] {
        encoder::end_answer_after(self.id(), app_status, self.queue_time)
    }

    /// The id of the active request.
    pub(crate) fn id(&self) -> u16 {
        self.wire.active().map_or(0, |active| active.id)
    }

    /// Waits a moment for the first bytes on a new connection, so that the thread that accepted it serves it.
    pub(crate) fn wait_for_first_bytes(&self) {
        sys::wait_readable(&[self.socket.as_fd()], Some(MOMENT));
    }

    /// Makes the web server send no more requests on this connection; whether one has come before that.
    ///
    /// After the shutdown the web server cannot write: a request either has come and will be answered, or not one
    /// byte of it was accepted, and it can be sent to another worker, whatever its method.
    pub(crate) fn shutdown_read(&self) -> bool {
        if self.is_over() {
            return false;
        }
        let has_input = || sys::has_input(self.socket.as_fd()).unwrap_or(false);
        has_input() || {
            self.socket.shutdown_read();
            has_input()
        }
    }

    /// Whether the first request is still to come, and not overdue.
    pub(crate) fn awaits_first_request(&self) -> bool {
        !self.served && self.accepted.elapsed() < FIRST_REQUEST_TIMEOUT
    }

    /// Ends the connection. Where the main thread has claimed the response, it ends when that has been sent.
    pub(crate) fn close(self) {
        if !self.answered_elsewhere {
            sys::shut_down(self.socket.as_fd());
        }
    }

    /// Closes this process' descriptor alone: another worker has the connection.
    pub(crate) fn leave(mut self) {
        self.set_answered_elsewhere();
    }

    /// Notes that the main thread sends, or has sent, the response to the active request.
    pub(crate) fn set_answered_elsewhere(&mut self) {
        self.answered_elsewhere = true;
    }

    /// The socket, for a thread that may outlive the connection.
    pub(super) const fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    fn fill(&mut self, wait: bool) -> io::Result<usize> {
        self.fill_with(READ, wait)
    }

    fn fill_with(&mut self, most: usize, wait: bool) -> io::Result<usize> {
        let spare = self.wire.spare(most);
        let count = if wait {
            sys::receive_some(self.socket.as_fd(), spare)?
        } else {
            sys::receive_now(self.socket.as_fd(), spare)?
        };
        self.wire.filled(count);
        Ok(count)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

pub(crate) fn would_block(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
