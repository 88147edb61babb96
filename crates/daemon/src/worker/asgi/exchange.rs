//! One request of an event loop over a FastCGI connection. Nothing waits: what there is no room for is kept. It knows no Python.
#![forbid(unsafe_code)]

use crate::log_threshold::LogThreshold;
use crate::worker::asgi::kept_file::KeptFile;
use crate::worker::asgi::queue::SendQueue;
use crate::worker::asgi::remainder::Remainder;
use crate::worker::asgi::slots::{Interest, SocketPlace};
use crate::worker::asgi::websocket::{Acceptance, OpenSocket, Start, switching};
use crate::worker::connection::{Body as BodyPart, Connection};
use crate::worker::error_response::{self, cause_of};
use crate::worker::log_records::log_records;
use crate::worker::pool::Pool;
use crate::worker::response_head::{encode_head, oversize};
use crate::worker::serving::{Unserved, WantedCode, end_in_forked_child};
use crate::worker::target::Application;
use crate::worker::variables::hand_over;
use fastcgi::app_status::{Cause, StatusOnly};
use fastcgi::{Interim, RecordType, app_status, encoder};
use host::{AsgiExchange, AsgiSocket, Input, Load, Sent, Served};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::Arc;
use wsgi::{Body, Environ, Level, Output, ReadError, ResponseHead, SendError, Then};

/// A request that is under way.
pub(super) struct LoopExchange {
    pool: Arc<Pool>,
    /// `None` once the response is complete, or the connection closed.
    connection: Option<Box<Connection>>,
    application: Arc<Application>,
    number: usize,
    /// `None` for a request that asks for no WebSocket, and once that is open.
    place: Option<SocketPlace>,
    /// Its place among the requests has been given back.
    is_released: bool,
    wants: WantedCode,
    log_threshold: LogThreshold,
    head_only: bool,
    wants_body: bool,
    /// The web server reads the body once it is asked for.
    is_body_withheld: bool,
    takes_early_hints: bool,
    input: BodyState,
    /// The application waits for more of the body.
    asks: bool,
    /// The connection is among those that the loop's epoll instance knows.
    is_watched: bool,
    /// What there was no room for.
    queue: SendQueue,
    /// Apache takes one open file in a response.
    has_passed_file: bool,
    /// The connection can be given back once everything is sent.
    is_ended: bool,
    /// The answer is one in the application's place, which is sent to its end although the request is over.
    outlives_request: bool,
    /// The response is this exchange's to send, not the main thread's.
    claimed: bool,
    answered: bool,
    disconnected: bool,
    /// The web server sends nothing more, and reads.
    is_half_closed: bool,
}

/// How far the request body has been read.
#[derive(Clone)]
enum BodyState {
    Open,
    Ended,
    Failed(ReadError),
}

/// What a request is beside its connection and its application.
pub(super) struct Begun {
    pub(super) number: usize,
    pub(super) wants: WantedCode,
    pub(super) wants_body: bool,
    /// The web server reads the body once it is asked for.
    pub(super) is_body_withheld: bool,
    /// The client may get early hints.
    pub(super) takes_early_hints: bool,
    /// Where it asks for a WebSocket.
    pub(super) place: Option<SocketPlace>,
}

/// The most bytes of log lines that wait for room on the connection; more go to the log of the process group.
const MAX_KEPT_LOG: usize = 256 * 1024;

impl LoopExchange {
    pub(super) fn new(
        pool: &Arc<Pool>,
        mut connection: Box<Connection>,
        application: Arc<Application>,
        begun: Begun,
    ) -> Self {
        if let Some(claim) = pool.claims.get(begun.number) {
            claim.begin(&connection, application.from_module);
        }
        let input =
            if connection.wire.body_is_empty() { BodyState::Ended } else { BodyState::Open };
        Self {
            pool: Arc::clone(pool),
            connection: Some(connection),
            log_threshold: pool.log.threshold_of_request(application.log_level),
            application,
            number: begun.number,
            place: begun.place,
            is_released: false,
            wants: begun.wants,
            head_only: !begun.wants_body,
            wants_body: begun.wants_body,
            is_body_withheld: begun.is_body_withheld,
            takes_early_hints: begun.takes_early_hints,
            input,
            asks: false,
            is_watched: false,
            queue: SendQueue::default(),
            has_passed_file: false,
            is_ended: false,
            outlives_request: false,
            claimed: false,
            answered: false,
            disconnected: false,
            is_half_closed: false,
        }
    }

