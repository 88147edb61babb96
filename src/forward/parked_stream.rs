//! A response that goes on without a thread of httpd: its worker is silent, and the hub relays what comes later, without
//! ever waiting. It must never know another response.
#![forbid(unsafe_code)]

use super::connection::Connection;
use super::connection_error::ConnectionError;
use super::failure::log_failure;
use super::group::{CLIENT_IDLE_TIME, Group};
use super::lease::{EXIT_POLL, WorkerLease};
use super::passed_file::{PassedFile, PassedFileError, WrongFile};
use super::relay_error::RelayError;
use super::response_body::{Piece, ResponseBody, Rest, outcome, times_since};
use super::stream;
use super::unlogged::Unlogged;
use crate::apr::Brigade;
use crate::failure_flag::{Flag, Flags, Note};
use crate::httpd::{Outcome, Parked, PassError, Request, Suspended};
use crate::hub::{self, EarlyEnd, Place, Ready, Session, Step, Waker, Wants};
use crate::request_outcome::conclude;
use crate::request_times::RequestTimes;
use fastcgi::{Answer, ProtocolStatus, app_status};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use wsgi::Level;

/// The media type of responses that are known to go on for long, and whose clients come back by themselves.
const EVENT_STREAM: &[u8] = b"text/event-stream";
/// How long a worker may be silent before the thread leaves an event stream.
const STREAM_IDLE_TIME: Duration = Duration::from_millis(20);
/// The same for any other response. To leave it costs the connection, over which another request might come.
const OTHER_IDLE_TIME: Duration = Duration::from_secs(1);
/// Lines that are logged before others have their turn: one read may bring as many as it has bytes, and each is a write(2).
const LINES: usize = 32;

/// How long the worker may be silent before the thread of this `request` leaves.
pub(super) fn idle_time(request: &Request<'_>) -> Duration {
    match request.has_content_type(EVENT_STREAM) {
        true => STREAM_IDLE_TIME,
        false => OTHER_IDLE_TIME,
    }
}

