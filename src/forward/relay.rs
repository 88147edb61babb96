//! The response of a worker on its way to the client. It must never know the request that the worker got.
#![forbid(unsafe_code)]

use super::connection::Connection;
use super::connection_error::ConnectionError;
use super::early_hints::EarlyHints;
use super::failure::flag;
use super::given_back::GivenBack;
use super::group::{CLIENT_IDLE_TIME, Group, UNREAD_TIME};
use super::parked_stream;
use super::relay_buffers::{HeadBuffers, RelayBuffers};
use super::relay_error::{RelayError, head_error, malformed};
use super::response_body::{Piece, ResponseBody, Rest, outcome, times_since};
use crate::apr::Brigade;
use crate::config::Settings;
use crate::error_override;
use crate::failure_flag::{Flag, Note};
use crate::httpd::{BrigadeEnd, Head, Outcome, PassError, Request};
use crate::hub::{self, Place, Room};
use crate::request_times::RequestTimes;
use fastcgi::app_status::{self, NotLoaded, StatusOnly};
use fastcgi::{Answer, ProtocolStatus};
use std::io::Write;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use wsgi::{DISCARD_LIMIT, Level};

/// A response, as far as it has come.
pub(super) struct Relay<'a, 'call> {
    settings: &'a Settings<'a>,
    group: &'static Group,
    body: ResponseBody<'static, Brigade<'call>>,
    buffers: &'a mut HeadBuffers,
    /// Where the memory of the body's output comes from.
    pending: &'a mut Vec<u8>,
    stage: Stage,
    /// The response has ended, and the client has yet to get the end of it.
    rest: Option<Rest>,
    /// Since when the body is read for the application's sake only, because the client gets none.
    discarding_since: Option<Instant>,
    /// Since when the worker has sent something, but neither a complete head nor a piece of the body.
    stalled_since: Option<Instant>,
    /// This thread may leave the rest of the response to another one: the worker has all of the request.
    may_park: bool,
    /// The place of this response in the hub, once this thread leaves.
    place: Option<Place>,
    /// The path of this server at which the response is to be found.
    location: Option<Vec<u8>>,
    /// The worker has done nothing for the request.
    given_back: Option<GivenBack>,
    /// How long the request has waited for its worker, as that says, and when the response ended; in microseconds.
    times: Option<(u64, i64)>,
    /// The request asks for a WebSocket.
    asks_for_websocket: bool,
    /// The request waits for new code.
    waits_for_new_code: bool,
    /// The client waits for `100 Continue`, and the application has not asked for the body.
    withholds_body: bool,
    hints: EarlyHints,
    /// The fields of the 101, once the application has accepted a WebSocket and the worker has left the connection to it.
    switched: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    /// httpd responds instead; the rest is read and dropped.
    Replaced(u16),
    /// The response is at another path; the rest is read and dropped.
    Located,
    /// The application accepts a WebSocket.
    Switching,
}

impl<'a, 'call> Relay<'a, 'call> {
    pub(super) fn new(
        request: &Request<'call>,
        settings: &'a Settings<'a>,
        group: &'static Group,
        buffers: &'a mut RelayBuffers,
    ) -> Self {
        buffers.restart(group.limits());
        let pending = std::mem::take(&mut buffers.pending);
        Self {
            settings,
            group,
            body: ResponseBody::new(request, group, settings.enable_sendfile, pending),
            buffers: &mut buffers.head,
            pending: &mut buffers.pending,
            stage: Stage::Head,
            rest: None,
            discarding_since: None,
            stalled_since: None,
            may_park: false,
            place: None,
            location: None,
            given_back: None,
            times: None,
            asks_for_websocket: false,
            waits_for_new_code: false,
            withholds_body: false,
            hints: EarlyHints::default(),
            switched: None,
        }
    }

    /// Whether the request asks for a WebSocket, which the application may accept.
    pub(super) const fn expect_websocket(&mut self, asks: bool) {
        self.asks_for_websocket = asks;
    }

    /// Whether the request waits for new code, so that a worker with old code may give it back.
    pub(super) const fn expect_old_code(&mut self, waits: bool) {
        self.waits_for_new_code = waits;
    }

    /// Whether the body is read once the application asks for it.
    pub(super) const fn expect_request_for_body(&mut self, is_withheld: bool) {
        self.withholds_body = is_withheld;
    }