    fn claims_response(&mut self) -> bool {
        // A place that has been given back is another request's: what accepts a WebSocket lives on without one.
        if !self.claimed && !self.is_released {
            let claim = self.pool.claims.get(self.number);
            self.claimed = claim.is_some_and(|claim| claim.claim());
        }
        self.claimed
    }

    /// Sends pieces behind what is kept, and keeps what there is no room for.
    fn transmit(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let Some(connection) = &self.connection else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        self.queue.send(connection, pieces)
    }

    /// Sends what is kept, as far as there is room.
    fn send_kept(&mut self) -> io::Result<()> {
        let Some(connection) = &self.connection else { return Ok(()) };
        self.queue.send_kept(connection, &self.pool.log)
    }

    /// Ends what can be ended, and waits for room where there is none.
    fn settle(&mut self) -> Sent {
        if !self.queue.is_empty() {
            self.rearm();
            return Sent::Kept;
        }
        if self.is_ended {
            self.complete();
        }
        Sent::All
    }

    /// The number under which what happens on the connection is reported.
    fn token(&self) -> usize {
        self.place.as_ref().map_or(self.number, SocketPlace::number)
    }

    /// Gives the place among the requests back.
    fn release(&mut self) {
        if !std::mem::replace(&mut self.is_released, true) {
            self.pool.end_on_loop(self.number, self.application.is_activity);
        }
    }

    /// The response that accepts a WebSocket, without records behind it.
    fn switching(&mut self, head: &ResponseHead) -> Option<Acceptance> {
        let compresses = self.pool.config.asgi.websocket_compression;
        let accepted = switching(self.connection.as_ref()?, head, compresses);
        if let Err(why) = &accepted {
            let line = format!("the WebSocket cannot be accepted: {why} [XH]");
            self.log(Level::Error, line.as_bytes());
            AsgiExchange::fail(self, 500);
        }
        accepted.ok()
    }

    /// Sends a record of which the application learns nothing: where it cannot be sent, the response cannot either.
    fn send_aside(&mut self, record: &[u8]) {
        if self.transmit(&[IoSlice::new(record)]).is_ok() && !self.queue.is_empty() {
            self.rearm();
        }
    }

    /// Has the next thing that happens on the connection reported.
    fn rearm(&mut self) {
        let (Some(connection), Some(slots)) = (&self.connection, &self.pool.asgi) else { return };
        let interest = Interest {
            // What is not asked for is left in the socket; behind it an end cannot be read.
            input: self.asks || matches!(self.input, BodyState::Ended),
            // What has been read already is reported by nothing else than room to write.
            output: !self.queue.is_empty() || connection.wire.is_abort_next(),
            // An end that is known would be reported again and again.
            end: !self.is_half_closed,
        };
        match slots.watch(connection.as_fd(), self.token(), interest, self.is_watched) {
            Ok(()) => self.is_watched = true,
            Err(why) => {
                let line = format!("cannot wait for a connection: {why}");
                self.pool.log.write(Level::Error, line.as_bytes());
            }
        }
    }

    /// The connection, which the loop does not wait for any more.
    fn take_connection(&mut self) -> Option<Box<Connection>> {
        let connection = self.connection.take()?;
        if std::mem::take(&mut self.is_watched)
            && let Some(slots) = &self.pool.asgi
        {
            slots.forget(connection.as_fd());
        }
        Some(connection)
    }

    /// The response is complete: the connection is free for the next request.
    fn complete(&mut self) {
        if let Some(connection) = self.take_connection() {
            self.pool.reuse(connection);
        }
    }

    /// The request is over: gives the response up, unless it is one that is sent to its end nevertheless.
    fn leave(&mut self) {
        let goes_on = std::mem::take(&mut self.outlives_request) && self.is_watched;
        match self.connection.take_if(|_| goes_on && !self.queue.is_empty()) {
            Some(connection) => self.leave_remainder(connection),
            None => self.cut(),
        }
    }

