//! The rest of a request body on its way to the worker, and the response on its way back, at the same time.
//! Neither direction waits for the other: an application may respond before it has the whole body, and while it
//! does it need not read. This file must never know what the response says.
#![forbid(unsafe_code)]

use super::attempt::Attempt;
use super::connection_error::ConnectionError;
use super::failure::Failure;
use super::group::UNREAD_TIME;
use super::lease::READY_POLL;
use crate::httpd::Outcome;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use wsgi::ReadError;

/// How long to wait at the client's socket at most: filters have time limits of their own
/// (mod_reqtimeout) and check them when they are called.
const CLIENT_POLL: Duration = Duration::from_secs(1);
/// How long to wait before asking again where no socket tells: at first, and in the end.
const MIN_BACKOFF: Duration = Duration::from_millis(1);
const MAX_BACKOFF: Duration = Duration::from_millis(50);

/// How the two directions get on.
struct Progress<'call> {
    client: Option<BorrowedFd<'call>>,
    client_timeout: Duration,
    /// When the last byte moved.
    moved: Instant,
    /// How long to wait before the input filters are asked again.
    backoff: Duration,
    /// The client's socket could be read when it was last waited for.
    readable: bool,
}

/// What to wait for at most `limit` long, beside the worker.
struct Wait<'call> {
    client: Option<BorrowedFd<'call>>,
    limit: Duration,
}

/// The way on: wait, or the end, with the outcome if the response has ended.
type Next<'call> = ControlFlow<Option<Outcome>, Wait<'call>>;

impl<'call> Progress<'call> {
    fn left(&self, timeout: Duration) -> Duration {
        timeout.saturating_sub(self.moved.elapsed())
    }

    /// What to wait for where no piece of body is there.
    fn wait_for_client(&mut self, limit: Duration) -> Wait<'call> {
        // What could be read was not enough for an input filter to make something of it.
        if self.readable || self.client.is_none() {
            let limit = limit.min(self.backoff);
            self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
            return Wait { client: None, limit };
        }
        Wait { client: self.client, limit: limit.min(CLIENT_POLL) }
    }
}

impl<'call> Attempt<'_, 'call> {
    /// Passes on body and response until the worker has all of the body; `Some` when the response ended first.
    pub(super) fn exchange_both_ways(&mut self) -> Result<Option<Outcome>, Failure> {
        let timeout = self.request.client_timeout();
        if let Some(done) = self.await_request_for_body()? {
            return Ok(Some(done));
        }
        let mut progress = Progress {
            client: self.request.client_socket(),
            client_timeout: timeout.unwrap_or_else(|| self.group().client_timeout()),
            moved: Instant::now(),
            backoff: MIN_BACKOFF,
            readable: false,
        };
        loop {
            let sends = self.connection.has_unsent();
            if !sends && self.body.has_ended() {
                return Ok(None);
            }
            let next = if sends {
                self.wait_for_room(&progress)?
            } else {
                self.pass_next_piece(&mut progress)
            };
            let Wait { client, mut limit } = match next {
                ControlFlow::Continue(wait) => wait,
                ControlFlow::Break(done) => return Ok(done),
            };
            if self.connection.is_silent() {
                limit = limit.min(self.look_for_worker()?);
            }
            // What waits for the client is not waited for here.
            match self.pass_backlog() {
                Ok(true) => limit = limit.min(MAX_BACKOFF),
                Ok(false) => {}
                Err(done) => return Ok(Some(done)),
            }
            let ready = sys::wait_for(self.connection.as_fd(), sends, client, limit);
            progress.readable = ready.other;
            if ready.writable {
                progress.moved = Instant::now();
                match self.send_rest() {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(done) => return Ok(done),
                }
            }
            if ready.readable {
                if let Some(done) = self.step()? {
                    return Ok(Some(done));
                }
                if self.has_progressed() {
                    progress.moved = Instant::now();
                }
            }
        }
    }

    /// How long to wait before the next look, since a worker that never starts reads nothing.
    fn look_for_worker(&mut self) -> Result<Duration, Failure> {
        if self.lease.is_ready() {
            return Ok(UNREAD_TIME);
        }
        match self.lease.start_block() {
            Some(why) => Err(self.start_blocked(&why)),
            None => Ok(READY_POLL),
        }
    }

    /// Relays what comes while the application has not asked for a body that is withheld; `Some` when the response ended
    /// first.
    fn await_request_for_body(&mut self) -> Result<Option<Outcome>, Failure> {
        while self.body.is_withheld() {
            if let Some(done) = self.step()? {
                return Ok(Some(done));
            }
            if self.relay.asks_for_body() {
                self.body.release(self.request, self.relay.has_head());
            }
        }
        Ok(None)
    }

    /// Waits for the worker to take what has been read of the body.
    fn wait_for_room(&mut self, progress: &Progress<'call>) -> Result<Next<'call>, Failure> {
        let limit = progress.left(self.group().worker_timeout());
        if limit.is_zero() {
            self.connection.send_abort();
            let outcome = self.worker_failed(&ConnectionError::Timeout)?;
            return Ok(ControlFlow::Break(Some(outcome)));
        }
        Ok(ControlFlow::Continue(Wait { client: None, limit }))
    }

    /// Passes on the next piece of the body, if it is there.
    fn pass_next_piece(&mut self, progress: &mut Progress<'call>) -> Next<'call> {
        let limit = progress.left(progress.client_timeout);
        match self.body.advance(self.request) {
            Ok(true) => {}
            Ok(false) if limit.is_zero() => {
                return ControlFlow::Break(Some(self.client_failed(&ReadError::Timeout)));
            }
            Ok(false) => return ControlFlow::Continue(progress.wait_for_client(limit)),
            Err(why) => return ControlFlow::Break(Some(self.client_failed(&why))),
        }
        self.connection.begin_piece(self.body.has_ended());
        self.send_rest()?;
        progress.moved = Instant::now();
        progress.backoff = MIN_BACKOFF;
        ControlFlow::Continue(Wait { client: None, limit: Duration::ZERO })
    }

    /// Sends as much of a piece of the body as there is room for. `Break`: the worker takes no more, or the piece is lost.
    fn send_rest(&mut self) -> ControlFlow<Option<Outcome>> {
        let sent = self.body.piece().map(|piece| self.connection.send_piece(&piece));
        match sent {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) => {
                // The response may have come all the same.
                self.connection.send_abort();
                ControlFlow::Break(None)
            }
            Err(why) => ControlFlow::Break(Some(self.client_failed(&why))),
        }
    }
}