    /// Whether the application has asked for the body.
    pub(super) const fn asks_for_body(&self) -> bool {
        !self.withholds_body
    }

    /// Whether the head has been relayed.
    pub(super) fn has_head(&self) -> bool {
        self.stage == Stage::Body
    }

    /// How long the request has taken that began to wait at `queued`, in microseconds since the epoch; nothing is known
    /// before the worker has sent the end.
    pub(super) fn times(&self, queued: i64) -> RequestTimes {
        times_since(queued, self.times)
    }

    /// Why the worker has given the request back, if it has.
    pub(super) const fn given_back(&self) -> Option<GivenBack> {
        self.given_back
    }

    /// The path at which the response is to be found, if this response says so.
    pub(super) const fn take_location(&mut self) -> Option<Vec<u8>> {
        self.location.take()
    }

    /// The fields of the 101, each with its end of line, if the connection has become a WebSocket.
    pub(super) const fn take_switched(&mut self) -> Option<Vec<u8>> {
        self.switched.take()
    }

    /// Passes on the bytes that wait, before the response is broken off.
    pub(super) fn flush_pending(&mut self, request: &mut Request<'call>) {
        self.body.flush_pending(request);
    }

    /// Reads once and relays what has come; `Some` at the end of the response.
    pub(super) fn step(
        &mut self,
        request: &mut Request<'call>,
        connection: &mut Connection,
    ) -> Result<Option<Outcome>, RelayError> {
        match self.wait(request, connection) {
            Err(RelayError::Worker(ConnectionError::Timeout)) if self.is_discarding() => {
                return self.stop_discarding(request, connection).map(Some);
            }
            waited => waited?,
        }
        connection.read()?;
        let before = (self.stage, self.body.written, self.withholds_body);
        while let Some(piece) = self.next_piece(request, connection)? {
            match piece {
                Piece::Log(level, line) => {
                    request.log_of_group(self.group.log_level(), level, &line);
                }
                Piece::Error(text) => self.body.log_errors(request, &text),
                Piece::File(span) => {
                    let wanted = self.stage == Stage::Body;
                    self.body.file::<RelayError>(request, connection, span, wanted)?;
                }
                Piece::BodyWanted => self.withholds_body = false,
                Piece::EarlyHints(links) if self.stage == Stage::Head => {
                    self.hints.pass(request, &links)?;
                }
                // Behind the head there is no place for them.
                Piece::EarlyHints(_) => {}
                Piece::End { protocol_status: status, app_status, queue_time } => {
                    self.times = Some((queue_time, wsgi::epoch_micros()));
                    if matches!(app_status, app_status::ABORTED | app_status::SWITCHED) {
                        connection.mark_closing();
                    }
                    if self.stage == Stage::Switching && connection.has_rest() {
                        return Err(malformed(
                            "bytes of a WebSocket came before Apache has sent its 101",
                        )
                        .into());
                    }
                    return Ok(Some(self.end(request, status, app_status)?));
                }
            }
        }
        if before != (self.stage, self.body.written, self.withholds_body) {
            self.stalled_since = None;
        } else if self.stalled_since.is_none() {
            self.stalled_since = Some(Instant::now());
        }
        // A file waits for the end of the response, which came with it or comes later.
        self.body.output.pass_file(request)?;
        self.flush_if_due(request, connection)?;
        if self.is_discarding() && self.time_left().is_zero() {
            return self.stop_discarding(request, connection).map(Some);
        }
        Ok(None)
    }

    /// Whether the last step has brought the response on: a complete head, or a piece of the body.
    pub(super) const fn has_progressed(&self) -> bool {
        self.stalled_since.is_none()
    }

    const fn is_discarding(&self) -> bool {
        self.discarding_since.is_some()
    }

    /// How long the worker may take over what comes next. Log lines, and heads without an end, do not extend it.
    fn time_left(&self) -> Duration {
        let elapsed =
            |since: Option<Instant>| since.map_or(Duration::ZERO, |since| since.elapsed());
        let left = self.group.worker_timeout().saturating_sub(elapsed(self.stalled_since));
        match self.discarding_since {
            None => left,
            since => left.min(DISCARD_LIMIT.saturating_sub(elapsed(since))),
        }
    }

