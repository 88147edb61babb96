//! Serving a request in a daemon process: the request goes out as FastCGI, the answer comes back and is
//! relayed. Which processes there are is the supervisor's affair; Python is nobody's here.
#![forbid(unsafe_code)]

mod connection;
mod duplex;
mod group;
mod params;
mod relay;

pub(crate) use group::Group;

use crate::application::Application;
use crate::config::Settings;
use crate::error_override;
use crate::httpd::{BodyChunk, Outcome, Request, RequestBody};
use connection::{Broken, Connection};
use fastcgi::MAX_CONTENT;
use group::WorkerLease;
use params::Params;
use relay::{Relay, Relayed};
use std::io;
use std::time::Instant;
use wsgi::{Level, ReadError};

/// A body that is said to be this long at most is read before a worker is chosen: a slow client then ties up
/// no worker. As much of any body is kept, so that a request that has not been answered can be sent again.
const HELD: usize = 64 * 1024;
/// As much of a longer body is passed on at once: three full records, which a socket has room for.
const PIECE: usize = 3 * MAX_CONTENT;
/// How often a request goes to another worker although the one before may have died of it.
const RISKED: usize = 2;

/// Serves `request` in a process of `group`.
pub(crate) fn serve(
    request: &mut Request<'_>,
    settings: &Settings<'_>,
    application: &Application<'_>,
    group: &Group,
) -> Outcome {
    let mut body = Body::new(request);
    if let Err(why) = body.fill(request) {
        return refuse_body(request, &why);
    }
    body.declare(request);
    // A client that takes its time over the body has not waited for a worker.
    let queued = scoreboard::now();
    let mut params = Params::of(request, settings, application, group, wsgi::epoch_micros());
    // A client that does not take its answer ties up a worker: it may have its own limit.
    let before = group
        .response_timeout()
        .and_then(|limit| request.set_client_timeout(i64::try_from(limit.as_micros()).ok()?));
    let outcome = attempt(request, settings, group, &mut params, &mut body, queued);
    params.put_away();
    if let Some(before) = before {
        request.set_client_timeout(before);
    }
    match outcome {
        Answered::Here(outcome) => outcome,
        // The worker is free by now: it may be the one that has the answer.
        Answered::At(location) => request.redirect(&location),
    }
}

/// What an exchange with a worker came to.
enum Answered {
    Here(Outcome),
    /// By an answer that is to be found at this path.
    At(Vec<u8>),
}

/// Sends the request to a worker, and if need be to others.
fn attempt<'call>(
    request: &mut Request<'call>,
    settings: &Settings<'_>,
    group: &Group,
    params: &mut Params<'_>,
    body: &mut Body<'call>,
    queued: u64,
) -> Answered {
    // A worker that goes away before it answers is replaced; the next one gets the request.
    let patience = Instant::now() + group.definition().connect_timeout;
    let (mut failed, mut risked, mut missing) = (0, 0, None);
    loop {
        let lease = group.choose(missing, failed > 0, queued);
        // The least bad one: there is no better.
        if let Some(why) = lease.start_block_reason() {
            return Answered::Here(Failure::start(group, &why).answer(request));
        }
        let mut connection = match lease.connect(patience) {
            Ok(connection) => connection,
            // The configuration has changed, and this child still has the old one.
            Err(why) if failed < group.attempts() && why.kind() == io::ErrorKind::NotFound => {
                failed += 1;
                missing = Some(lease.slot());
                continue;
            }
            Err(why) => return Answered::Here(Failure::connect(group, &why).answer(request)),
        };
        match exchange(request, settings, group, &mut connection, params, body, &lease) {
            Ok(answered) => {
                lease.finish(connection);
                return answered;
            }
            // The worker had closed a connection that was kept: that says nothing of the worker there is.
            Err(failure) if failure.unsent && connection.is_used() => {}
            Err(failure) => {
                lease.forget_kept();
                if failure.is_late() {
                    lease.timed_out();
                    lease.give_up();
                }
                // Perhaps it is the request that ends workers.
                risked += usize::from(!failure.unread);
                failed += 1;
                let again = failed < group.attempts()
                    && failure.may_repeat
                    && body.is_replayable()
                    && (failure.unread || request.is_get_or_head() && risked <= RISKED);
                if !again {
                    return Answered::Here(failure.explained(&lease).answer(request));
                }
                params.queue_again();
            }
        }
    }
}

