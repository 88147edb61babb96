//! A WebSocket whose bytes the hub carries, without a thread of its own: over TLS, or through filters of other modules. It must
//! never know what the bytes say.
#![forbid(unsafe_code)]

use super::tunnel::Tunnel;
use crate::failure_flag::Flags;
use crate::forward::group::Group;
use crate::httpd::{Outcome, Parked, Request, Server, Suspended, log_server};
use crate::hub::{self, EarlyEnd, Place, Ready, Room, Session, Step, Wants};
use crate::request_outcome::conclude;
use crate::request_times::RequestTimes;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use wsgi::Level;

/// Bytes that are read from the worker at once: what httpd's filters may hold without waiting.
const READ: usize = 16 * 1024;
/// Bytes that are read from the client before others are looked at.
const BUDGET: usize = 32 * 1024;
/// How long a worker may take to close a WebSocket that is to end.
const CLOSE: Duration = Duration::from_secs(5);

/// Whether the hub can carry a WebSocket of `request`, and has a place for it that `group` may have.
pub(super) fn take_place(request: &Request<'_>, group: &'static Group) -> Option<Place> {
    let log = |line: &str| request.log(Level::Warning, line.as_bytes());
    let fits = group.places.room() != Room::Full && request.is_connection_parkable();
    if !fits || !hub::is_ready(log) {
        return None;
    }
    let taken = group.places.take();
    taken.map_err(|room| group.share_line(room).iter().for_each(|line| log(line))).ok()
}

/// Gives the connection to the hub, once this thread has left.
pub(super) fn carry(
    request: &mut Request<'_>,
    tunnel: Tunnel,
    group: &'static Group,
    place: Place,
) -> Outcome {
    request.end_request_timeout();
    if let Err(why) = tunnel.open() {
        let line = format!(
            "WSGI0232: a WebSocket cannot be passed to daemon process '{}': {why}",
            group.name()
        );
        request.log(Level::Error, line.as_bytes());
        return Outcome::Done;
    }
    // It is logged when the WebSocket opens: what it holds in memory is not needed any more.
    conclude(request, Outcome::Done, Some(group.plan()), Flags::so_far(), RequestTimes::so_far());
    request.suspend(move |found| {
        // The worker sees the end of the tunnel where there is no client.
        let Suspended::Parked(mut client) = found else { return };
        client.end_request();
        client.keep_buffers();
        let limit = client.timeout().unwrap_or_else(|| group.client_timeout());
        let socket = ParkedSocket {
            tunnel: Some(tunnel),
            grace: group.definition().config.timers.graceful_timeout,
            client_limit: group.response_timeout().unwrap_or(limit),
            upstream: Vec::new(),
            taken: 0,
            // The client need not have waited for the 101.
            more_since: Some(Instant::now()),
            gone_since: None,
            has_client_ended: false,
            behind_since: None,
            told: None,
            is_over: false,
        };
        hub::submit(client, Box::new(socket), place);
    })
}

/// Both directions of a WebSocket.
struct ParkedSocket {
    /// Until the worker is needed no more.
    tunnel: Option<Tunnel>,
    /// How long it may go on when this process is to end.
    grace: Duration,
    /// How long the client may take nothing of what waits for it.
    client_limit: Duration,
    /// What the worker has not taken yet, from `taken` on.
    upstream: Vec<u8>,
    taken: usize,
    /// A filter may hold more of what the client has sent, of which epoll does not know. Since then.
    more_since: Option<Instant>,
    /// Since when the client has left. What it has sent before is read once the worker takes it.
    gone_since: Option<Instant>,
    /// Nothing more comes from the client.
    has_client_ended: bool,
    /// Since when the client has taken nothing of what waits for it.
    behind_since: Option<Instant>,
    /// When the worker was told to end it.
    told: Option<Instant>,
    /// All has been passed on, or nothing can be.
    is_over: bool,
}

/// Why a WebSocket is over.
struct Over;

impl ParkedSocket {
    const fn has_upstream(&self) -> bool {
        self.taken < self.upstream.len()
    }

    const fn is_gone(&self) -> bool {
        self.gone_since.is_some()
    }

    /// Whether more is to be read from the client.
    const fn reads(&self) -> bool {
        !self.has_upstream() && !self.has_client_ended && self.told.is_none()
    }