/// Leaves the rest of a response to the hub. `queued` is when the request began to wait, in microseconds since the epoch.
pub(super) fn park(
    request: &mut Request<'_>,
    (lease, mut connection): (WorkerLease<'static>, Box<Connection>),
    mut body: ResponseBody<'static, ()>,
    place: Place,
    queued: i64,
) -> Outcome {
    debug_assert!(request.is_head_out(), "a response without a head is suspended");
    body.output.never_wait();
    let reconnects = request.is_get_or_head() && request.has_content_type(EVENT_STREAM);
    let group = lease.group();
    let (client_limit, worker_limit) = (group.response_timeout(), group.worker_timeout());
    let flags = Flags::so_far();
    request.suspend(move |found| {
        let client = match found {
            Suspended::Parked(client) => client,
            Suspended::Broken(request) => {
                connection.send_abort();
                return conclude_left(request, group, flags, times_since(queued, None));
            }
        };
        let default = client.timeout().unwrap_or_else(|| group.client_timeout());
        let stream = ParkedStream {
            group,
            lease: Some(lease),
            connection: Some(connection),
            body: Some(body),
            file: None,
            waker: None,
            reconnects,
            ending: None,
            has_read: false,
            errors: Unlogged::default(),
            more_since: None,
            failure: None,
            is_done: false,
            is_full: false,
            moved: Instant::now(),
            heard: Instant::now(),
            looks_at_client: false,
            flags,
            queued,
            times: None,
            behind_since: None,
            client_limit: client_limit.unwrap_or(default),
            worker_limit,
        };
        hub::submit(client, Box::new(stream), place);
    })
}

/// A response whose head is known.
struct ParkedStream {
    group: &'static Group,
    /// As long as the worker serves it, or the cause of its failure is looked for.
    lease: Option<WorkerLease<'static>>,
    /// Until the worker has sent the end, or has failed.
    connection: Option<Box<Connection>>,
    /// Lent to the step that runs.
    body: Option<ResponseBody<'static, ()>>,
    /// What is left of the worker's file. It is read as the client takes it.
    file: Option<PassedFile>,
    waker: Option<Waker>,
    /// The client connects anew when the stream breaks off: a `GET` of an event stream, as `EventSource` sends it. What reads
    /// such a response to another method does not come back, and may take half of it for all.
    reconnects: bool,
    /// What has been read from the worker has yet to be relayed: a file comes first, or others do.
    has_read: bool,
    /// What has yet to be logged of the worker's standard error.
    errors: Unlogged,
    /// Since when lines have yet to be logged, after as many as are logged at once.
    more_since: Option<Instant>,
    /// Nothing more comes from the worker; the end waits for the client.
    ending: Option<Rest>,
    failure: Option<WorkerFailure>,
    /// The connection to the worker is to be given back.
    is_done: bool,
    /// No more is to be read from the worker.
    is_full: bool,
    /// When the worker last brought the response on.
    moved: Instant,
    /// When the worker last sent something for the client, or the client caught up: since then the worker is what is waited for.
    heard: Instant,
    /// The worker has been silent for so long that the client may have left.
    looks_at_client: bool,
    /// Since when the client has taken nothing of what waits for it.
    behind_since: Option<Instant>,
    client_limit: Duration,
    worker_limit: Duration,
    flags: Flags,
    queued: i64,
    /// How long the request has waited for its worker, as that says, and when the response ended; in microseconds.
    times: Option<(u64, i64)>,
}

/// The worker has failed, and its exit is waited for, which tells why.
struct WorkerFailure {
    why: ConnectionError,
    since: Instant,
    /// When it is looked for next.
    look: Instant,
}

type Body<'call> = ResponseBody<'static, Brigade<'call>>;

impl ParkedStream {
    /// Does what can be done without waiting.
    fn step<'call>(
        &mut self,
        request: &mut Request<'call>,
        body: &mut Body<'call>,
        ready: Ready,
        now: Instant,
    ) -> Step {
        let has_left = ready.half_closed && self.awaits_worker() && self.looks_at_client;
        if ready.gone || has_left || self.client_deadline().is_some_and(|at| at <= now) {
            return self.abandon(request);
        }
        if ready.writable {
            self.behind_since = None;
            if let Err(why) = body.output.pass_backlog(request) {
                return self.client_failed(request, why);
            }
        }
        let read = match ready.worker && self.reads() {
            true => self.read(request, body, now),
            false if self.silence_deadline().is_some_and(|at| at <= now) => {
                Err(ConnectionError::Timeout.into())
            }
            false => self.relay(request, body, now),
        };
        match read {
            Ok(()) => {}
            Err(RelayError::Client(why)) => return self.client_failed(request, why),
            Err(RelayError::Worker(why)) => self.worker_failed(why, now),
            Err(RelayError::Unread | RelayError::Silent) => {}
        }
        self.report_failure(request, now);
        match self.ending {
            Some(rest) if !body.output.is_client_behind() && self.file.is_none() => {
                let passed = body.pass_end(request, rest);
                outcome(request, passed);
                Step::Over
            }
            _ => Step::Open,
        }
    }

    /// Reads once and relays what has come.
    fn read<'call>(
        &mut self,
        request: &mut Request<'call>,
        body: &mut Body<'call>,
        now: Instant,
    ) -> Result<(), RelayError> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        match connection.read_now() {
            Err(ConnectionError::Timeout) => return Ok(()),
            read => read?,
        }
        self.has_read = true;
        self.relay(request, body, now)
    }

    /// Relays what has been read, up to a file whose turn it is: what comes after the file may not overtake it.
    fn relay<'call>(
        &mut self,
        request: &mut Request<'call>,
        body: &mut Body<'call>,
        now: Instant,
    ) -> Result<(), RelayError> {
        let (before, mut lines) = (body.written, LINES);
        self.more_since = None;
        self.pass_file(request, body, now)?;
        while self.has_read && self.file.is_none() {
            if lines == 0 {
                self.more_since = Some(now);
                break;
            }
            if self.errors.log_line(request, body) {
                lines -= 1;
                continue;
            }
            let Some(connection) = &mut self.connection else { break };
            let Some(piece) = next_piece(request, body, connection)? else {
                self.has_read = false;
                break;
            };
            lines -= usize::from(matches!(piece, Piece::Log(..)));
            self.relay_piece(request, body, piece, now)?;
        }
        if body.written != before {
            (self.moved, self.heard) = (now, now);
        }
        if body.output.unflushed() > 0 {
            body.output.flush(request)?;
        }
        Ok(())
    }

    /// Relays a piece that is no bytes of the response.
    fn relay_piece<'call>(
        &mut self,
        request: &mut Request<'call>,
        body: &mut Body<'call>,
        piece: Piece,
        now: Instant,
    ) -> Result<(), RelayError> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        match piece {
            Piece::Log(level, line) => {
                request.log_of_group(self.group.log_level(), level, &line);
            }
            Piece::Error(text) => self.errors = Unlogged::new(text),
            // The request body has been read, and behind the head there is no place for hints.
            Piece::BodyWanted | Piece::EarlyHints(_) => {}
            Piece::File(span) => {
                self.file = Some(body.take_file_unseen(request, connection, span)?);
                self.pass_file(request, body, now)?;
            }
            Piece::End { protocol_status, app_status, queue_time } => {
                self.times = Some((queue_time, wsgi::epoch_micros()));
                body.finish_errors(request);
                if protocol_status != ProtocolStatus::RequestComplete {
                    return Err(ConnectionError::Refused.into());
                }
                if app_status == app_status::ABORTED {
                    connection.mark_closing();
                }
                self.ending = Some(body.rest(app_status));
                (self.is_done, self.has_read) = (true, false);
            }
        }
        Ok(())
    }

    /// Passes on what has been read of the worker's file, and has the next piece read, unless the client is behind.
    fn pass_file<'call>(
        &mut self,
        request: &mut Request<'call>,
        body: &mut Body<'call>,
        now: Instant,
    ) -> Result<(), RelayError> {
        let (Some(file), Some(waker)) = (&mut self.file, self.waker) else { return Ok(()) };
        if body.output.is_client_behind() {
            return Ok(());
        }
        if let Some(read) = file.take() {
            let piece = read.map_err(|why| file_failed(request, self.group, &why))?;
            let is_last = file.is_at_end();
            // What has been read is what the worker has sent.
            self.heard = now;
            if is_last {
                self.file = None;
            }
            body.output.write(request, &piece, 0)?;
            body.output.flush(request)?;
            if is_last || body.output.is_client_behind() {
                return Ok(());
            }
        } else if file.deadline(self.worker_limit).is_some_and(|at| at <= now) {
            let what = format!("nothing of it has been read for {} s", self.worker_limit.as_secs());
            let why = io::Error::new(io::ErrorKind::TimedOut, what);
            return Err(file_failed(request, self.group, &PassedFileError::Io(why)));
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.read_on(now, move || waker.wake())
            .map_err(|why| file_failed(request, self.group, &why))
    }

    /// The client takes no more.
    fn client_failed(&mut self, request: &mut Request<'_>, why: PassError) -> Step {
        self.abort();
        outcome(request, Err(why));
        Step::Over
    }

    /// The client has left.
    fn abandon(&mut self, request: &Request<'_>) -> Step {
        self.abort();
        Flag::ClientLeft.note();
        request.mark_aborted();
        Step::Over
    }

    /// Tells the worker that the response is of no more use.
    fn abort(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.send_abort();
        }
    }

    /// The connection to the worker is of no more use. The client sees that the response is incomplete, after the cause has
    /// been looked for.
    fn worker_failed(&mut self, why: ConnectionError, now: Instant) {
        self.abort();
        if matches!(why, ConnectionError::NoDescriptor) {
            self.group.drop_every_idle();
        }
        (self.is_done, self.has_read, self.file) = (true, false, None);
        self.failure = Some(WorkerFailure { why, since: now, look: now });
    }

    /// Logs why the worker has failed once that is known, and has the response broken off.
    fn report_failure(&mut self, request: &Request<'_>, now: Instant) {
        let Some(failure) = self.failure.as_mut().filter(|failure| failure.look <= now) else {
            return;
        };
        let lease = self.lease.as_ref().filter(|_| failure.why.is_end() && !stream::have_ended());
        let awaited = now.saturating_duration_since(failure.since);
        failure.look = now + exit_pause(awaited);
        let exit = match lease.map(|lease| lease.exit_report(awaited)) {
            Some(ControlFlow::Continue(())) => return,
            Some(ControlFlow::Break(exit)) => exit,
            None => None,
        };
        if stream::have_ended() {
            Flag::Stopping.note();
        } else {
            log_failure(request, self.group.name(), &failure.why, exit);
        }
        (self.failure, self.lease) = (None, None);
        self.ending = Some(Rest::Broken);
    }

    /// Has the request counted and logged as what it has become.
    fn conclude(&self, request: &Request<'_>) {
        let times = times_since(self.queued, self.times);
        conclude(request, Outcome::Done, Some(self.group.plan()), self.flags, times);
    }

    /// Whether the worker is what is waited for, and not the client, which takes what has come. One that reads has not left,
    /// whether or not it is going to send more.
    const fn awaits_worker(&self) -> bool {
        self.ending.is_none() && self.file.is_none() && self.behind_since.is_none()
    }

    /// When the client has taken nothing for too long.
    fn client_deadline(&self) -> Option<Instant> {
        self.behind_since.map(|since| since + self.client_limit)
    }

    /// Whether more is to be read from the worker.
    const fn reads(&self) -> bool {
        self.connection.is_some() && !self.is_full && self.more_since.is_none()
    }

    /// When the worker has sent nothing of the response for too long.
    fn silence_deadline(&self) -> Option<Instant> {
        let reads = self.connection.is_some() && !self.is_full;
        reads.then(|| self.moved + self.worker_limit)
    }

    /// Runs `work` with the request and the body, and notes what is left to do.
    fn with_body(
        &mut self,
        client: &mut Parked,
        now: Instant,
        work: impl for<'call> FnOnce(&mut Self, &mut Request<'call>, &mut Body<'call>) -> Step,
    ) -> Step {
        let Some(body) = self.body.take() else { return Step::Over };
        let Some((mut request, brigade)) = client.lend() else { return Step::Over };
        let (mut body, ()) = body.with_brigade(brigade);
        let (outer, was_behind) = (self.flags.resume(), self.behind_since.is_some());
        let step = work(self, &mut request, &mut body);
        self.flags = Flags::end(outer);
        if step == Step::Over {
            self.conclude(&request);
        }
        let (body, _) = body.with_brigade(());
        let is_behind = body.output.is_client_behind();
        self.is_full = body.output.is_full() || self.file.is_some();
        if self.is_full {
            self.moved = now;
        }
        self.body = Some(body);
        if client.push() || is_behind {
            self.behind_since.get_or_insert(now);
        } else if was_behind {
            (self.behind_since, self.heard) = (None, now);
        }
        self.looks_at_client = now >= self.heard + CLIENT_IDLE_TIME;
        if client.is_aborted() && step == Step::Open {
            self.abort();
            if let Some((request, _)) = client.lend() {
                conclude_left(
                    &request,
                    self.group,
                    self.flags,
                    times_since(self.queued, self.times),
                );
            }
            return Step::Over;
        }
        step
    }
}