    /// Waits until something can be read. After a while the client's connection is looked at, too: a client that
    /// has left needs no response.
    fn wait(
        &mut self,
        request: &mut Request<'call>,
        connection: &Connection,
    ) -> Result<(), RelayError> {
        if self.body.output.is_client_behind()
            && self.wait_for_both(request, connection)?.is_break()
        {
            return Ok(());
        }
        if !connection.polls() && self.has_progressed() && !self.is_discarding() {
            return Ok(());
        }
        let limit = self.time_left();
        if limit.is_zero() {
            return Err(ConnectionError::Timeout.into());
        }
        // What no client gets, such as lines for the log, does not keep a worker from being silent.
        let is_stalled = self.stalled_since.is_some_and(|at| at.elapsed() > CLIENT_IDLE_TIME);
        if is_stalled && request.client_socket().is_some_and(sys::has_ended) {
            request.mark_aborted();
            return Err(PassError::Aborted.into());
        }
        if let Some(idle_time) = self.parking(request) {
            if connection.waits_for_input(limit.min(idle_time)) {
                return Ok(());
            }
            if self.leave(request)? {
                return Err(RelayError::Silent);
            }
        }
        if connection.is_silent() && self.wait_for_reader(connection, limit)? {
            return Ok(());
        }
        if connection.waits_for_input(limit.min(CLIENT_IDLE_TIME)) {
            return Ok(());
        }
        let left = limit.saturating_sub(CLIENT_IDLE_TIME);
        let client = request.client_socket().filter(|_| !left.is_zero());
        match client.map(|client| sys::is_readable_before_hang_up(connection.as_fd(), client, left))
        {
            None if connection.waits_for_input(left) => Ok(()),
            Some(Some(true)) => Ok(()),
            Some(None) => {
                request.mark_aborted();
                Err(PassError::Aborted.into())
            }
            None | Some(Some(false)) => Err(ConnectionError::Timeout.into()),
        }
    }

    /// Waits for a moment until something can be read; whether it can.
    ///
    /// # Errors
    /// [`RelayError::Unread`] where no worker has read the request until then.
    fn wait_for_reader(
        &mut self,
        connection: &Connection,
        limit: Duration,
    ) -> Result<bool, RelayError> {
        let begun = Instant::now();
        if connection.waits_for_input(limit.min(UNREAD_TIME)) {
            return Ok(true);
        }
        if !connection.is_unread() {
            return Ok(false);
        }
        self.stalled_since.get_or_insert(begun);
        Err(RelayError::Unread)
    }

    /// How long the worker may be silent before this thread leaves; `None` where it is needed.
    fn parking(&self, request: &Request<'call>) -> Option<Duration> {
        let free = self.may_park
            && self.has_head()
            && !self.is_discarding()
            && self.body.output.may_leave();
        (free && self.group.places.room() != Room::Full && request.is_parkable())
            .then(|| parked_stream::idle_time(request))
    }

    /// Whether this thread leaves, for which a place is taken in the hub. The process may have been told to leave while
    /// [`Self::parking`] was awaited.
    fn leave(&mut self, request: &mut Request<'call>) -> Result<bool, PassError> {
        let taken = match self.group.places.free() {
            Room::Free => {
                let is_ready = hub::is_ready(|line| request.log(Level::Warning, line.as_bytes()));
                if !is_ready || !self.can_leave(request)? {
                    return Ok(false);
                }
                self.group.places.take()
            }
            room => Err(room),
        };
        match taken {
            Ok(place) => self.place = Some(place),
            Err(room) => {
                let line = self.group.share_line(room);
                line.iter().for_each(|line| request.log(Level::Warning, line.as_bytes()));
            }
        }
        Ok(self.place.is_some())
    }

    /// The place in the hub, where this thread leaves.
    pub(super) const fn take_place(&mut self) -> Option<Place> {
        self.place.take()
    }

    /// Whether this thread can leave now: the head of the response has to be out. httpd writes it with the first bytes of the
    /// body, and would say by then that no thread has the connection any more: `Connection: close`, and no chunks, by
    /// which the client could tell half a response from a whole one.
    fn can_leave(&mut self, request: &mut Request<'call>) -> Result<bool, PassError> {
        if !request.is_head_out() {
            self.body.output.pass_head(request)?;
        }
        Ok(request.is_head_out() && request.is_parkable() && self.body.output.may_leave())
    }

