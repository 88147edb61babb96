//! Serving a request in a daemon process: the request goes out as FastCGI, the answer comes back and is
//! relayed. Which processes there are is the supervisor's affair; Python is nobody's here.
#![forbid(unsafe_code)]

mod claims;
mod connection;
mod group;
mod params;
mod relay;

pub(crate) use claims::Claims;
pub(crate) use group::{Board, Group, GroupPlan};

use crate::config::Settings;
use crate::error_override;
use crate::handler::Application;
use crate::httpd::{Outcome, Request, RequestBody};
use connection::{Broken, Connection};
use relay::{Ending, Relay, Relayed};
use std::io;
use std::time::Instant;
use wsgi::{Level, ReadError};

/// How much of a body is read before a worker is chosen: a slow client then ties up no worker, and a
/// request that has not been answered can be sent again.
const HELD: usize = 64 * 1024;
/// Bytes that the params of most requests take.
const PARAMS: usize = 4096;
/// How often a request goes to another worker although the one before may have died of it.
const RISKED: usize = 2;

/// Serves `request` in a process of `group`.
pub(crate) fn serve(
    request: &mut Request<'_>,
    settings: &Settings<'_>,
    application: &Application<'_>,
    group: &Group,
) -> Outcome {
    let queued = scoreboard::now();
    let mut body = Body::new(request);
    if let Err(why) = body.fill(request) {
        return refuse_body(request, &why);
    }
    let mut sent = Vec::with_capacity(PARAMS);
    let queued_at = i64::try_from(queued).unwrap_or(0);
    if let Err(why) = params::write(request, settings, application, group, queued_at, &mut sent) {
        let line = format!("WSGI0121: the request cannot be passed to a daemon process: {why}");
        request.log(Level::Error, line.as_bytes());
        return Outcome::Status(431);
    }
    // A client that does not take its answer ties up a worker: it may have its own limit.
    let before = group
        .response_timeout()
        .and_then(|limit| request.set_client_timeout(i64::try_from(limit.as_micros()).ok()?));
    let ending = attempt(request, settings, group, &sent, &mut body, queued);
    if let Some(before) = before {
        request.set_client_timeout(before);
    }
    match ending {
        Ending::Outcome(outcome) => outcome,
        Ending::Elsewhere(path) => {
            request.answer_with(&path);
            Outcome::Done
        }
    }
}

