//! One request: its exchange, and which messages may follow each other (ASGI 3, "HTTP Connection"). No Python object is
//! known here, so that it may be locked.
#![forbid(unsafe_code)]

use crate::asgi::file_body::FileBody;
use crate::asgi::scope::Variables;
use crate::asgi::sent::Sent;
use crate::asgi::socket_transport::AsgiSocket;
use crate::asgi::traffic::Traffic;
use crate::asgi::transport::{AsgiExchange, Input, Load};
use crate::objects::JsonLine;
use crate::observe::io_counters::IoCounters;
use std::os::fd::AsFd;
use wsgi::{Body, Environ, Level, Output, ResponseHead, SendError, Then};

/// A request that is under way.
pub(super) struct Gate {
    exchange: Box<dyn AsgiExchange>,
    stage: Stage,
    head: ResponseHead,
    /// What `Content-Length` of the response says.
    declared: Option<u64>,
    written: u64,
    /// The application has got all of the request body.
    body_delivered: bool,
    disconnected: bool,
    /// Some of what was sent waits for room.
    is_kept: bool,
    unfinished_line: Vec<u8>,
    /// That of the unfinished line.
    line_level: Level,
    /// How it is written where lines are JSON.
    line_json: Option<JsonLine>,
    /// What is counted of it, where it is observed.
    traffic: Option<Box<Traffic>>,
}

/// How much of the response there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing.
    Silent,
    /// A head that has not been sent.
    Started,
    /// The head has been sent.
    Sending,
    /// All of it.
    Complete,
}

/// What the application gets next.
pub(super) enum Incoming {
    Body {
        bytes: Vec<u8>,
        more: bool,
    },
    Disconnect,
    /// Nothing yet.
    Nothing,
}

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Sent,
    /// There is no room for some of it.
    Kept,
    Disconnected,
}

/// Which rule a message breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    StartTwice,
    BodyBeforeStart,
    AfterEnd,
    TooLong,
    AcceptLate,
    /// A path is all of the body.
    Mixed,
    HintNotTaken,
    HintLate,
}

impl Violation {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::StartTwice => "'http.response.start' was sent a second time",
            Self::BodyBeforeStart => "'http.response.body' was sent before 'http.response.start'",
            Self::AfterEnd => "a message was sent after the response was complete",
            Self::AcceptLate => "'websocket.accept' was sent after a response had begun",
            Self::Mixed => "'http.response.pathsend' was sent beside other parts of the body",
            Self::HintNotTaken => {
                "'http.response.early_hint' was sent, and the extensions of the scope do not have it"
            }
            Self::HintLate => "'http.response.early_hint' was sent after 'http.response.start'",
            Self::TooLong => "the body of the response is longer than its Content-Length",
        }
    }
}

/// The most bytes of a request body in one message.
const PIECE: usize = 64 * 1024;

impl Gate {
    pub(super) fn new(exchange: Box<dyn AsgiExchange>) -> Self {
        Self {
            exchange,
            stage: Stage::Silent,
            head: ResponseHead::new(),
            declared: None,
            written: 0,
            body_delivered: false,
            disconnected: false,
            is_kept: false,
            unfinished_line: Vec::new(),
            line_level: Level::Error,
            line_json: None,
            traffic: None,
        }
    }

    pub(super) fn number(&self) -> usize {
        self.exchange.number()
    }

    pub(super) fn request_number(&self) -> Option<usize> {
        self.exchange.request_number()
    }

    pub(super) const fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn load(&mut self, load: &mut Load<'_>) -> bool {
        self.exchange.load(load)
    }

    pub(super) fn variables(&mut self) -> Variables {
        let mut variables = Variables::with_room();
        self.exchange.environ(&mut variables);
        variables
    }

    /// Hands over every variable of the request.
    pub(super) fn environ(&mut self, environ: &mut dyn Environ) {
        self.exchange.environ(environ);
    }