    /// Passes on what there is, without waiting.
    fn step(&mut self, client: &mut Parked, ready: Ready, now: Instant) -> Result<(), Over> {
        if ready.gone {
            self.gone_since.get_or_insert(now);
        }
        if ready.writable || self.behind_since.is_some() {
            self.note_behind(client.push(), ready.writable, now);
        }
        let is_past = |since: Option<Instant>, limit| since.is_some_and(|at| at + limit <= now);
        if is_past(self.behind_since, self.client_limit)
            || is_past(self.gone_since, self.client_limit)
            || is_past(self.told, CLOSE)
        {
            return Err(Over);
        }
        if ready.worker_takes {
            self.send_upstream()?;
        }
        if ready.worker && self.behind_since.is_none() {
            self.pass_down(client, now)?;
        }
        if (ready.readable || self.is_gone() || self.more_since.is_some()) && self.reads() {
            self.pass_up(client, now)?;
        }
        // The worker has all that the client has sent, and sees the end of it when the tunnel is closed.
        if self.has_client_ended && !self.has_upstream() { Err(Over) } else { Ok(()) }
    }

    fn note_behind(&mut self, is_behind: bool, has_moved: bool, now: Instant) {
        if !is_behind || has_moved {
            self.behind_since = None;
        }
        if is_behind {
            self.behind_since.get_or_insert(now);
        }
    }

    /// From the client to the worker.
    fn pass_up(&mut self, client: &mut Parked, now: Instant) -> Result<(), Over> {
        self.upstream.clear();
        (self.taken, self.more_since) = (0, None);
        while self.upstream.len() < BUDGET {
            match client.read(&mut self.upstream) {
                Ok(true) => self.more_since = (self.upstream.len() >= BUDGET).then_some(now),
                Ok(false) => {
                    self.has_client_ended |= self.is_gone();
                    break;
                }
                Err(_) => {
                    self.gone_since.get_or_insert(now);
                    self.has_client_ended = true;
                    break;
                }
            }
        }
        self.send_upstream()
    }

    fn send_upstream(&mut self) -> Result<(), Over> {
        let (Some(tunnel), rest) = (&self.tunnel, self.upstream.get(self.taken..)) else {
            return Err(Over);
        };
        let rest = rest.unwrap_or_default();
        if !rest.is_empty() {
            self.taken += tunnel.send(rest).map_err(|_| Over)?;
        }
        if !self.has_upstream() && self.upstream.capacity() > 0 {
            // An idle WebSocket costs no memory.
            (self.upstream, self.taken) = (Vec::new(), 0);
        }
        Ok(())
    }

    /// From the worker to the client.
    fn pass_down(&mut self, client: &mut Parked, now: Instant) -> Result<(), Over> {
        let Some(tunnel) = &mut self.tunnel else { return Err(Over) };
        let mut buffer = [0; READ];
        let count = match tunnel.read_now(&mut buffer) {
            Ok(Some(count @ 1..)) => count,
            Ok(None) => return Ok(()),
            Ok(Some(0)) | Err(_) => return Err(Over),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        client.write(bytes).map_err(|_| Over)?;
        self.note_behind(client.push(), false, now);
        Ok(())
    }
}

impl Session<Parked> for ParkedSocket {
    fn worker(&self) -> Option<BorrowedFd<'_>> {
        self.tunnel.as_ref().map(AsFd::as_fd)
    }

    fn is_done_with_worker(&self) -> bool {
        self.is_over
    }

    fn release_worker(&mut self) {
        self.tunnel = None;
    }

    fn wants(&self) -> Wants {
        Wants {
            worker: self.behind_since.is_none(),
            worker_takes: self.has_upstream(),
            readable: self.reads(),
            writable: self.behind_since.is_some(),
            half_closed: false,
            end: !self.is_gone(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        // Not in the same round: others come first.
        let more = self.more_since.filter(|_| self.reads()).map(|at| at + Duration::from_nanos(1));
        let client = self.behind_since.into_iter().chain(self.gone_since).min();
        let client = client.map(|at| at + self.client_limit);
        [more, client, self.told.map(|at| at + CLOSE)].into_iter().flatten().min()
    }

    fn advance(&mut self, client: &mut Parked, ready: Ready, now: Instant) -> Step {
        self.is_over |= self.step(client, ready, now).is_err();
        if self.is_over { Step::Over } else { Step::Open }
    }

    fn early_end(&self) -> Option<EarlyEnd> {
        self.told.is_none().then_some(EarlyEnd::After(self.grace))
    }

    fn end(&mut self, _client: &mut Parked, now: Instant) -> Step {
        self.told = Some(now);
        match &self.tunnel {
            Some(tunnel) => tunnel.end_input(),
            None => return Step::Over,
        }
        Step::Open
    }

    fn stop(&mut self, _client: &mut Parked) {}

    fn fail(&mut self, _client: &mut Parked, why: &std::io::Error) {
        if let Some(server) = Server::main() {
            let line = format!("WSGI0258: a WebSocket is cut: {why}");
            log_server(server, Level::Error, line.as_bytes());
        }
    }
}