impl Session<Parked> for ParkedStream {
    fn set_waker(&mut self, waker: Waker) {
        self.waker = Some(waker);
    }

    fn worker(&self) -> Option<BorrowedFd<'_>> {
        self.connection.as_ref().map(|connection| connection.as_fd())
    }

    fn is_done_with_worker(&self) -> bool {
        self.is_done
    }

    fn release_worker(&mut self) {
        if let (Some(connection), Some(lease)) = (self.connection.take(), &self.lease) {
            lease.give_back(connection);
        }
        if self.failure.is_none() {
            self.lease = None;
        }
    }

    fn wants(&self) -> Wants {
        Wants {
            worker: self.reads(),
            writable: self.behind_since.is_some(),
            half_closed: self.looks_at_client && self.awaits_worker(),
            end: true,
            ..Wants::default()
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let look = (!self.looks_at_client).then(|| self.heard + CLIENT_IDLE_TIME);
        let exit = self.failure.as_ref().map(|failure| failure.look);
        // One that waits for its client is not read.
        let file = self.file.as_ref().filter(|_| self.behind_since.is_none());
        let file = file.and_then(|file| file.deadline(self.worker_limit));
        // Not in the same round: others come first.
        let more = self.more_since.map(|at| at + Duration::from_nanos(1));
        let times = [self.silence_deadline(), look, exit, file, more, self.client_deadline()];
        times.into_iter().flatten().min()
    }

    fn advance(&mut self, client: &mut Parked, ready: Ready, now: Instant) -> Step {
        self.with_body(client, now, |stream, request, body| stream.step(request, body, ready, now))
    }

    fn early_end(&self) -> Option<EarlyEnd> {
        // Where the worker has failed the response ends anyway, and the cause is to be told.
        let goes_on = self.ending.is_none() && self.failure.is_none();
        (self.reconnects && goes_on).then_some(EarlyEnd::AnyTime)
    }

    /// Breaks the stream off: a client that has got half of a response is to see so. `EventSource` connects anew either way.
    fn end(&mut self, client: &mut Parked, now: Instant) -> Step {
        if self.early_end().is_none() {
            return Step::Open;
        }
        self.abort();
        (self.is_done, self.has_read, self.file) = (true, false, None);
        self.ending = Some(Rest::Broken);
        self.with_body(client, now, |stream, request, body| {
            Flag::Stopping.note();
            stream.step(request, body, Ready::default(), now)
        })
    }

    fn stop(&mut self, client: &mut Parked) {
        self.abort();
        self.with_body(client, Instant::now(), |_, request, _| {
            Flag::Stopping.note();
            request.cut();
            Step::Over
        });
    }

    fn fail(&mut self, client: &mut Parked, why: &std::io::Error) {
        self.abort();
        self.with_body(client, Instant::now(), |_, request, _| {
            let code = Flag::Cut.code();
            let line = format!("WSGI0258: the response is cut: {why} [{code}]");
            request.log(Level::Error, line.as_bytes());
            Flag::Cut.note();
            request.cut();
            Step::Over
        });
    }
}

