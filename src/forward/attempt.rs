//! One attempt to have a request served: a worker, a connection to it, what is sent and what comes back.
//! It must never know whether there will be another attempt.
#![forbid(unsafe_code)]

use super::body::{Body, refuse_body};
use super::connection::Connection;
use super::connection_error::ConnectionError;
use super::failure::{ExitCause, Failure, log_failure, note_client};
use super::given_back::GivenBack;
use super::group::Group;
use super::lease::{Start, WorkerLease};
use super::params::Params;
use super::parked_stream;
use super::relay::Relay;
use super::relay_buffers::RelayBuffers;
use super::relay_error::RelayError;
use super::stream;
use super::upgrade::Tunnel;
use crate::config::Settings;
use crate::failure_flag::{Flag, Note};
use crate::groups::StartBlock;
use crate::httpd::{Outcome, PassError, Request};
use fastcgi::app_status::NotLoaded;
use std::time::Instant;
use wsgi::ReadError;

/// What a worker has answered.
pub(super) enum Answer {
    /// The response has been relayed, or has failed after its head.
    Here(Outcome),
    /// The worker has old code and is going to be replaced; it has done nothing for the request.
    Outdated,
    /// The worker cannot load the script, and has done nothing for the request.
    NotLoaded(NotLoaded),
    /// The application has accepted a WebSocket.
    Switched(Switched),
    /// The response is to be found at this path of the server (RFC 3875, 6.2.2).
    At(Vec<u8>),
}

/// A WebSocket that the application has accepted.
pub(super) struct Switched {
    /// The application's fields of the 101, each with its end of line.
    pub(super) fields: Vec<u8>,
    /// `None` before [`Attempt::finish`].
    pub(super) tunnel: Option<Tunnel>,
}

/// A request, the worker it is sent to, and the response as far as it has come.
pub(super) struct Attempt<'a, 'call> {
    pub(super) request: &'a mut Request<'call>,
    pub(super) body: &'a mut Body<'call>,
    pub(super) lease: WorkerLease<'static>,
    pub(super) connection: Box<Connection>,
    pub(super) relay: Relay<'a, 'call>,
}

impl<'a, 'call> Attempt<'a, 'call> {
    pub(super) fn new(
        request: &'a mut Request<'call>,
        settings: &'a Settings<'a>,
        lease: WorkerLease<'static>,
        connection: Box<Connection>,
        body: &'a mut Body<'call>,
        buffers: &'a mut RelayBuffers,
    ) -> Self {
        let relay = Relay::new(request, settings, lease.group(), buffers);
        Self { request, body, lease, connection, relay }
    }

