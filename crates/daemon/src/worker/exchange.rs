//! The transport of one request over a FastCGI connection, for the gateway in `host`. It knows no Python.
#![forbid(unsafe_code)]

use crate::log::Log;
use crate::log_limit::LogLimit;
use crate::log_threshold::LogThreshold;
use crate::worker::connection::{Body as BodyPart, Connection, would_block};
use crate::worker::error_response;
use crate::worker::log_records::log_records;
use crate::worker::response_claim::ResponseClaim;
use crate::worker::response_head::{encode_head, oversize};
use crate::worker::target::Application;
use crate::worker::variables::hand_over;
use fastcgi::app_status::{Cause, StatusOnly};
use fastcgi::head::HeadError;
use fastcgi::{FileSpan, Interim, MAX_CONTENT, app_status, encoder};
use group_config::FrontEnds;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use wsgi::{Body, Environ, Exchange, Level, Output, ReadError, ResponseHead, SendError, Then};

/// A request on a connection.
pub(crate) struct FastCgiExchange<'a> {
    /// `None` once the response is complete, or the connection closed.
    connection: Option<Box<Connection>>,
    release: &'a Release<'a>,
    /// The connection, where there is more to do on it at once.
    kept: Option<Box<Connection>>,
    claim: &'a ResponseClaim,
    log: &'a Log,
    facts: RequestInfo<'a>,
    application: Arc<Application>,
    input: Input,
    head: Vec<u8>,
    /// The client gets no body of this response.
    head_only: bool,
    /// The response is this exchange's to send, not the main thread's.
    claimed: bool,
    answered: bool,
    /// The response is sent but for its END_REQUEST: the application may still read the request body.
    end_pending: bool,
}

/// Takes a connection over: with `true` one whose response is complete, which it gives back if there is more to do
/// on it at once; with `false` one to be closed.
pub(crate) type Release<'a> = dyn Fn(Box<Connection>, bool) -> Option<Box<Connection>> + 'a;

/// What a request needs beside its params.
#[derive(Clone, Copy)]
pub(crate) struct RequestInfo<'a> {
    /// The client gets the body.
    pub(crate) wants_body: bool,
    /// The web server reads the body once the application asks for it.
    pub(crate) is_body_withheld: bool,
    /// The web servers in front of a daemon that is run by hand.
    pub(crate) front_ends: Option<&'a FrontEnds>,
    /// What is written to the log for it.
    pub(crate) log_threshold: LogThreshold,
    /// Lines about heads of responses that are too long for some web servers.
    pub(crate) long_heads: &'a LogLimit,
}

/// How far the request body has been read.
#[derive(Clone)]
enum Input {
    Open,
    Ended,
    Failed(ReadError),
}

/// The capacity of the buffer for heads, in bytes: enough for most.
const HEAD_CAPACITY: usize = 512;
/// Files of fewer bytes are sent as bytes: to pass a descriptor costs more.
pub(super) const MIN_FILE: u64 = 16 * 1024;

impl<'a> FastCgiExchange<'a> {
    pub(crate) fn new(
        mut connection: Box<Connection>,
        application: Arc<Application>,
        facts: RequestInfo<'a>,
        log: &'a Log,
        claim: &'a ResponseClaim,
        release: &'a Release<'a>,
    ) -> Self {
        claim.begin(&connection, application.from_module);
        let input = if connection.wire.body_is_empty() { Input::Ended } else { Input::Open };
        Self {
            connection: Some(connection),
            release,
            kept: None,
            claim,
            log,
            facts,
            application,
            input,
            head: Vec::with_capacity(HEAD_CAPACITY),
            head_only: !facts.wants_body,
            claimed: false,
            answered: false,
            end_pending: false,
        }
    }

    /// Sends an error response with this status.
    pub(crate) fn fail(&mut self, StatusOnly { status, cause }: StatusOnly) {
        if self.answered || !self.claims_response() {
            return self.cut();
        }
        let Some(connection) = self.connection.as_mut() else { return };
        let sent = if self.application.from_module {
            connection.write(&[], &[], &connection.end(StatusOnly { status, cause }.to_wire()))
        } else {
            let head = error_response::head(status);
            let body = if self.head_only { "" } else { error_response::reason(status) };
            let end = connection.end(0);
            connection.write(head.as_bytes(), body.as_bytes(), &end)
        };
        match sent {
            Ok(()) => self.complete(),
            Err(_) => self.cut(),
        }
    }

