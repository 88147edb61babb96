//! A connection from a web server: its socket and its side of FastCGI. It knows no Python.
#![forbid(unsafe_code)]

use crate::config::GroupConfig;
use crate::posix;
use crate::worker::forks::KeptBack;
use crate::worker::target::Application;
use fastcgi::{Capabilities, Event, Header, Limits, MAX_CONTENT, RecordType, ServerConnection};
use fastcgi::{WireError, encoder};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One connection; used for one request after the other.
pub(crate) struct Connection {
    // Goes before the descriptor does.
    _kept_back: KeptBack,
    stream: UnixStream,
    pub(crate) wire: ServerConnection,
    /// The application that its requests are for, as long as they do not say otherwise.
    application: Option<(u64, Arc<Application>)>,
    /// Its place among the connections that wait, once it has one.
    pub(crate) place: Option<usize>,
    accepted: Instant,
    served: bool,
}

/// What a connection has for us.
pub(crate) enum Next {
    /// A request whose params are all here.
    Request,
    /// Nothing yet.
    Nothing,
    /// Its end, with the reason where it is not an orderly one.
    Closed(Option<WireError>),
}

/// What became of a look at the request body.
pub(crate) enum Body {
    /// So many bytes were copied.
    Bytes(usize),
    /// There is no more.
    End,
    /// Nobody waits for the answer.
    Aborted,
}

const READ: usize = 16 * 1024;
/// The same for a request body.
const READ_BODY: usize = 192 * 1024;
/// Who has just connected has something to say, and gets so long to say it.
const FRESH: Duration = Duration::from_secs(1);

impl Connection {
    pub(crate) fn new(
        stream: UnixStream,
        threads: u32,
        timeout: Option<Duration>,
    ) -> io::Result<Self> {
        stream.set_read_timeout(timeout)?;
        stream.set_write_timeout(timeout)?;
        let capabilities =
            Capabilities { max_conns: threads, max_reqs: threads, authorizer: false };
        Ok(Self {
            _kept_back: KeptBack::new(stream.as_fd()),
            stream,
            wire: ServerConnection::new(Limits::default(), capabilities),
            application: None,
            place: None,
            accepted: Instant::now(),
            served: false,
        })
    }

    /// Reads up to the params of the next request. Waits only once a request has begun.
    pub(crate) fn next_request(&mut self) -> Next {
        loop {
            match self.wire.next() {
                // It may have waited until nobody waits for it any more.
                Ok(Some(Event::Params(_)))
                    if !self.served && posix::has_hung_up(self.stream.as_fd()) =>
                {
                    return Next::Closed(None);
                }
                Ok(Some(Event::Params(_))) => {
                    self.served = true;
                    return Next::Request;
                }
                Ok(Some(Event::Begin(_) | Event::Stdin(_) | Event::StdinEnd)) => {}
                Ok(Some(Event::Reply(bytes))) => {
                    let sent =
                        posix::send_all(self.stream.as_fd(), &mut [IoSlice::new(bytes)], None);
                    if sent.is_err() || self.wire.must_close() {
                        return Next::Closed(None);
                    }
                }
                Ok(Some(Event::Abort)) => {
                    if self.end_request(0).is_err() || self.wire.must_close() {
                        return Next::Closed(None);
                    }
                }
                Err(why) => return Next::Closed(Some(why)),
                Ok(None) => {
                    let waits = !self.wire.is_idle();
                    match self.fill(waits) {
                        Ok(0) => return Next::Closed(self.wire.end_of_input().err()),
                        Ok(_) => {}
                        Err(why) if would_block(&why) && !waits => return Next::Nothing,
                        Err(_) => return Next::Closed(None),
                    }
                }
            }
        }
    }

    /// The application that the active request is for.
    pub(crate) fn application(&mut self, config: &GroupConfig) -> Arc<Application> {
        let Some((version, params)) = self.wire.common_params() else {
            return Arc::new(Application::read(self.wire.params(), config));
        };
        if let Some((known, application)) = &self.application
            && *known == version
        {
            return Arc::clone(application);
        }
        let application = Arc::new(Application::of_many(params, config));
        self.application = Some((version, Arc::clone(&application)));
        application
    }

    /// Copies some of the request body into `into`, which has room for some. Waits for it.
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
                    posix::send_all(self.stream.as_fd(), &mut [IoSlice::new(bytes)], None)?;
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

    /// Passes over what is here of the request body and will be read by nobody. Never waits.
    pub(crate) fn pass_over_body(&mut self) {
        // What is wrong with the connection shows at its next use.
        while let Ok(Some(event)) = self.wire.next() {
            if matches!(event, Event::StdinEnd | Event::Abort) {
                return;
            }
        }
    }

    /// Whether the web server has given up a request whose body has been read.
    pub(crate) fn is_aborted(&mut self) -> bool {
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
        posix::send_all(self.stream.as_fd(), records, file)
    }

    /// Ends the active request without an answer; `status` is what became of it.
    pub(crate) fn end_request(&mut self, status: u32) -> io::Result<()> {
        self.write(&[], &[], &encoder::end_answer(self.id(), status))?;
        self.wire.finish();
        Ok(())
    }

    /// The id of the active request.
    pub(crate) fn id(&self) -> u16 {
        self.wire.active().map_or(0, |active| active.id)
    }

    /// Gives a connection just accepted a moment to say something, so that it need not change hands.
    pub(crate) fn linger(&self) {
        posix::wait_readable(&[self.stream.as_fd()], Some(Duration::from_millis(2)));
    }

    /// Tells the web server to ask nothing more here; whether it has asked something meanwhile.
    ///
    /// After the shutdown it cannot write: a request either is here now and will be answered, or was
    /// refused to its last byte and can be sent elsewhere, whatever its method.
    pub(crate) fn say_good_bye(&self) -> bool {
        let has_input = || posix::has_input(self.stream.as_fd()).unwrap_or(false);
        has_input() || {
            // It only fails where the other end is gone.
            let _ = self.stream.shutdown(Shutdown::Read);
            has_input()
        }
    }

    /// Whether its first request is still to be expected.
    pub(crate) fn is_fresh(&self) -> bool {
        !self.served && self.accepted.elapsed() < FRESH
    }

    /// Ends the connection.
    pub(crate) fn close(self) {
        // It only fails where the other end is gone.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn fill(&mut self, wait: bool) -> io::Result<usize> {
        self.fill_with(READ, wait)
    }

    fn fill_with(&mut self, most: usize, wait: bool) -> io::Result<usize> {
        let spare = self.wire.spare(most);
        let count = if wait {
            io::Read::read(&mut &self.stream, spare)?
        } else {
            posix::receive_now(self.stream.as_fd(), spare)?
        };
        self.wire.filled(count);
        Ok(count)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

pub(crate) fn would_block(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
