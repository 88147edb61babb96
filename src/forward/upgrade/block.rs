//! A thread of Apache carries the bytes of one WebSocket, where nothing else can: over TLS, or through filters of other
//! modules. It must never know what the bytes say.
#![forbid(unsafe_code)]

use super::tunnel::Tunnel;
use crate::apr::Brigade;
use crate::failure_flag::{Flag, Note};
use crate::forward::group::Group;
use crate::httpd::{Outcome, Request};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use wsgi::Level;

/// Bytes that are read from the worker at once.
const READ: usize = 16 * 1024;
/// Bytes that are read from the client before the worker is looked at.
const BUDGET: usize = 64 * 1024;
/// How often the thread looks whether its process is to end.
const POLL: Duration = Duration::from_secs(1);
/// How long a worker may take to close a WebSocket that is to end.
const CLOSE: Duration = Duration::from_secs(5);

/// Threads of this process that carry a WebSocket.
static PINNED: AtomicUsize = AtomicUsize::new(0);
/// This process is to end as soon as it has no request.
static DRAINING: AtomicBool = AtomicBool::new(false);

/// WebSockets end within `graceful-timeout` from now on. Safe in a handler of signals.
pub(crate) fn drain() {
    DRAINING.store(true, Ordering::Relaxed);
}

/// Whether [`drain`] has been called.
pub(super) fn is_draining() -> bool {
    DRAINING.load(Ordering::Relaxed)
}

/// Leave for one thread to carry a WebSocket.
pub(super) struct Pinned(());

impl Pinned {
    /// # Errors
    /// How many threads may do so, where as many do.
    pub(super) fn take(group: &Group) -> Result<Self, usize> {
        let most = group.most_pinned();
        let order = Ordering::Relaxed;
        let more = |count: usize| (count < most).then_some(count + 1);
        PINNED.fetch_update(order, order, more).map(|_| Self(())).map_err(|_| most)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        PINNED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Both directions of a WebSocket.
struct Link<'a, 'call> {
    request: &'a mut Request<'call>,
    tunnel: Tunnel,
    brigade: Brigade<'call>,
    /// What the worker has not taken yet, from `taken` on.
    upstream: Vec<u8>,
    taken: usize,
    /// A filter may hold more of what the client has sent.
    may_have_more: bool,
    /// How long the worker may take nothing once the client sends no more.
    client_limit: Duration,
    /// Since when both have been so. What the client has sent before is read once the worker takes it.
    gone_since: Option<Instant>,
    /// When the WebSocket is to end, once that is known.
    until: Option<Instant>,
    /// The worker has been told to end it.
    told: bool,
}

/// Why the WebSocket is over.
struct Over;

/// Carries bytes until one end closes.
pub(super) fn carry(request: &mut Request<'_>, tunnel: Tunnel, group: &Group) -> Outcome {
    request.end_request_timeout();
    if let Err(why) = tunnel.open() {
        let line = format!(
            "WSGI0232: a WebSocket cannot be passed to daemon process '{}': {why} [{}]",
            group.name(),
            Flag::Connection.code()
        );
        request.log(Level::Error, line.as_bytes());
        Flag::Connection.note();
        return Outcome::Done;
    }
    let brigade = request.new_brigade();
    let limit = group.response_timeout().or_else(|| request.client_timeout());
    let client_limit = limit.unwrap_or_else(|| group.client_timeout());
    let mut link = Link {
        request,
        tunnel,
        brigade,
        upstream: Vec::new(),
        taken: 0,
        // The client need not have waited for the 101.
        may_have_more: true,
        client_limit,
        gone_since: None,
        until: None,
        told: false,
    };
    let grace = group.definition().config.timers.graceful_timeout;
    let mut buffer = vec![0; READ];
    while link.step(&mut buffer, grace).is_ok() {}
    Outcome::Done
}

impl Link<'_, '_> {
    fn has_upstream(&self) -> bool {
        self.taken < self.upstream.len()
    }

    /// Waits for either end, and passes on what has come.
    fn step(&mut self, buffer: &mut [u8], grace: Duration) -> Result<(), Over> {
        let limit = self.time_left(grace)?;
        let ready = match self.has_upstream() {
            true => self.wait_for_room(limit)?,
            false => {
                let client = self.request.client_socket().filter(|_| !self.told);
                let limit = if self.may_have_more && !self.told { Duration::ZERO } else { limit };
                sys::wait_for(self.tunnel_fd(), false, client, limit)
            }
        };
        if ready.writable {
            self.send_upstream()?;
        }
        if ready.readable {
            self.pass_down(buffer)?;
        }
        if (ready.other || self.may_have_more) && !self.has_upstream() && !self.told {
            self.pass_up()?;
        }
        Ok(())
    }

    /// Waits where the worker has not taken all. The client may leave meanwhile.
    fn wait_for_room(&mut self, limit: Duration) -> Result<sys::Ready, Over> {
        if self.gone_since.is_some_and(|since| since.elapsed() > self.client_limit) {
            return Err(Over);
        }
        // One that has left is found to have done so all the time.
        let client =
            self.request.client_socket().filter(|_| !self.told && self.gone_since.is_none());
        let ready = sys::wait_for_room(self.tunnel_fd(), client, limit);
        if ready.other {
            self.gone_since = Some(Instant::now());
        }
        Ok(ready)
    }

    fn tunnel_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.tunnel)
    }

    /// How long to wait at most. A process that is to end gives its WebSockets `grace`, then tells the worker to end them,
    /// and waits for that only so long.
    fn time_left(&mut self, grace: Duration) -> Result<Duration, Over> {
        if !is_draining() {
            return Ok(POLL);
        }
        let now = Instant::now();
        let until = *self.until.get_or_insert_with(|| now + grace);
        let left = until.saturating_duration_since(now);
        if !left.is_zero() {
            return Ok(left.min(POLL));
        }
        if self.told {
            return Err(Over);
        }
        self.told = true;
        self.until = Some(now + CLOSE);
        self.tunnel.end_input();
        Ok(CLOSE)
    }

    /// From the client to the worker.
    fn pass_up(&mut self) -> Result<(), Over> {
        self.upstream.clear();
        self.taken = 0;
        self.may_have_more = false;
        while self.upstream.len() < BUDGET {
            match self.request.read_from_client(&mut self.brigade, &mut self.upstream) {
                Ok(true) => self.may_have_more = self.upstream.len() >= BUDGET,
                Ok(false) => break,
                Err(_) => return Err(Over),
            }
        }
        self.send_upstream()
    }

    fn send_upstream(&mut self) -> Result<(), Over> {
        let rest = self.upstream.get(self.taken..).unwrap_or_default();
        if !rest.is_empty() {
            let count = self.tunnel.send(rest).map_err(|_| Over)?;
            self.taken += count;
            if count > 0 {
                self.gone_since = None;
            }
        }
        Ok(())
    }

    /// From the worker to the client, which is waited for: up to `Timeout` for each piece.
    fn pass_down(&mut self, buffer: &mut [u8]) -> Result<(), Over> {
        let count = match self.tunnel.read(buffer) {
            Ok(count @ 1..) => count,
            Ok(0) | Err(_) => return Err(Over),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        self.request.pass_to_client(&mut self.brigade, bytes).map_err(|_| Over)
    }
}