    /// From now on what is received and sent is counted; `times`: and how long the application waits for that.
    pub(super) fn count(&mut self, times: bool) {
        self.traffic.get_or_insert_default().io.timed |= times;
    }

    /// What has been received and sent since it is counted.
    pub(super) fn io(&self) -> IoCounters {
        self.traffic.as_ref().map(|traffic| traffic.io).unwrap_or_default()
    }

    /// The HTTP status that the client gets; `None` where there is none, or nothing is counted.
    pub(super) fn status(&self) -> Option<u16> {
        self.traffic.as_ref().map(|traffic| traffic.status).filter(|status| *status > 0)
    }

    /// The client gets this HTTP status.
    fn note_status(&mut self, status: u16) {
        if let Some(traffic) = &mut self.traffic {
            traffic.status = status;
        }
    }

    /// Whether the response is an event stream that has begun.
    pub(super) fn is_event_stream(&self) -> bool {
        let is_one = |(name, value): (&[u8], &[u8])| {
            name.eq_ignore_ascii_case(b"content-type")
                && value
                    .get(..17)
                    .is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
        };
        self.stage == Stage::Sending && self.head.headers().any(is_one)
    }

    /// What the application gets next.
    pub(super) fn receive(&mut self) -> Incoming {
        let incoming = self.next_message();
        if let Some(traffic) = &mut self.traffic {
            match &incoming {
                Incoming::Body { bytes, .. } => traffic.received(bytes.len()),
                Incoming::Nothing => traffic.wait_for_input(),
                Incoming::Disconnect => traffic.end_input(),
            }
        }
        incoming
    }

    fn next_message(&mut self) -> Incoming {
        // Applications that listen for the end of the request would cancel what still sends.
        if self.stage == Stage::Complete && self.is_kept && !self.disconnected {
            return Incoming::Nothing;
        }
        if self.stage == Stage::Complete || self.is_disconnected() {
            return Incoming::Disconnect;
        }
        if self.body_delivered {
            self.exchange.watch();
            return Incoming::Nothing;
        }
        if self.exchange.body_is_complete() {
            self.body_delivered = true;
            return Incoming::Body { bytes: Vec::new(), more: false };
        }
        let mut bytes = vec![0; PIECE];
        match self.exchange.read(&mut bytes) {
            Ok(Input::Nothing) => {
                self.exchange.watch();
                Incoming::Nothing
            }
            Ok(Input::Bytes(count)) => {
                bytes.truncate(count);
                self.body_delivered = self.exchange.body_is_complete();
                Incoming::Body { bytes, more: !self.body_delivered }
            }
            Ok(Input::End) => {
                self.body_delivered = true;
                Incoming::Body { bytes: Vec::new(), more: false }
            }
            Err(_) => {
                self.disconnected = true;
                Incoming::Disconnect
            }
        }
    }

    /// Takes a head, which is sent with the first piece of body.
    pub(super) fn start(&mut self, head: ResponseHead) -> Result<Outcome, Violation> {
        match self.stage {
            Stage::Silent => {}
            Stage::Started | Stage::Sending => return Err(Violation::StartTwice),
            Stage::Complete => return Err(Violation::AfterEnd),
        }
        self.declared = head.content_length().ok().flatten();
        self.note_status(head.status());
        self.head = head;
        self.stage = Stage::Started;
        Ok(if self.is_disconnected() { Outcome::Disconnected } else { Outcome::Sent })
    }

    /// Whether the client may get early hints.
    pub(super) fn takes_early_hints(&self) -> bool {
        self.exchange.takes_early_hints()
    }

