//! One request and the workers it is sent to, one after the other, until one of them has answered.
//! It must never know a record of the wire.
#![forbid(unsafe_code)]

use super::attempt::{Answer, Attempt, Switched};
use super::body::{Body, refuse_gathering};
use super::failure::{Failure, note_client};
use super::group::{CLIENT_IDLE_TIME, Group};
use super::lease::WorkerLease;
use super::params::Params;
use super::passed_over::PassedOver;
use super::relay_buffers::RelayBuffers;
use super::stream;
use super::upgrade::Upgrade;
use crate::application::Application;
use crate::config::{ScriptReloading, Settings};
use crate::failure_flag::{Flag, Note};
use crate::httpd::{Outcome, PassError, Request};
use group_config::Interface;
use scoreboard::now;
use std::io;
use std::time::{Duration, Instant};
use wsgi::Level;

/// The interval at which a request is sent again that waits for new code.
const NEW_CODE_POLL: Duration = Duration::from_millis(25);
/// How often a request is sent to another worker although the one before may have died of it.
const MAX_REPLAYS: usize = 1;

/// Serves `request` in a process of `group`.
pub(crate) fn serve(
    request: &mut Request<'_>,
    settings: &Settings<'_>,
    application: &Application<'_>,
    group: &'static Group,
) -> Outcome {
    match Upgrade::prepare(request, settings, group) {
        Ok(None) => deliver(request, settings, application, group, None),
        Ok(upgrade) => {
            let outcome = deliver(request, settings, application, group, upgrade);
            Upgrade::refused(request, outcome)
        }
        Err(refused) => refused,
    }
}

/// Has the request served; one that asks for a WebSocket may become that.
fn deliver(
    request: &mut Request<'_>,
    settings: &Settings<'_>,
    application: &Application<'_>,
    group: &'static Group,
    upgrade: Option<Upgrade>,
) -> Outcome {
    // Of an application of ASGI it is known when it asks for the body, and a client may be told more than once.
    let is_awaited = group.definition().config.interface != Interface::Wsgi;
    let takes_interim = is_awaited && request.takes_interim_responses();
    let mut body = Body::new(request, group.request_buffer_size(), takes_interim);
    if let Err(why) = body.fill(request) {
        return refuse_gathering(request, &why);
    }
    body.set_content_length(request);
    // From here on, since a client that is slow with its body has not waited for a worker.
    let queued = scoreboard::now();
    let mut params = Params::of(request, settings, application, &group.plan, wsgi::epoch_micros());
    if upgrade.is_some() {
        params.set_websocket();
    }
    if body.is_withheld() {
        params.set_continue();
    }
    if takes_interim && upgrade.is_none() {
        params.set_early_hints();
    }
    // A client that does not read its response ties up a worker: it may have a limit of its own.
    let before = group
        .response_timeout()
        .and_then(|limit| request.set_client_timeout(i64::try_from(limit.as_micros()).ok()?));
    let buffers = RelayBuffers::take();
    let mut delivery = Delivery { request, settings, group, params, body, buffers, queued };
    delivery.wait_for_new_code();
    let answer = delivery.run();
    delivery.params.return_buffers();
    delivery.buffers.put_back();
    if let Some(before) = before {
        request.set_client_timeout(before);
    }
    match answer {
        Answer::Here(outcome) => outcome,
        // The worker is free by now: it may be the one that answers the other path.
        Answer::Outdated | Answer::NotLoaded(_) => Outcome::Status(503),
        Answer::At(location) => request.redirect(&location),
        Answer::Switched(Switched { fields, tunnel }) => match (upgrade, tunnel) {
            (Some(upgrade), Some(tunnel)) => upgrade.carry(request, tunnel, &fields, group),
            // It has been asked for, and has its connection.
            (None, _) | (_, None) => Outcome::Status(502),
        },
    }
}

/// Whether the request may be sent to another worker after this `failure`; it has been `replayed` so often although
/// a worker may have died of it.
fn may_repeat(
    attempt: &Attempt<'_, '_>,
    failure: &Failure,
    replayed: usize,
    deadline: Instant,
) -> bool {
    failure.may_repeat
        && attempt.is_replayable()
        && (failure.unread
            || attempt.is_get_or_head()
                && replayed <= MAX_REPLAYS
                && attempt.await_two_workers(deadline))
}

/// Whether there is another worker for a request that has got this answer, because its script cannot be loaded.
fn may_pass_over(attempt: &Attempt<'_, '_>, answer: &Answer, passed_over: &mut PassedOver) -> bool {
    let Answer::NotLoaded(failed) = answer else { return false };
    attempt.is_replayable()
        && passed_over.note_not_loaded(attempt.lease.slot(), *failed, attempt.group())
}

/// A request on its way to the workers of its group.
struct Delivery<'a, 'call> {
    request: &'a mut Request<'call>,
    settings: &'a Settings<'a>,
    group: &'static Group,
    params: Params<'a>,
    body: Body<'call>,
    buffers: Box<RelayBuffers>,
    /// When the request began to wait, in microseconds of [`scoreboard::now`].
    queued: u64,
}