    /// Leaves what is kept to the loop, which goes on with it when there is room.
    fn leave_remainder(&mut self, connection: Box<Connection>) {
        self.is_watched = false;
        self.is_released = true;
        let remainder = Remainder {
            pool: Arc::clone(&self.pool),
            connection: Some(connection),
            queue: std::mem::take(&mut self.queue),
            number: self.number,
            is_activity: self.application.is_activity,
            socket: self.place.take(),
        };
        if let Some(slots) = &self.pool.asgi {
            slots.keep(remainder.token(), Box::new(remainder));
        }
    }

    /// Gives the response up: the client must be able to see that it is incomplete.
    fn cut(&mut self) {
        let claimed = self.claims_response();
        let ends = self.application.from_module && self.answered && self.queue.is_empty();
        let Some(mut connection) = self.take_connection() else { return };
        if !claimed {
            connection.set_answered_elsewhere();
        }
        if claimed && ends {
            // The Apache module then knows that the application has broken off, and not this process.
            let end = connection.end(app_status::ABORTED);
            let _ = connection.send_now(&[IoSlice::new(&end)]);
        }
        self.pool.connections.close(connection);
    }

    /// Sends an END_REQUEST alone.
    fn answer_with(&mut self, app_status: u32) {
        if !self.claims_response() {
            return self.cut();
        }
        let Some(connection) = &self.connection else { return };
        let end = connection.end(app_status);
        self.finish_with(&[IoSlice::new(&end)]);
    }

    /// Sends an error response.
    pub(super) fn fail_with(&mut self, only: StatusOnly) {
        if self.answered || self.disconnected || !self.claims_response() {
            return self.cut();
        }
        if self.application.from_module {
            return self.answer_with(only.to_wire());
        }
        let Some(connection) = &self.connection else { return };
        let mut page = Vec::new();
        let head = error_response::head(only.status);
        encoder::append_stream(&mut page, RecordType::STDOUT, connection.id(), head.as_bytes());
        if !self.head_only {
            let body = error_response::reason(only.status).as_bytes();
            encoder::append_stream(&mut page, RecordType::STDOUT, connection.id(), body);
        }
        page.extend_from_slice(&connection.end(0));
        self.finish_with(&[IoSlice::new(&page)]);
    }

    /// Sends the last pieces of a response.
    fn finish_with(&mut self, pieces: &[IoSlice<'_>]) {
        self.answered = true;
        if self.transmit(pieces).is_err() {
            return self.cut();
        }
        self.is_ended = true;
        self.outlives_request = true;
        self.settle();
    }

    fn encode(&mut self, output: &Output<'_>) -> Result<Vec<u8>, SendError> {
        let mut bytes = Vec::new();
        let Some(head) = output.head else { return Ok(bytes) };
        let from_module = self.application.from_module;
        match encode_head(&mut bytes, head, output, from_module, self.head_only) {
            Ok(left_out) => {
                for name in left_out {
                    let line = format!("a header of the response is left out: \"{name}\"");
                    self.log(Level::Error, line.as_bytes());
                }
            }
            Err(why) => {
                let line = format!("the response cannot be sent: {why} [XH]");
                self.log(Level::Error, line.as_bytes());
                AsgiExchange::fail(self, 500);
                return Err(SendError::Failed);
            }
        }
        if let Some(line) = oversize(&bytes).filter(|_| !from_module) {
            self.pool.long_heads.write(&self.pool.log, Level::Warning, || line);
        }
        self.head_only |= head.is_bodiless();
        Ok(bytes)
    }

    fn write(&mut self, head: &[u8], output: &Output<'_>) -> io::Result<()> {
        let Some(connection) = &self.connection else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let id = connection.id();
        let end = match output.then {
            Then::Flush => None,
            Then::End => Some(connection.end(0)),
            Then::Short => Some(connection.end(app_status::SHORT)),
        };
        let file = match output.body {
            Body::File { file, offset, length } if !self.head_only => {
                let takes_files = self.application.extensions.file && !self.has_passed_file;
                Some(KeptFile::new(file, offset, length, takes_files)?)
            }
            _ => None,
        };
        let body = match output.body {
            Body::Bytes(bytes) if !self.head_only => bytes,
            _ => &[],
        };
        let stream = |content| encoder::stream(RecordType::STDOUT, id, content);
        let records: Vec<_> = stream(head).chain(stream(body)).collect();
        let pieces = records.iter().flat_map(|(header, content)| [&header[..], *content]);
        let end = end.as_ref().map(|end| &end[..]);
        let Some(mut file) = file else {
            let pieces: Vec<_> = pieces.chain(end).map(IoSlice::new).collect();
            return self.transmit(&pieces);
        };
        let pieces: Vec<_> = pieces.map(IoSlice::new).collect();
        self.transmit(&pieces)?;
        self.has_passed_file |= file.is_passed();
        file.behind.extend_from_slice(end.unwrap_or_default());
        self.queue.push_file(file);
        self.send_kept()
    }
}

impl AsgiExchange for LoopExchange {
    fn number(&self) -> usize {
        self.token()
    }

