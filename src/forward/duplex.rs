//! The rest of a request body on its way to the worker, and the answer on its way back, at the same time.
//! Neither waits for the other: an application may answer before it has the whole body, and while it does it
//! need not read.
#![forbid(unsafe_code)]

use super::connection::{Broken, Connection};
use super::group::{GLANCE, WorkerLease};
use super::relay::Relay;
use super::{Body, Failure, Group, broken, step, unfinished};
use crate::httpd::{Outcome, Request};
use crate::posix;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use wsgi::ReadError;

/// How long to wait at the client's socket at most: filters have time limits of their own
/// (mod_reqtimeout) and look at them when they are asked.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait before asking again where no socket tells: at first, and in the end.
const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(50);

/// Passes on body and answer until the worker has all of the body; `Some` when the answer ended first.
pub(super) fn run<'call>(
    request: &mut Request<'call>,
    group: &Group,
    connection: &mut Connection,
    relay: &mut Relay<'_>,
    body: &mut Body<'call>,
    lease: &WorkerLease<'_>,
) -> Result<Option<Outcome>, Failure> {
    let socket = request.client_socket();
    let patience = request.client_timeout().unwrap_or_else(|| group.client_timeout());
    let mut moved = Instant::now();
    let (mut pause, mut seen) = (SOON, false);
    loop {
        let sends = connection.has_unsent();
        if !sends && body.ended {
            return Ok(None);
        }
        let mut limit = if sends { group.worker_timeout() } else { patience };
        limit = limit.saturating_sub(moved.elapsed());
        let mut watched = None;
        if !sends {
            match next(request, connection, body) {
                Ok(Next::Sent) => {
                    (moved, limit, pause) = (Instant::now(), Duration::ZERO, SOON);
                }
                // Perhaps its answer is here all the same.
                Ok(Next::Refused) => return Ok(None),
                Ok(Next::Nothing) if limit.is_zero() => {
                    return Ok(Some(unfinished(request, connection, relay, &ReadError::Timeout)));
                }
                // What was there was not enough for an input filter to make something of it.
                Ok(Next::Nothing) if seen || socket.is_none() => {
                    limit = limit.min(pause);
                    pause = (pause * 2).min(LATER);
                }
                Ok(Next::Nothing) => {
                    limit = limit.min(LOOK);
                    watched = socket;
                }
                Err(why) => return Ok(Some(unfinished(request, connection, relay, &why))),
            }
        } else if limit.is_zero() {
            connection.abort();
            return broken(request, group, connection, relay, &Broken::Timeout, lease).map(Some);
        }
        // Perhaps nobody will ever read it.
        if connection.is_silent() && !lease.is_there() {
            lease
                .start_block_reason()
                .map_or(Ok(()), |why| Err(Failure::awaiting(group, connection, &why)))?;
            limit = limit.min(GLANCE);
        }
        let ready = posix::wait_for(connection.as_fd(), sends, watched, limit);
        seen = ready.other;
        if ready.writable {
            moved = Instant::now();
            if connection.send_rest().is_err() {
                connection.abort();
                return Ok(None);
            }
        }
        if ready.readable {
            if let Some(done) = step(request, group, connection, relay, lease)? {
                return Ok(Some(done));
            }
            moved = Instant::now();
        }
    }
}

/// What became of the next piece of the body.
enum Next {
    Sent,
    /// It is not here yet.
    Nothing,
    /// The worker takes no more.
    Refused,
}

fn next<'call>(
    request: &mut Request<'call>,
    connection: &mut Connection,
    body: &mut Body<'call>,
) -> Result<Next, ReadError> {
    let Some(piece) = body.next(request)? else { return Ok(Next::Nothing) };
    if connection.send_body(&piece.slices, piece.ended).is_err() {
        connection.abort();
        return Ok(Next::Refused);
    }
    Ok(Next::Sent)
}