    /// Gives the request back to Apache's child, which sends it to another worker; `app_status` says why.
    pub(crate) fn give_back(&mut self, app_status: u32) {
        if !self.claims_response() {
            return self.cut();
        }
        let Some(connection) = self.connection.as_mut() else { return };
        let end = connection.end(app_status);
        match connection.write(&[], &[], &end) {
            Ok(()) => self.complete(),
            Err(_) => self.cut(),
        }
    }

    /// Whether the response is this exchange's to send: claims it if nothing has.
    fn claims_response(&mut self) -> bool {
        // Once: a later request of the thread has the same claim.
        self.claimed = self.claimed || self.claim.claim();
        self.claimed
    }

    /// The connection, where there is more to do on it at once.
    pub(crate) fn into_connection(mut self) -> Option<Box<Connection>> {
        // Without a response so far the connection is closed, so that the web server does not wait for ever.
        self.cut();
        self.kept.take()
    }

    /// Whether some of the request body has not been read, or may still come.
    fn has_more_to_read(&mut self) -> bool {
        if matches!(self.input, Input::Open)
            && self.connection.as_mut().is_some_and(|it| it.wire.body_is_empty())
        {
            self.input = Input::Ended;
        }
        matches!(self.input, Input::Open)
    }

    fn complete(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.finish_request();
            self.kept = (self.release)(connection, true);
        }
    }

    fn write_head(&mut self, head: &ResponseHead, output: &Output<'_>) -> Result<(), HeadError> {
        self.head.clear();
        let from_module = self.application.from_module;
        let left_out = encode_head(&mut self.head, head, output, from_module, self.head_only)?;
        for name in left_out {
            let line = format!("a header of the response is left out: \"{name}\"");
            self.log(Level::Error, line.as_bytes());
        }
        // To the daemon's own log, because one line is about many requests.
        if let Some(line) = oversize(&self.head).filter(|_| !from_module) {
            self.facts.long_heads.write(self.log, Level::Warning, || line);
        }
        self.head_only |= head.is_bodiless();
        Ok(())
    }

    fn write(&mut self, output: &Output<'_>) -> io::Result<()> {
        let Some(connection) = self.connection.as_mut() else { return Err(disconnected()) };
        let end = match output.then {
            Then::Flush => None,
            Then::End => Some(connection.end(0)),
            Then::Short => Some(connection.end(app_status::SHORT)),
        };
        let end = end.as_ref().map_or(&[][..], |end| &end[..]);
        match output.body {
            _ if self.head_only => connection.write(&self.head, &[], end),
            Body::Empty => connection.write(&self.head, &[], end),
            Body::Bytes(bytes) => connection.write(&self.head, bytes, end),
            Body::File { file, offset, length }
                if self.application.extensions.file && length >= MIN_FILE =>
            {
                connection.write(&self.head, &[], &[])?;
                let record = encoder::file(connection.id(), FileSpan { offset, length });
                connection.send(&mut [IoSlice::new(&record), IoSlice::new(end)], Some(file))
            }
            Body::File { file, offset, length } => {
                send_file(connection, &self.head, file, offset, length, end)
            }
        }
    }
}