    fn request_number(&self) -> Option<usize> {
        (!self.is_released).then_some(self.number)
    }

    fn load(&mut self, load: &mut Load<'_>) -> bool {
        let (pool, application) = (Arc::clone(&self.pool), Arc::clone(&self.application));
        let mut is_loaded = false;
        pool.run_application(&application, self.wants, self, |target, exchange| {
            let served = load(target, &mut |level, line| exchange.log(level, line));
            is_loaded = served == Served::Done;
            served
        });
        is_loaded
    }

    fn environ(&mut self, environ: &mut dyn Environ) {
        let Some(connection) = &self.connection else { return };
        let front_ends = self.pool.config.front_ends();
        hand_over(connection.wire.params(), &self.application, front_ends, environ);
    }

    fn read(&mut self, into: &mut [u8]) -> Result<Input, ReadError> {
        match &self.input {
            BodyState::Open => {}
            BodyState::Ended => return Ok(Input::End),
            BodyState::Failed(why) => return Err(why.clone()),
        }
        if std::mem::take(&mut self.is_body_withheld)
            && let Some(connection) = &self.connection
        {
            let mut record = Vec::new();
            encoder::append_interim(&mut record, connection.id(), Interim::Continue);
            self.send_aside(&record);
        }
        let Some(connection) = self.connection.as_mut() else { return Ok(Input::End) };
        let read = connection.read_body_now(into);
        self.asks = matches!(read, Ok(None));
        let failure = match read {
            Ok(None) => return Ok(Input::Nothing),
            Ok(Some(BodyPart::Bytes(count))) => return Ok(Input::Bytes(count)),
            Ok(Some(BodyPart::End)) => {
                self.input = BodyState::Ended;
                return Ok(Input::End);
            }
            Ok(Some(BodyPart::Aborted)) => ReadError::Disconnected,
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => ReadError::Disconnected,
            Err(why) => ReadError::Other(why.to_string()),
        };
        self.disconnected = true;
        self.input = BodyState::Failed(failure.clone());
        Err(failure)
    }

    fn body_is_complete(&mut self) -> bool {
        if matches!(self.input, BodyState::Open)
            && self.connection.as_mut().is_some_and(|it| it.wire.body_is_empty())
        {
            self.input = BodyState::Ended;
        }
        matches!(self.input, BodyState::Ended)
    }

    fn send(&mut self, output: &Output<'_>) -> Result<Sent, SendError> {
        end_in_forked_child();
        let head = self.encode(output)?;
        if self.disconnected || !self.claims_response() {
            self.cut();
            return Err(SendError::Disconnected);
        }
        self.answered = true;
        if self.write(&head, output).is_err() {
            self.cut();
            return Err(SendError::Disconnected);
        }
        self.is_ended = output.then != Then::Flush;
        Ok(self.settle())
    }

    fn flush(&mut self) -> Result<Sent, SendError> {
        if self.send_kept().is_err() {
            self.cut();
            return Err(SendError::Disconnected);
        }
        Ok(self.settle())
    }

    fn watch(&mut self) {
        if !self.disconnected {
            self.rearm();
        }
    }