/// Sends the request to a worker, and if need be to others.
fn attempt<'call>(
    request: &mut Request<'call>,
    settings: &Settings<'_>,
    group: &Group,
    sent: &[u8],
    body: &mut Body<'call>,
    queued: u64,
) -> Ending {
    // A worker that goes away before it answers is replaced; the next one gets the request.
    let patience = Instant::now() + group.definition().connect_timeout;
    let (mut failed, mut risked, mut missing) = (0, 0, None);
    loop {
        let lease = group.choose(missing, failed > 0, queued);
        let mut connection = match lease.connect(patience) {
            Ok(connection) => connection,
            // The configuration has changed, and this child still has the old one.
            Err(why) if failed < group.attempts() && why.kind() == io::ErrorKind::NotFound => {
                failed += 1;
                missing = Some(lease.slot());
                continue;
            }
            Err(why) => return Failure::connect(group, &why).answer(request).into(),
        };
        let lost = || lease.obituary(queued);
        match exchange(request, settings, group, &mut connection, sent, body, &lost) {
            Ok(ending) => {
                lease.finish(connection);
                return ending;
            }
            // The worker had closed a connection that was kept: that says nothing of the worker there is.
            Err(failure) if failure.unsent && connection.is_used() => {}
            Err(failure) => {
                // Perhaps it is the request that ends workers.
                risked += usize::from(!failure.unread);
                failed += 1;
                let again = failed < group.attempts()
                    && failure.may_repeat
                    && body.is_replayable()
                    && (failure.unread || request.is_get_or_head() && risked <= RISKED);
                if !again {
                    return failure.explained(lost).answer(request).into();
                }
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
    params: &[u8],
    body: &mut Body<'call>,
    lost: &dyn Fn() -> Option<String>,
) -> Result<Ending, Failure> {
    connection
        .send_request(params, &body.held, body.ended)
        .map_err(|why| Failure::sending(group, &why))?;
    let mut relay = Relay::new(settings, group);
    while !body.ended {
        // An application may answer before it has all of the body.
        if connection.has_input()
            && let Some(done) = step(request, group, connection, &mut relay, lost)?
        {
            return Ok(done);
        }
        match body.next(request) {
            Ok(piece) => {
                connection
                    .send_body(piece)
                    .map_err(|why| Failure::sending(group, &why).final_one())?;
            }
            Err(why) => {
                connection.abort();
                if relay.has_head() {
                    relay.let_go(request);
                    request.cut();
                    return Ok(Outcome::Done.into());
                }
                return Ok(refuse_body(request, &why).into());
            }
        }
    }
    loop {
        if let Some(done) = step(request, group, connection, &mut relay, lost)? {
            return Ok(done);
        }
    }
}

/// Relays what has come; `Some` at the end.
fn step(
    request: &mut Request<'_>,
    group: &Group,
    connection: &mut Connection,
    relay: &mut Relay<'_>,
    lost: &dyn Fn() -> Option<String>,
) -> Result<Option<Ending>, Failure> {
    match relay.step(request, connection) {
        Ok(Relayed::More) => Ok(None),
        Ok(Relayed::Complete(ending)) => Ok(Some(ending)),
        Ok(Relayed::Gone) => {
            connection.abort();
            Ok(Some(Outcome::Done.into()))
        }
        Err(why) if relay.has_head() => {
            // What there is goes to the client before anybody looks for the cause.
            connection.abort();
            relay.let_go(request);
            let cause = why.is_end().then(lost).flatten();
            let cause = cause.unwrap_or_else(|| why.to_string());
            let line = format!(
                "WSGI0119: daemon process '{}' broke off its answer: {cause}",
                group.name()
            );
            request.log(Level::Error, line.as_bytes());
            request.cut();
            Ok(Some(Outcome::Done.into()))
        }
        Err(why) => Err(Failure::receiving(group, connection, &why)),
    }
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

    fn sending(group: &Group, why: &Broken) -> Self {
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
            Broken::Closed | Broken::Unsent | Broken::Io(_) => (
                502,
                format!(
                    "WSGI0146: daemon process '{name}' closed the connection before it answered"
                ),
            ),
        };
        let may_repeat = connection.is_silent() && (why.is_end() || matches!(why, Broken::Refused));
        Self { status, line, may_repeat, unread: why.is_unread(), unsent: false }
    }

    /// The same, with what is known of the worker's death.
    fn explained(mut self, lost: impl Fn() -> Option<String>) -> Self {
        if self.status == 502
            && let Some(cause) = lost()
        {
            self.line = format!("{}: {cause}", self.line);
        }
        self
    }

    /// The same, not to be tried again.
    fn final_one(mut self) -> Self {
        self.may_repeat = false;
        self.unsent = false;
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
    held: Vec<u8>,
    /// Pieces beyond the held ones have gone out.
    moved_on: bool,
    ended: bool,
}

impl<'call> Body<'call> {
    fn new(request: &Request<'call>) -> Self {
        let headers = request.headers_in();
        let none = headers.get(c"Transfer-Encoding").is_none()
            && headers.get(c"Content-Length").is_none_or(|length| length == b"0");
        Self { reader: RequestBody::new(), held: Vec::new(), moved_on: false, ended: none }
    }

    /// Reads the first part.
    fn fill(&mut self, request: &mut Request<'call>) -> Result<(), ReadError> {
        while !self.ended && self.held.len() < HELD {
            let length = self.held.len();
            self.held.resize(HELD, 0);
            let room = self.held.get_mut(length..).unwrap_or_default();
            let read = self.reader.read_all_there_is(request, room);
            self.held.truncate(length + read.as_ref().copied().unwrap_or(0));
            self.ended = read? == 0 || self.reader.has_ended();
        }
        Ok(())
    }

    /// Reads another piece; an empty one is the end.
    fn next(&mut self, request: &mut Request<'call>) -> Result<&[u8], ReadError> {
        self.moved_on = true;
        self.held.resize(HELD, 0);
        let read = self.reader.read_all_there_is(request, &mut self.held)?;
        self.held.truncate(read);
        self.ended = read == 0;
        Ok(&self.held)
    }

    /// Whether all that has been read is still here.
    const fn is_replayable(&self) -> bool {
        !self.moved_on
    }
}

fn refuse_body(request: &Request<'_>, why: &ReadError) -> Outcome {
    let line = format!("WSGI0126: the request body cannot be read: {why}");
    let level = if matches!(why, ReadError::Other(_)) { Level::Error } else { Level::Debug };
    request.log(level, line.as_bytes());
    Outcome::Status(why.status())
}

/// Whether httpd answers in the application's place (`WSGIErrorOverride`).
fn is_overridden(request: &Request<'_>, settings: &Settings<'_>, status: u16) -> bool {
    error_override::applies(request, settings, status)
}