impl Exchange for FastCgiExchange<'_> {
    fn environ(&mut self, environ: &mut dyn Environ) {
        let Some(connection) = &self.connection else { return };
        let params = connection.wire.params();
        hand_over(params, &self.application, self.facts.front_ends, environ);
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        if into.is_empty() {
            return Ok(0);
        }
        match &self.input {
            Input::Open => {}
            Input::Ended => return Ok(0),
            Input::Failed(why) => return Err(why.clone()),
        }
        let Some(connection) = self.connection.as_mut() else {
            return Err(ReadError::Other("the answer is complete".to_owned()));
        };
        if std::mem::take(&mut self.facts.is_body_withheld) {
            let mut record = Vec::new();
            encoder::append_interim(&mut record, connection.id(), Interim::Continue);
            // Where the web server has closed the connection, reading fails as well.
            let _ = connection.send(&mut [IoSlice::new(&record)], None);
        }
        let failure = match connection.read_body(into) {
            Ok(BodyPart::Bytes(count)) => return Ok(count),
            Ok(BodyPart::End) => {
                self.input = Input::Ended;
                return Ok(0);
            }
            Ok(BodyPart::Aborted) => ReadError::Disconnected,
            Err(why) if would_block(&why) => ReadError::Timeout,
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => ReadError::Disconnected,
            Err(why) => ReadError::Other(why.to_string()),
        };
        self.input = Input::Failed(failure.clone());
        Err(failure)
    }

    fn send(&mut self, output: Output<'_>) -> Result<(), SendError> {
        self.head.clear();
        if let Some(head) = output.head
            && let Err(why) = self.write_head(head, &output)
        {
            let line = format!("the response cannot be sent: {why} [XH]");
            self.log(Level::Error, line.as_bytes());
            self.fail(StatusOnly { status: 500, cause: Cause::Application });
            return Err(SendError::Failed);
        }
        if matches!(self.input, Input::Failed(ReadError::Disconnected)) {
            self.cut();
            return Err(SendError::Disconnected);
        }
        if !self.claims_response() {
            self.cut();
            return Err(SendError::Disconnected);
        }
        self.answered = true;
        let mut output = output;
        if output.then == Then::End && self.has_more_to_read() {
            // With the end the web server would begin another request here.
            (self.end_pending, output.then) = (true, Then::Flush);
        }
        if let Err(why) = self.write(&output) {
            self.cut();
            return Err(if would_block(&why) || why.kind() == io::ErrorKind::UnexpectedEof {
                SendError::Failed
            } else {
                SendError::Disconnected
            });
        }
        match output.then {
            Then::End => self.complete(),
            // The Apache module makes it visible to the client; for other web servers the connection just ends.
            Then::Short if self.application.from_module => self.complete(),
            Then::Short => self.cut(),
            // Body bytes would have to be kept somewhere.
            Then::Flush if matches!(self.input, Input::Open) => {}
            Then::Flush => {
                if self.connection.as_mut().is_some_and(|connection| connection.is_aborted()) {
                    self.cut();
                    return Err(SendError::Disconnected);
                }
            }
        }
        Ok(())
    }

    fn wants_body(&self) -> bool {
        self.facts.wants_body
    }

    fn cut(&mut self) {
        if std::mem::take(&mut self.end_pending)
            && let Some(connection) = &self.connection
        {
            let end = connection.end(0);
            if connection.write(&[], &[], &end).is_ok() {
                return self.complete();
            }
        }
        let claimed = self.claims_response();
        if let Some(mut connection) = self.connection.take() {
            if !claimed {
                connection.set_answered_elsewhere();
            }
            if self.application.from_module && self.answered {
                // The Apache module then knows that the application has broken off, and not this process. Where
                // this cannot be sent, the end of the connection has to do.
                let end = connection.end(app_status::ABORTED);
                let _ = connection.write(&[], &[], &end);
            }
            (self.release)(connection, false);
        }
    }

    fn logs(&self, level: Level) -> bool {
        self.facts.log_threshold.takes(level)
    }

    fn log(&mut self, level: Level, line: &[u8]) {
        if !self.logs(level) {
            return;
        }
        let front_ends = self.facts.front_ends;
        let here = self.connection.as_ref().filter(|it| it.takes_log_lines(front_ends));
        let here = here.filter(|_| !sys::in_forked_child());
        let Some(connection) = here else { return self.log.write(level, line) };
        let records = log_records(connection.id(), level, line, self.application.extensions);
        // Where the web server has closed the connection, sending the response will fail as well.
        let _ = connection.send(&mut [IoSlice::new(&records)], None);
    }
}

impl Drop for FastCgiExchange<'_> {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Reads a file and sends it in records.
fn send_file(
    connection: &Connection,
    mut head: &[u8],
    file: BorrowedFd<'_>,
    mut offset: u64,
    mut length: u64,
    end: &[u8],
) -> io::Result<()> {
    let file = File::from(file.try_clone_to_owned()?);
    let mut bytes = vec![0; MAX_CONTENT.min(usize::try_from(length).unwrap_or(MAX_CONTENT))];
    loop {
        let room = bytes.len().min(usize::try_from(length).unwrap_or(bytes.len()));
        let piece = bytes.get_mut(..room).unwrap_or_default();
        let count = if room == 0 { 0 } else { file.read_at(piece, offset)? };
        offset += count as u64;
        length -= count as u64;
        if length > 0 && count == 0 {
            // The file has become shorter meanwhile: the response must not look complete.
            return Err(disconnected());
        }
        let last = length == 0;
        connection.write(
            head,
            piece.get(..count).unwrap_or_default(),
            if last { end } else { &[] },
        )?;
        head = &[];
        if last {
            return Ok(());
        }
    }
}