    /// Sends early hints, values of `Link` with a newline behind each.
    pub(super) fn hint(&mut self, links: &[u8]) -> Result<Outcome, Violation> {
        match self.stage {
            _ if !self.takes_early_hints() => return Err(Violation::HintNotTaken),
            Stage::Silent => {}
            Stage::Started | Stage::Sending => return Err(Violation::HintLate),
            Stage::Complete => return Err(Violation::AfterEnd),
        }
        if self.is_disconnected() {
            return Ok(Outcome::Disconnected);
        }
        if links.is_empty() {
            return Ok(Outcome::Sent);
        }
        let sent = self.exchange.hint(links);
        Ok(self.outcome(sent))
    }

    /// Sends a piece of body, the last one unless there is `more`.
    pub(super) fn send(&mut self, body: &[u8], more: bool) -> Result<Outcome, Violation> {
        let piece = if body.is_empty() { Body::Empty } else { Body::Bytes(body) };
        self.pass(piece, body.len() as u64, more)
    }

    /// Sends a file as the whole body.
    pub(super) fn send_path(&mut self, file: &FileBody) -> Result<Outcome, Violation> {
        match self.stage {
            Stage::Sending => return Err(Violation::Mixed),
            Stage::Started if self.declared.is_none() && !self.head.is_bodiless() => {
                // The name and the digits are valid in a head.
                let _ = self.head.push(b"Content-Length", file.length().to_string().as_bytes());
                self.declared = Some(file.length());
            }
            _ => {}
        }
        self.send_file(file, false)
    }

    /// Sends a piece of body that is in a file, the last one unless there is `more`.
    pub(super) fn send_file(&mut self, file: &FileBody, more: bool) -> Result<Outcome, Violation> {
        match file {
            FileBody::Bytes(bytes) => self.send(bytes, more),
            FileBody::Part { length: 0, .. } => self.send(&[], more),
            FileBody::Part { file, offset, length } => {
                let (offset, length) = (*offset, *length);
                self.pass(Body::File { file: file.as_fd(), offset, length }, length, more)
            }
        }
    }

    fn pass(&mut self, piece: Body<'_>, length: u64, more: bool) -> Result<Outcome, Violation> {
        match self.stage {
            Stage::Started | Stage::Sending => {}
            Stage::Silent => return Err(Violation::BodyBeforeStart),
            Stage::Complete => return Err(Violation::AfterEnd),
        }
        if self.is_disconnected() {
            return Ok(Outcome::Disconnected);
        }
        let has_body = self.exchange.wants_body() && !self.head.is_bodiless();
        let written = self.written + length;
        if has_body && self.declared.is_some_and(|declared| written > declared) {
            return Err(Violation::TooLong);
        }
        self.written = written;
        let is_short = has_body && self.declared.is_some_and(|declared| written < declared);
        let first = self.stage == Stage::Started;
        if more && !first && length == 0 {
            return Ok(Outcome::Sent);
        }
        let output = Output {
            head: first.then_some(&self.head),
            body: if has_body { piece } else { Body::Empty },
            then: match (more, is_short) {
                (true, _) => Then::Flush,
                (false, true) => Then::Short,
                (false, false) => Then::End,
            },
        };
        if !more && is_short {
            // Before the end of the response, behind which there is no request whose log this could go to.
            let line =
                b"the body of the response is shorter than its Content-Length; the response is cut [XB]";
            self.exchange.log(Level::Error, line);
        }
        if let Some(traffic) = &mut self.traffic {
            traffic.begin_output(if has_body { length } else { 0 });
        }
        let sent = self.exchange.send(&output);
        self.stage = if more { Stage::Sending } else { Stage::Complete };
        Ok(self.outcome(sent))
    }

    /// Whether the client asks for a WebSocket.
    pub(super) fn is_websocket(&self) -> bool {
        self.exchange.is_websocket()
    }

    /// Accepts the WebSocket that the client asks for; `None`: the client has gone.
    pub(super) fn accept(
        &mut self,
        head: &ResponseHead,
    ) -> Result<Option<Box<dyn AsgiSocket>>, Violation> {
        if self.stage != Stage::Silent {
            return Err(Violation::AcceptLate);
        }
        if self.is_disconnected() {
            return Ok(None);
        }
        let socket = self.exchange.accept(head);
        self.stage = Stage::Complete;
        self.note_status(101);
        self.disconnected = socket.is_none();
        Ok(socket)
    }