/// One attempt: send, then relay.
fn exchange<'call>(
    request: &mut Request<'call>,
    settings: &Settings<'_>,
    group: &Group,
    connection: &mut Connection,
    params: &Params<'_>,
    body: &mut Body<'call>,
    lease: &WorkerLease<'_>,
) -> Result<Answered, Failure> {
    connection
        .send_request(params, &body.held, body.ended)
        .map_err(|why| Failure::sending(group, &why))?;
    let mut relay = Relay::new(settings, group);
    let mut done = None;
    if body.ended && !connection.has_unsent() {
        let in_time = lease
            .await_start(connection)
            .map_err(|why| Failure::awaiting(group, connection, &why))?;
        if !in_time {
            return Err(Failure::receiving(group, connection, &Broken::Timeout));
        }
    } else {
        done = duplex::run(request, group, connection, &mut relay, body, lease)?;
        if done == Some(Outcome::Done) {
            request.flush_complete();
        }
    }
    let outcome = loop {
        match done {
            Some(outcome) => break outcome,
            None => done = step(request, group, connection, &mut relay, lease)?,
        }
    };
    Ok(relay.take_location().map_or(Answered::Here(outcome), Answered::At))
}

/// Relays what has come; `Some` at the end.
fn step(
    request: &mut Request<'_>,
    group: &Group,
    connection: &mut Connection,
    relay: &mut Relay<'_>,
    lease: &WorkerLease<'_>,
) -> Result<Option<Outcome>, Failure> {
    match relay.step(request, connection) {
        Ok(Relayed::More) => Ok(None),
        Ok(Relayed::Complete(outcome)) => Ok(Some(outcome)),
        Ok(Relayed::Stopped(why)) => {
            connection.abort();
            Ok(Some(request.outcome(Err(why))))
        }
        Err(why) => broken(request, group, connection, relay, &why, lease).map(Some),
    }
}

/// The connection is of no more use.
fn broken(
    request: &mut Request<'_>,
    group: &Group,
    connection: &mut Connection,
    relay: &mut Relay<'_>,
    why: &Broken,
    lease: &WorkerLease<'_>,
) -> Result<Outcome, Failure> {
    if !relay.has_head() {
        return Err(Failure::receiving(group, connection, why));
    }
    // What there is goes to the client before anybody looks for the cause.
    connection.abort();
    relay.let_go(request);
    let cause = why.is_end().then(|| lease.exit_description()).flatten();
    let cause = cause.unwrap_or_else(|| why.to_string());
    let line = format!("WSGI0119: daemon process '{}' broke off its answer: {cause}", group.name());
    request.log(Level::Error, line.as_bytes());
    request.cut();
    Ok(Outcome::Done)
}

/// The client does not go on with its body.
fn unfinished(
    request: &mut Request<'_>,
    connection: &mut Connection,
    relay: &mut Relay<'_>,
    why: &ReadError,
) -> Outcome {
    connection.abort();
    if !relay.has_head() {
        return refuse_body(request, why);
    }
    relay.let_go(request);
    request.cut();
    Outcome::Done
}

/// Why an attempt came to nothing.
struct Failure {
    status: u16,
    line: String,
    /// Nothing of an answer has come.
    may_repeat: bool,
    /// The worker certainly has not acted on the request.
    unread: bool,
    /// Not a byte of it has left.
    unsent: bool,
}

impl Failure {
    fn connect(group: &Group, why: &dyn std::fmt::Display) -> Self {
        let line = format!("WSGI0117: cannot connect to daemon process '{}': {why}", group.name());
        Self { status: 503, line, may_repeat: true, unread: true, unsent: false }
    }

    /// No worker is to be expected.
    fn start(group: &Group, why: &str) -> Self {
        let line = format!(
            "WSGI0117: daemon process '{}' does not start: {why}; the lines before tell the cause, also \
             those of the main server's log",
            group.name()
        );
        Self { status: 503, line, may_repeat: true, unread: true, unsent: false }
    }

    /// The same for a request that has been sent, and that one may read who starts after all.
    fn awaiting(group: &Group, connection: &mut Connection, why: &str) -> Self {
        connection.abort();
        Self { unread: false, ..Self::start(group, why) }
    }

    fn sending(group: &Group, why: &Broken) -> Self {
        if let Broken::TooLong(why) = why {
            let line = format!("WSGI0121: the request cannot be passed to a daemon process: {why}");
            return Self { status: 431, line, may_repeat: false, unread: true, unsent: false };
        }
        let line = format!("WSGI0121: cannot send to daemon process '{}': {why}", group.name());
        let unsent = matches!(why, Broken::Unsent);
        Self { status: 502, line, may_repeat: true, unread: why.is_unread(), unsent }
    }

    fn receiving(group: &Group, connection: &Connection, why: &Broken) -> Self {
        let name = group.name();
        let (status, line) = match why {
            Broken::Timeout => (
                504,
                format!("WSGI0145: daemon process '{name}' did not answer within socket-timeout"),
            ),
            Broken::Refused => (503, format!("WSGI0084: daemon process '{name}' is overloaded")),
            Broken::Malformed(what) => {
                (502, format!("WSGI0148: daemon process '{name}' sent a malformed answer: {what}"))
            }
            Broken::Closed | Broken::Unsent | Broken::TooLong(_) | Broken::Io(_) => (
                502,
                format!(
                    "WSGI0146: daemon process '{name}' closed the connection before it answered"
                ),
            ),
        };
        let may_repeat = connection.is_silent() && (why.is_end() || matches!(why, Broken::Refused));
        Self { status, line, may_repeat, unread: why.is_unread(), unsent: false }
    }