fn disconnected() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::connection::Next;
    use fastcgi::{Answer, ClientConnection, Extensions, Limits, RecordType};
    use std::io::{ErrorKind, Read, Write};
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixStream;
    use std::sync::Barrier;
    use std::thread;

    fn info(long_heads: &LogLimit) -> RequestInfo<'_> {
        RequestInfo {
            wants_body: true,
            is_body_withheld: false,
            front_ends: None,
            log_threshold: LogThreshold::configured(0),
            long_heads,
        }
    }

    /// A connection on which a request has come, and the other end of it.
    fn request() -> (Box<Connection>, UnixStream, ClientConnection) {
        let (stream, mut web_server) = UnixStream::pair().unwrap();
        let mut client = ClientConnection::new(Limits::default());
        let mut bytes = Vec::new();
        client.begin(&mut bytes, true, Extensions::default()).finish().unwrap();
        bytes.extend(encoder::end_of_stream(RecordType::STDIN, ClientConnection::REQUEST_ID));
        web_server.write_all(&bytes).unwrap();
        let mut connection = Box::new(Connection::new(stream, 1, None).unwrap());
        assert!(matches!(connection.next_request(), Next::Request));
        (connection, web_server, client)
    }

    /// What the web server gets until the end of the connection, and how many times a request ends in it.
    fn response(mut web_server: UnixStream, client: &mut ClientConnection) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        web_server.read_to_end(&mut bytes).unwrap();
        client.spare(bytes.len())[..bytes.len()].copy_from_slice(&bytes);
        client.filled(bytes.len());
        let (mut response, mut ends) = (Vec::new(), 0);
        while let Ok(Some(answer)) = client.next() {
            match answer {
                Answer::Stdout(bytes) => response.extend_from_slice(bytes),
                Answer::End { .. } => ends += 1,
                _ => {}
            }
        }
        (response, ends)
    }

    fn is_untouched(mut socket: &UnixStream) -> bool {
        socket.set_nonblocking(true).unwrap();
        socket.read(&mut [0]).is_err_and(|why| why.kind() == ErrorKind::WouldBlock)
    }

    #[test]
    fn a_response_claimed_by_the_main_thread_goes_to_its_own_connection_after_the_thread_closed_it()
    {
        let (mut connection, web_server, mut client) = request();
        let claim = ResponseClaim::default();
        claim.begin(&connection, false);
        let number = connection.as_fd().as_raw_fd();
        let unanswered = claim.take().unwrap();
        assert!(!claim.claim());
        connection.set_answered_elsewhere();
        connection.close();
        // If the number were free, the next file would have it.
        let (new, other_end) = UnixStream::pair().unwrap();
        assert!(![new.as_raw_fd(), other_end.as_raw_fd()].contains(&number));
        unanswered.answer(503, b"");
        drop(unanswered);
        let (response, ends) = response(web_server, &mut client);
        assert!(response.starts_with(b"Status: 503 Service Unavailable\r\n"), "{response:?}");
        assert_eq!(ends, 1);
        assert!(is_untouched(&new) && is_untouched(&other_end));
    }

    #[test]
    fn a_response_is_claimed_once_and_not_that_of_a_later_request() {
        let ((connection, _web_server, _), (later, _later_server, _)) = (request(), request());
        let silent = group_config::GroupConfig { log_level: 0, ..Default::default() };
        let (claim, log) = (ResponseClaim::default(), Log::of_manager(&silent));
        let long_heads = LogLimit::default();
        let release = |connection: Box<Connection>, _| {
            connection.close();
            None
        };
        let application = Arc::new(Application::default());
        let mut exchange = FastCgiExchange::new(
            connection,
            application,
            info(&long_heads),
            &log,
            &claim,
            &release,
        );
        exchange.fail(StatusOnly { status: 500, cause: Cause::Application });
        claim.begin(&later, false);
        drop(exchange);
        assert!(claim.claim());
    }

    #[test]
    fn of_two_threads_that_answer_at_once_one_does_and_no_other_descriptor_is_written_to() {
        for _ in 0..500 {
            let (connection, web_server, mut client) = request();
            let silent = group_config::GroupConfig { log_level: 0, ..Default::default() };
            let (claim, log, barrier) =
                (ResponseClaim::default(), Log::of_manager(&silent), Barrier::new(2));
            let long_heads = LogLimit::default();
            let release = |connection: Box<Connection>, _| {
                connection.close();
                None
            };
            let application = Arc::new(Application::default());
            let mut exchange = FastCgiExchange::new(
                connection,
                application,
                info(&long_heads),
                &log,
                &claim,
                &release,
            );
            thread::scope(|scope| {
                scope.spawn(|| {
                    barrier.wait();
                    claim.answer_for_thread(503, b"");
                });
                barrier.wait();
                exchange.fail(StatusOnly { status: 500, cause: Cause::Application });
                assert!(exchange.into_connection().is_none());
                // Has the number of the connection, if that is closed.
                let (new, other_end) = UnixStream::pair().unwrap();
                thread::yield_now();
                assert!(is_untouched(&new) && is_untouched(&other_end));
            });
            let (response, ends) = response(web_server, &mut client);
            assert!(response.starts_with(b"Status: 50"), "{response:?}");
            assert_eq!(ends, 1);
        }
    }
}