    /// From now on this thread is not needed while the worker is silent: the worker has all of the request.
    pub(super) const fn allow_parking(&mut self) {
        self.may_park = true;
    }

    /// The rest of the response, for another thread.
    pub(super) fn into_body(self) -> ResponseBody<'static, ()> {
        let (mut body, _) = self.body.with_brigade(());
        *self.pending = body.output.take_pending();
        body
    }

    /// Gives back the memory that it has used.
    pub(super) fn return_memory(&mut self) {
        *self.pending = self.body.output.take_pending();
    }

    /// Passes on what the client takes until something can be read from the worker (`Break`), or the client has caught
    /// up.
    fn wait_for_both(
        &mut self,
        request: &mut Request<'call>,
        connection: &Connection,
    ) -> Result<ControlFlow<()>, RelayError> {
        let Some(client) = request.client_socket() else { return Ok(ControlFlow::Continue(())) };
        let began = Instant::now();
        while self.body.output.is_client_behind() {
            let worker = (!self.body.output.is_full()).then(|| connection.as_fd());
            let limit = self.body.output.client_time_left(request);
            if limit.is_zero() {
                request.mark_aborted();
                return Err(PassError::Aborted.into());
            }
            let left = self.time_left().saturating_sub(began.elapsed());
            if worker.is_some() && left.is_zero() {
                return Err(ConnectionError::Timeout.into());
            }
            let limit = if worker.is_some() { limit.min(left) } else { limit };
            let (readable, writable) = sys::wait_for_either(worker, client, limit);
            if writable {
                self.body.output.pass_backlog(request)?;
            }
            if readable {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Passes on what the client takes of what waits for it, without waiting; whether it is behind still.
    pub(super) fn pass_backlog(&mut self, request: &mut Request<'call>) -> Result<bool, PassError> {
        if self.body.output.is_client_behind()
            && let Some(client) = request.client_socket()
            && sys::is_writable(client, Duration::ZERO)
        {
            self.body.output.pass_backlog(request)?;
        }
        Ok(self.body.output.is_client_behind())
    }

    /// Whether the response has ended, and its end waits for the client.
    pub(super) const fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// Passes on the end of a response whose client is behind; `None` where that has been done. The worker is not
    /// needed for that any more.
    pub(super) fn pass_rest(&mut self, request: &mut Request<'call>) -> Option<Outcome> {
        let rest = self.rest.take()?;
        let passed = self.body.pass_end(request, rest);
        Some(outcome(request, passed))
    }

    /// Ends a response of which the client gets no more.
    fn stop_discarding(
        &mut self,
        request: &mut Request<'call>,
        connection: &mut Connection,
    ) -> Result<Outcome, RelayError> {
        connection.send_abort();
        Ok(match self.stage {
            Stage::Replaced(status) => Outcome::Status(status),
            Stage::Located => Outcome::Done,
            Stage::Head | Stage::Body | Stage::Switching => {
                let passed = self.body.output.finish(request, BrigadeEnd::End);
                outcome(request, passed)
            }
        })
    }

    /// Relays bytes of the response up to the next piece of another kind; `None`: more is to be read first.
    fn next_piece(
        &mut self,
        request: &mut Request<'call>,
        connection: &mut Connection,
    ) -> Result<Option<Piece>, RelayError> {
        while let Some(answer) = connection.next()? {
            if let Answer::Stdout(data) = answer {
                self.stdout(request, data)?;
            } else if let Some(piece) = Piece::of(&answer) {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// Flushes what the client has not got, where there is enough of it, or the worker has nothing more to add.
    fn flush_if_due(
        &mut self,
        request: &mut Request<'call>,
        connection: &Connection,
    ) -> Result<(), PassError> {
        let unflushed = self.body.output.unflushed();
        if unflushed > 0
            && (unflushed >= self.group.response_buffer_size()
                || !connection.waits_for_input(self.group.response_flush_delay()))
        {
            self.body.output.flush(request)?;
        }
        Ok(())
    }

    fn stdout(&mut self, request: &mut Request<'call>, data: &[u8]) -> Result<(), RelayError> {
        let mut data = data;
        if self.stage == Stage::Head {
            let complete = self.buffers.parser.feed(data).map_err(|why| head_error(&why))?;
            let Some(body) = complete else { return Ok(()) };
            data = data.get(body..).unwrap_or_default();
            self.head(request)?;
        }
        if data.is_empty() || self.stage != Stage::Body {
            return Ok(());
        }
        self.body.write(request, data)?;
        Ok(())
    }

    fn head(&mut self, request: &mut Request<'call>) -> Result<(), ConnectionError> {
        let HeadBuffers { parser, head, line } = &mut *self.buffers;
        let parsed = parser.head().ok_or_else(|| malformed("no head"))?;
        let code = parsed.status().unwrap_or(200);
        if code == 101 && self.asks_for_websocket {
            let fields = parsed.fields().flat_map(|(name, value)| [name, b": ", value, b"\r\n"]);
            self.switched = Some(fields.flatten().copied().collect());
            self.stage = Stage::Switching;
            return Ok(());
        }
        line.clear();
        // Writing to memory does not fail.
        let _ = write!(line, "{code} ");
        line.extend_from_slice(parsed.reason());
        head.set_status(line.trim_ascii_end()).map_err(|why| malformed(&why))?;
        let mut location = None;
        for (name, value) in parsed.fields() {
            head.push(name, value).map_err(|why| malformed(&why))?;
            // CGI's local redirect (RFC 3875, 6.2.2).
            if code == 200 && name.len() == 8 && name.eq_ignore_ascii_case(b"Location") {
                location = Some(value).filter(|value| value.starts_with(b"/"));
            }
        }
        if error_override::applies(self.settings, code) {
            error_override::keep_headers(request, head);
            self.discard(Stage::Replaced(code));
            return Ok(());
        }
        if let Some(location) = location {
            self.location = Some(location.to_vec());
            self.discard(Stage::Located);
            return Ok(());
        }
        self.body.promised = head.content_length().map_err(|why| malformed(&why))?;
        if request.is_head() || head.is_bodiless() {
            self.body.promised = None;
            self.discarding_since = Some(Instant::now());
        }
        if self.withholds_body {
            // The client may send its body or not: only the end of the connection tells.
            request.close_connection();
        }
        request.set_head(&Head::of(head));
        self.stage = Stage::Body;
        Ok(())
    }

    fn discard(&mut self, stage: Stage) {
        self.stage = stage;
        self.discarding_since = Some(Instant::now());
    }

    fn end(
        &mut self,
        request: &mut Request<'call>,
        status: ProtocolStatus,
        app_status: u32,
    ) -> Result<Outcome, ConnectionError> {
        self.body.finish_errors(request);
        if status != ProtocolStatus::RequestComplete {
            return Err(ConnectionError::Refused);
        }
        match self.stage {
            Stage::Switching if app_status == app_status::SWITCHED => return Ok(Outcome::Done),
            Stage::Switching => return Err(malformed("the connection did not become a WebSocket")),
            Stage::Replaced(status) => return Ok(Outcome::Status(status)),
            // An application that fails has not meant its redirect.
            Stage::Located if app_status == app_status::ABORTED => {
                self.location = None;
                Flag::Exception.note();
                return Ok(Outcome::Status(500));
            }
            Stage::Located => return Ok(Outcome::Done),
            // A request without a response ends with the HTTP status that says why.
            Stage::Head if app_status == app_status::OUTDATED && self.waits_for_new_code => {
                self.given_back = Some(GivenBack::Outdated);
                return Ok(Outcome::Done);
            }
            Stage::Head => {
                if let Some(failed) = NotLoaded::from_wire(app_status) {
                    self.given_back = Some(GivenBack::NotLoaded(failed));
                    return Ok(Outcome::Status(failed.status));
                }
                let Some(StatusOnly { status, cause }) = StatusOnly::from_wire(app_status) else {
                    return Err(malformed("the answer has no head"));
                };
                flag(cause).note();
                return Ok(Outcome::Status(self.settings.error_status(status)));
            }
            Stage::Body => {}
        }
        let rest = self.body.rest(app_status);
        // All of the response has been read: another request can go over the connection.
        if self.body.output.is_client_behind() {
            self.rest = Some(rest);
            return Ok(Outcome::Done);
        }
        let passed = self.body.pass_end(request, rest);
        Ok(outcome(request, passed))
    }
}