/// Has a request counted and logged whose client has left, with what it has had of `flags` before.
fn conclude_left(request: &Request<'_>, group: &Group, flags: Flags, times: RequestTimes) {
    let outer = flags.resume();
    Flag::ClientLeft.note();
    conclude(request, Outcome::Done, Some(group.plan()), Flags::end(outer), times);
}

/// What becomes of a response whose file cannot be sent.
fn file_failed(request: &Request<'_>, group: &Group, why: &PassedFileError) -> RelayError {
    match why {
        PassedFileError::Wrong(what) => {
            if *what == WrongFile::NotRegular {
                group.closer.distrust_group();
            }
            ConnectionError::from(*what).into()
        }
        PassedFileError::Io(why) => {
            let line = format!("WSGI0220: a file cannot be sent: {why}");
            request.log(Level::Error, line.as_bytes());
            PassError::Failed.into()
        }
    }
}

/// How long after a look for a worker's exit, which has been `awaited` so long, the next one follows. A thousand streams of one
/// worker look for the same exit: so each looks some twenty times at most in two seconds.
fn exit_pause(awaited: Duration) -> Duration {
    EXIT_POLL.max(awaited / 4)
}

/// Relays bytes of the response up to the next piece of another kind; `None`: more is to be read first.
fn next_piece<'call>(
    request: &mut Request<'call>,
    body: &mut Body<'call>,
    connection: &mut Connection,
) -> Result<Option<Piece>, RelayError> {
    while let Some(answer) = connection.next()? {
        if let Answer::Stdout(data) = answer {
            body.write(request, data)?;
        } else if let Some(piece) = Piece::of(&answer) {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_of_a_worker_is_looked_for_soon_and_not_often() {
        let (mut awaited, mut looks) = (Duration::ZERO, 0);
        while awaited < Duration::from_secs(2) {
            awaited += exit_pause(awaited);
            looks += 1;
        }
        assert_eq!(exit_pause(Duration::ZERO), EXIT_POLL);
        assert!(looks <= 25, "{looks} looks");
    }
}