    /// Sends what is kept. Once one task has found the client gone, the others that wait for room are told so as well.
    pub(super) fn flush(&mut self) -> Outcome {
        let gone = Err(SendError::Disconnected);
        let sent = if self.disconnected { gone } else { self.exchange.flush() };
        self.outcome(sent)
    }

    /// Something has happened on the connection. What is kept goes on, whether or not a task waits for that: nothing does for
    /// lines of the log, nor for what a task has sent that was cancelled then. Whether the client has gone.
    pub(super) fn progress(&mut self) -> bool {
        self.flush();
        self.is_disconnected()
    }

    fn outcome(&mut self, sent: Result<Sent, SendError>) -> Outcome {
        self.is_kept = sent == Ok(Sent::Kept);
        if let Some(traffic) = &mut self.traffic
            && !self.is_kept
        {
            traffic.end_output();
        }
        match sent {
            Ok(Sent::All) => Outcome::Sent,
            Ok(Sent::Kept) => Outcome::Kept,
            Err(_) => {
                self.disconnected = true;
                Outcome::Disconnected
            }
        }
    }

    pub(super) fn watch(&mut self) {
        self.exchange.watch();
    }

    /// Whether the client has gone before all of the response was sent.
    pub(super) fn is_disconnected(&mut self) -> bool {
        if self.stage != Stage::Complete && !self.disconnected {
            self.disconnected = self.exchange.is_disconnected();
        }
        self.disconnected
    }

    /// The client of the WebSocket that this was has gone.
    pub(super) fn note_lost(&mut self) {
        self.disconnected = true;
    }

    pub(super) fn fail(&mut self, status: u16) {
        if self.stage != Stage::Complete {
            if self.stage != Stage::Sending {
                self.note_status(status);
            }
            self.exchange.fail(status);
            self.stage = Stage::Complete;
        }
    }

    /// Answers in the place of an application that has not started.
    pub(super) fn fail_start(&mut self) {
        if self.stage != Stage::Complete {
            self.note_status(503);
            self.exchange.fail_start();
            self.stage = Stage::Complete;
        }
    }

    /// The application has returned.
    pub(super) fn end(&mut self) {
        self.finish_line();
        self.exchange.end();
        self.stage = Stage::Complete;
    }

    pub(super) fn log(&mut self, level: Level, line: &[u8]) {
        self.exchange.log(level, line);
    }

    pub(super) fn would_log(&self, level: Level) -> bool {
        self.exchange.logs(level)
    }

    /// Makes a record of the text after the last newline, if there is any.
    fn finish_line(&mut self) {
        let line = std::mem::take(&mut self.unfinished_line);
        if !line.is_empty() {
            self.log_line(&line);
        }
    }

    /// Writes a line of what the application has printed.
    fn log_line(&mut self, line: &[u8]) {
        match &self.line_json {
            Some(json) => self.exchange.log(self.line_level, &json.of(self.line_level, line)),
            None => self.exchange.log(self.line_level, line),
        }
    }

    /// Writes text to the log, a record of this level for each line that is complete.
    pub(super) fn log_text(&mut self, level: Level, text: &[u8], json: Option<&JsonLine>) {
        if self.line_level != level || JsonLine::are_apart(self.line_json.as_ref(), json) {
            self.finish_line();
            self.line_level = level;
        }
        self.line_json = json.cloned();
        self.unfinished_line.extend_from_slice(text);
        let Some(last) = self.unfinished_line.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        let rest = self.unfinished_line.split_off(last + 1);
        let lines = std::mem::replace(&mut self.unfinished_line, rest);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.log_line(line);
        }
    }
}