impl Delivery<'_, '_> {
    /// Sends the request to a worker, and if need be to others: a worker that goes away before it answers is
    /// replaced, and the next one gets the request.
    fn run(&mut self) -> Answer {
        let group = self.group;
        let mut deadline = self.connect_deadline();
        let (mut failed, mut replayed) = (0, 0);
        let mut passed_over = PassedOver::default();
        loop {
            // What ended in a slot before it was chosen again did not end by this attempt.
            let since = if failed > 0 { scoreboard::now() } else { self.queued };
            let lease = WorkerLease::choose(group, &passed_over, failed > 0, since);
            // The lease is of the worker with the best prospects: the others have none either.
            if let Some(why) = lease.start_block() {
                return self.refuse(&Failure::start(group.name(), &why));
            }
            let connection = match lease.connect(deadline) {
                Ok(connection) => connection,
                // The configuration has changed, and this child still has the old one.
                Err(why) if failed < group.attempts() && why.kind() == io::ErrorKind::NotFound => {
                    failed += 1;
                    passed_over.note_missing(lease.slot());
                    continue;
                }
                Err(_) if stream::have_ended() => return self.end(),
                Err(why) => return self.refuse(&Failure::connect(group.name(), &why)),
            };
            let (request, body, memory) = (&mut *self.request, &mut self.body, &mut self.buffers);
            let mut attempt = Attempt::new(request, self.settings, lease, connection, body, memory);
            let failure = match attempt.run(&self.params) {
                Ok(answer) => {
                    let has_another = may_pass_over(&attempt, &answer, &mut passed_over);
                    let answer = attempt.finish(answer, self.params.queued());
                    if let Some(answer) = self.settle(answer, has_another) {
                        return answer;
                    }
                    deadline = self.connect_deadline();
                    continue;
                }
                Err(failure) => failure,
            };
            if stream::have_ended() {
                drop(attempt);
                return self.end();
            }
            // An idle connection that the worker had closed says nothing about the worker of today.
            if failure.unsent && attempt.is_on_used_connection() {
                continue;
            }
            attempt.give_up_worker(&failure);
            // The request itself may be what ends workers.
            replayed += usize::from(!failure.unread);
            failed += 1;
            if failed < group.attempts() && may_repeat(&attempt, &failure, replayed, deadline) {
                drop(attempt);
                let Some(answer) = self.retry() else { continue };
                return answer;
            }
            let failure = failure.with_cause(|| attempt.exit_cause());
            drop(attempt);
            return self.refuse(&failure);
        }
    }

    /// The answer, unless the request is to be sent again. `has_another`: there is another worker for one that could
    /// not be served by its worker.
    fn settle(&mut self, answer: Answer, has_another: bool) -> Option<Answer> {
        match answer {
            Answer::Outdated => {
                self.await_new_code();
                self.abandon()
            }
            Answer::NotLoaded(_) if has_another => self.retry(),
            Answer::NotLoaded(failed) => {
                let status = self.settings.error_status(failed.status);
                Some(self.refuse(&Failure::not_loaded(self.group.name(), status)))
            }
            Answer::Here(_) | Answer::At(_) | Answer::Switched(_) => Some(answer),
        }
    }

    /// Has the request go to another worker; the answer where there is no use for that.
    fn retry(&mut self) -> Option<Answer> {
        Flag::Retried.note();
        self.params.restart_queue_clock();
        self.abandon()
    }

    /// Gives up a request that is to be sent again, if its client has left; what has become of it then. Not at once: a client
    /// that has closed its side only is not told from one that has left.
    fn abandon(&mut self) -> Option<Answer> {
        let waited = Duration::from_micros(now().saturating_sub(self.queued));
        let has_left =
            waited > CLIENT_IDLE_TIME && self.request.client_socket().is_some_and(sys::has_ended);
        has_left.then(|| {
            self.request.mark_aborted();
            note_client(PassError::Aborted);
            Answer::Here(self.request.outcome(Err(PassError::Aborted)))
        })
    }

    fn connect_deadline(&self) -> Instant {
        Instant::now() + self.group.definition().forwarding.connect_timeout
    }

    /// Lets the request wait for a worker with new code if there is one to come (`WSGIScriptReloading Wait`). It has
    /// to be complete: a worker may give it back.
    fn wait_for_new_code(&mut self) {
        if self.settings.script_reloading == ScriptReloading::Wait && self.body.is_complete() {
            self.params.wait_for_new_code();
        }
    }

    /// A worker with old code has given the request back. When it has waited as long as a worker may take to start, the next
    /// worker answers with what it has.
    fn await_new_code(&mut self) {
        Flag::Outdated.note();
        let since = self.params.waiting_since().filter(|since| *since > 0).unwrap_or_else(now);
        std::thread::sleep(NEW_CODE_POLL);
        let limit = self.group.start_timeout().as_micros();
        let over = u128::from(now().saturating_sub(since)) > limit;
        self.params.restart_waiting_since((!over).then_some(since));
    }

    /// httpd stops without grace, and has closed the connection to the client, too.
    fn end(&self) -> Answer {
        let name = self.group.name();
        let line = format!("httpd stops before daemon process '{name}' has answered");
        Flag::Stopping.note();
        self.request.log(Level::Info, line.as_bytes());
        Answer::Here(Outcome::Status(503))
    }

    fn refuse(&self, failure: &Failure) -> Answer {
        failure.flag.note();
        let line = format!("{} [{}]", failure.line, failure.flag.code());
        self.request.log(Level::Error, line.as_bytes());
        Answer::Here(Outcome::Status(failure.status))
    }
}