    fn is_disconnected(&mut self) -> bool {
        if self.disconnected {
            return true;
        }
        let signalled =
            self.pool.asgi.as_ref().is_some_and(|slots| slots.take_signal(self.token()));
        let Some(connection) = self.connection.as_mut().filter(|_| signalled) else { return false };
        let asked = std::mem::take(&mut self.asks);
        self.disconnected = match self.input {
            BodyState::Ended => connection.is_aborted(),
            BodyState::Open => {
                // What is asked for is read up to its end.
                self.is_half_closed |= !asked && sys::has_ended(connection.as_fd());
                sys::has_hung_up(connection.as_fd())
            }
            BodyState::Failed(_) => true,
        };
        if !self.disconnected {
            self.rearm();
        }
        self.disconnected
    }

    fn takes_early_hints(&self) -> bool {
        self.takes_early_hints
    }

    fn hint(&mut self, links: &[u8]) -> Result<Sent, SendError> {
        end_in_forked_child();
        let here = self.connection.as_ref().filter(|_| !self.disconnected && !self.answered);
        let Some(connection) = here else { return Err(SendError::Disconnected) };
        let mut record = Vec::with_capacity(links.len() + 16);
        encoder::append_interim(&mut record, connection.id(), Interim::EarlyHints(links));
        if self.transmit(&[IoSlice::new(&record)]).is_err() {
            self.cut();
            return Err(SendError::Disconnected);
        }
        Ok(self.settle())
    }

    fn wants_body(&self) -> bool {
        self.wants_body
    }

    fn is_websocket(&self) -> bool {
        self.place.is_some()
    }

    fn accept(&mut self, head: &ResponseHead) -> Option<Box<dyn AsgiSocket>> {
        end_in_forked_child();
        if self.disconnected || !self.claims_response() {
            self.cut();
            return None;
        }
        let Acceptance { response, compression } = self.switching(head)?;
        self.answered = true;
        if self.transmit(&[IoSlice::new(&response)]).is_err() {
            self.cut();
            return None;
        }
        let place = self.place.take()?;
        let connection = self.connection.take()?;
        let unsent = self.queue.take_bytes(); // A handshake has no files.
        let is_watched = std::mem::take(&mut self.is_watched);
        let connection = self.pool.connections.detach(&connection);
        self.release();
        let is_activity = self.application.is_activity;
        let start = Start { place, is_activity, connection, compression, is_watched, unsent };
        Some(Box::new(OpenSocket::new(&self.pool, start)))
    }

    fn fail(&mut self, status: u16) {
        self.fail_with(StatusOnly { status, cause: cause_of(status) });
    }

    fn fail_start(&mut self) {
        self.fail_with(StatusOnly { status: 503, cause: Cause::NotStarted });
    }

    fn end(&mut self) {
        end_in_forked_child();
        self.leave();
    }

    fn log(&mut self, level: Level, line: &[u8]) {
        if !AsgiExchange::logs(self, level) {
            return;
        }
        // Behind its end there is no request whose log this could go to.
        let here = self.connection.as_ref().filter(|_| !self.is_ended && !sys::in_forked_child());
        let front_ends = self.pool.config.front_ends();
        let is_full = self.queue.kept_bytes() > MAX_KEPT_LOG;
        let here = here.filter(|it| !is_full && it.takes_log_lines(front_ends));
        let Some(connection) = here else { return self.pool.log.write(level, line) };
        let records = log_records(connection.id(), level, line, self.application.extensions);
        self.send_aside(&records);
    }

    fn logs(&self, level: Level) -> bool {
        self.log_threshold.takes(level)
    }
}

impl Unserved for LoopExchange {
    fn fail(&mut self, only: StatusOnly) {
        self.fail_with(only);
    }

    fn give_back(&mut self, app_status: u32) {
        self.answer_with(app_status);
    }
}

impl Drop for LoopExchange {
    fn drop(&mut self) {
        // A process that the application has forked has a copy of the request, and not its connection.
        if sys::in_forked_child() {
            return std::mem::forget(self.connection.take());
        }
        self.leave();
        self.release();
        if self.pool.connections.is_draining() {
            self.pool.wake_main_thread();
        }
    }
}