    /// The worker did not answer in time.
    const fn is_late(&self) -> bool {
        self.status == 504
    }

    /// The same, with what is known of the worker's death.
    fn explained(mut self, lease: &WorkerLease<'_>) -> Self {
        if self.status == 502
            && let Some(cause) = lease.exit_description()
        {
            self.line = format!("{}: {cause}", self.line);
        }
        self
    }

    fn answer(&self, request: &Request<'_>) -> Outcome {
        request.log(Level::Error, self.line.as_bytes());
        Outcome::Status(self.status)
    }
}

/// The request body on its way.
struct Body<'call> {
    reader: RequestBody<'call>,
    /// All that has been read, as long as that is not much.
    held: Vec<u8>,
    whole: bool,
    /// It is short: it is not passed on before all of it is here.
    short: bool,
    ended: bool,
}

impl<'call> Body<'call> {
    fn new(request: &Request<'call>) -> Self {
        let headers = request.headers_in();
        let length = match headers.get(c"Transfer-Encoding") {
            Some(_) => None,
            None => headers.get(c"Content-Length").map_or(Some(0), |length| {
                std::str::from_utf8(length).ok().and_then(|length| length.parse().ok())
            }),
        };
        let reader = RequestBody::new(request);
        Self {
            held: Vec::new(),
            whole: true,
            short: length.is_some_and(|length| length <= HELD),
            ended: length == Some(0) || reader.has_ended(),
            reader,
        }
    }

    /// Reads what is to be here before a worker is chosen.
    fn fill(&mut self, request: &mut Request<'call>) -> Result<(), ReadError> {
        while !self.ended && self.held.len() < HELD {
            let length = self.held.len();
            self.held.resize(HELD, 0);
            let room = self.held.get_mut(length..).unwrap_or_default();
            // httpd says `100 Continue` only to those who wait.
            let read = if self.short || length == 0 && request.expects_continue() {
                self.reader.read_all_there_is(request, room).map(Some)
            } else {
                self.reader.read_now(request, room)
            };
            let count = read.as_ref().map_or(0, |count| count.unwrap_or(0));
            self.held.truncate(length + count);
            if read?.is_none() {
                break;
            }
            self.ended = count == 0 || self.reader.has_ended();
        }
        Ok(())
    }

    /// An input filter that changes the length of a body takes `Content-Length` away (mod_deflate). If all of
    /// it is here, its true length is known, and applications that go by `CONTENT_LENGTH` find it.
    fn declare(&self, request: &Request<'call>) {
        if self.short && self.ended && !self.held.is_empty() {
            request.declare_length(self.held.len());
        }
    }

    /// Reads another piece if there is one, and says where it lies and whether it is the last. Never waits.
    fn next(&mut self, request: &mut Request<'call>) -> Result<Option<BodyChunk<'_>>, ReadError> {
        if !self.whole || self.held.len() >= HELD {
            self.whole = false;
            self.held = Vec::new();
            let Some(piece) = self.reader.read_without_copy(request, PIECE)? else {
                return Ok(None);
            };
            self.ended = piece.ended;
            return Ok(Some(piece));
        }
        let length = self.held.len();
        self.held.resize(HELD, 0);
        let room = self.held.get_mut(length..).unwrap_or_default();
        let read = self.reader.read_now(request, room);
        let count = read.as_ref().map_or(0, |count| count.unwrap_or(0));
        self.held.truncate(length + count);
        if read?.is_none() {
            return Ok(None);
        }
        self.ended = count == 0 || self.reader.has_ended();
        let piece = self.held.get(length..);
        Ok(piece.map(|piece| BodyChunk { slices: vec![piece], ended: self.ended }))
    }

    /// Whether all that has been read is still here.
    const fn is_replayable(&self) -> bool {
        self.whole
    }
}

fn refuse_body(request: &mut Request<'_>, why: &ReadError) -> Outcome {
    request.give_up_body();
    let line = format!("WSGI0126: the request body cannot be read: {why}");
    let level = if matches!(why, ReadError::Other(_)) { Level::Error } else { Level::Debug };
    request.log(level, line.as_bytes());
    Outcome::Status(why.status())
}

/// Whether httpd answers in the application's place (`WSGIErrorOverride`).
fn is_overridden(settings: &Settings<'_>, status: u16) -> bool {
    error_override::applies(settings, status)
}