    pub(super) const fn group(&self) -> &'static Group {
        self.lease.group()
    }

    /// Sends the request and relays the response.
    pub(super) fn run(&mut self, params: &Params<'_>) -> Result<Answer, Failure> {
        let name = self.group().name();
        // The rest of a body that was sent to another worker is sent again.
        self.body.begin();
        self.relay.expect_websocket(params.asks_for_websocket());
        self.relay.expect_old_code(params.waiting_since().is_some());
        self.relay.expect_request_for_body(self.body.is_withheld());
        let complete = self.body.has_ended();
        self.connection
            .send_request(params, &[self.body.kept()], complete)
            .map_err(|why| Failure::sending(name, &why))?;
        let mut done = None;
        let is_sent = self.body.has_ended() && !self.connection.has_unsent();
        if is_sent || self.body.is_withheld() {
            done = self.await_start()?;
        }
        if done.is_none() && !is_sent {
            done = self.exchange_both_ways()?;
            if done == Some(Outcome::Done) && !self.relay.has_rest() {
                self.request.flush_complete();
            }
        }
        self.relay.allow_parking();
        let outcome = loop {
            match done {
                Some(outcome) => break outcome,
                None => done = self.step()?,
            }
        };
        self.relay.times(params.queued()).note();
        Ok(match self.relay.given_back() {
            Some(GivenBack::Outdated) => Answer::Outdated,
            Some(GivenBack::NotLoaded(failed)) => Answer::NotLoaded(failed),
            None => match (self.relay.take_switched(), self.relay.take_location()) {
                (Some(fields), _) => Answer::Switched(Switched { fields, tunnel: None }),
                (None, Some(location)) => Answer::At(location),
                (None, None) => Answer::Here(outcome),
            },
        })
    }

    /// Waits until the worker serves or answers; `Some` where the client has left meanwhile.
    fn await_start(&mut self) -> Result<Option<Outcome>, Failure> {
        match self.lease.await_start(&self.connection, self.request.client_socket()) {
            Ok(Start::Begun) => Ok(None),
            Ok(Start::TimedOut) => {
                Err(Failure::not_ready(self.group().name(), self.connection.is_silent()))
            }
            Ok(Start::ClientLeft) => {
                self.request.mark_aborted();
                Ok(Some(self.client_gone(PassError::Aborted)))
            }
            Err(why) => Err(self.start_blocked(&why)),
        }
    }

    /// Reads once and relays what has come; `Some` at the end of the response.
    pub(super) fn step(&mut self) -> Result<Option<Outcome>, Failure> {
        match self.relay.step(self.request, &mut self.connection) {
            Ok(done) => Ok(done),
            Err(RelayError::Client(why)) => Ok(Some(self.client_gone(why))),
            Err(RelayError::Worker(why)) => {
                if matches!(why, ConnectionError::NoDescriptor) {
                    self.group().drop_every_idle();
                }
                self.worker_failed(&why).map(Some)
            }
            Err(RelayError::Unread) => self.await_start(),
            Err(RelayError::Silent) => Ok(Some(Outcome::Suspended)),
        }
    }

    /// Passes on what the client takes of what waits for it, without waiting; whether it is behind still.
    ///
    /// # Errors
    /// The outcome, where the client takes no more.
    pub(super) fn pass_backlog(&mut self) -> Result<bool, Outcome> {
        let passed = self.relay.pass_backlog(self.request);
        passed.map_err(|why| self.client_gone(why))
    }

    fn client_gone(&mut self, why: PassError) -> Outcome {
        self.connection.send_abort();
        note_client(why);
        self.request.outcome(Err(why))
    }

    /// Whether the last step has brought the response on.
    pub(super) const fn has_progressed(&self) -> bool {
        self.relay.has_progressed()
    }

    /// The connection to the worker is of no more use. What has been read of the response goes to the client,
    /// which then sees that it is incomplete.
    pub(super) fn worker_failed(&mut self, why: &ConnectionError) -> Result<Outcome, Failure> {
        if !self.relay.has_head() {
            return Err(self.receiving(why));
        }
        // Before the cause is looked for, which may take a moment.
        self.connection.send_abort();
        self.relay.flush_pending(self.request);
        if stream::have_ended() {
            Flag::Stopping.note();
            self.request.cut();
            return Ok(Outcome::Done);
        }
        let exit = why.is_end().then(|| self.lease.exit_cause()).flatten();
        log_failure(self.request, self.group().name(), why, exit);
        self.request.cut();
        Ok(Outcome::Done)
    }

    /// The client does not go on with its body.
    pub(super) fn client_failed(&mut self, why: &ReadError) -> Outcome {
        self.connection.send_abort();
        if !self.relay.has_head() {
            return refuse_body(self.request, why);
        }
        Flag::RequestBody.note();
        Flag::Cut.note();
        self.relay.flush_pending(self.request);
        self.request.cut();
        Outcome::Done
    }

    /// No worker is to be expected any more for a request that has been sent.
    pub(super) fn start_blocked(&mut self, why: &StartBlock) -> Failure {
        self.connection.send_abort();
        Failure::awaiting(self.group().name(), why)
    }

    fn receiving(&self, why: &ConnectionError) -> Failure {
        Failure::receiving(self.group().name(), why, self.connection.is_silent())
    }

    /// Whether the connection had been idle before.
    pub(super) const fn is_on_used_connection(&self) -> bool {
        self.connection.is_used()
    }

    /// Has other requests avoid what has failed: the idle connections to the worker, and the worker itself if it
    /// has not answered in time.
    pub(super) fn give_up_worker(&self, failure: &Failure) {
        self.lease.drop_idle_connections();
        if failure.is_timeout() {
            self.lease.suspect_if_hung();
            self.lease.record_abandoned();
        }
    }

    /// Whether all that has been read of the body can be sent again.
    pub(super) const fn is_replayable(&self) -> bool {
        self.body.is_replayable()
    }

    pub(super) fn is_get_or_head(&self) -> bool {
        self.request.is_get_or_head()
    }

    /// Waits until another worker may be risked.
    pub(super) fn await_two_workers(&self, deadline: Instant) -> bool {
        self.lease.await_two_workers(deadline)
    }

    /// How the worker exited since the request came, if it did.
    pub(super) fn exit_cause(&self) -> Option<ExitCause> {
        self.lease.exit_cause()
    }

    /// Gives the worker back, and keeps the connection for the next request if it can be, or for the WebSocket that it is.
    /// Then the client gets the end of the response, if it was behind. The answer is the one that `run` gave, or what has
    /// become of it. Where the worker is silent ([`Outcome::Suspended`]), the rest of the response is left to the hub with
    /// all that belongs to it. `queued` is when the request began to wait, in microseconds since the epoch.
    pub(super) fn finish(mut self, answer: Answer, queued: i64) -> Answer {
        if let Answer::Switched(switched) = answer {
            self.lease.clear_suspicion();
            self.relay.return_memory();
            let tunnel = Some(Tunnel::new(self.connection));
            return Answer::Switched(Switched { tunnel, ..switched });
        }
        if matches!(answer, Answer::Here(Outcome::Suspended)) {
            let Self { request, lease, connection, mut relay, .. } = self;
            let Some(place) = relay.take_place() else {
                request.cut();
                return Answer::Here(Outcome::Done);
            };
            let (body, worker) = (relay.into_body(), (lease, connection));
            return Answer::Here(parked_stream::park(request, worker, body, place, queued));
        }
        self.lease.finish(self.connection);
        let outcome = self.relay.pass_rest(self.request);
        self.relay.return_memory();
        outcome.map_or(answer, Answer::Here)
    }
}
