//! Which way the bytes of a WebSocket take between client and worker.
#![forbid(unsafe_code)]

use super::block::{self, Pinned};
use super::tunnel::Tunnel;
use super::{park, pass};
use crate::forward::group::Group;
use crate::httpd::{Outcome, Request};
use crate::hub::Place;

/// A way. Each has one function that takes over request and tunnel after the 101 has been sent.
pub(super) enum Way {
    /// The worker gets the client's socket: nothing of the WebSocket stays in this process.
    Pass,
    /// The hub carries the bytes, and this thread leaves.
    Park(Place),
    /// This thread carries the bytes until the WebSocket is closed.
    Block(Pinned),
}

/// Why there is no way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoWay {
    /// As many threads as may be have a WebSocket each; so many are permitted.
    Pinned(usize),
    /// The process ends.
    Draining,
}

impl Way {
    /// The way for a handshake, before the application is asked.
    pub(super) fn choose(request: &Request<'_>, group: &'static Group) -> Result<Self, NoWay> {
        if request.has_plain_connection() && request.client_socket().is_some() {
            return Ok(Self::Pass);
        }
        if block::is_draining() {
            return Err(NoWay::Draining);
        }
        if let Some(place) = park::take_place(request, group) {
            return Ok(Self::Park(place));
        }
        Pinned::take(group).map(Self::Block).map_err(NoWay::Pinned)
    }

    /// Carries a WebSocket whose 101 has been sent.
    pub(super) fn carry(
        self,
        request: &mut Request<'_>,
        tunnel: Tunnel,
        group: &'static Group,
    ) -> Outcome {
        match self {
            Self::Pass => pass::carry(request, &tunnel, group),
            Self::Park(place) => park::carry(request, tunnel, group, place),
            Self::Block(_pinned) => block::carry(request, tunnel, group),
        }
    }
}

impl NoWay {
    /// The line of the error log; `name` is that of the group.
    pub(super) fn line(self, name: &str) -> String {
        match self {
            Self::Pinned(most) => format!(
                "WSGI0231: a WebSocket for daemon process '{name}' is refused: over TLS or through filters of other \
                 modules each holds a thread of Apache, and {most} do, which leaves the rest to requests"
            ),
            Self::Draining => format!(
                "WSGI0231: a WebSocket for daemon process '{name}' is refused: this process of Apache is about to end"
            ),
        }
    }

    /// When the client may try again, in seconds.
    pub(super) const fn retry_after(self) -> u32 {
        match self {
            Self::Pinned(_) => 30,
            Self::Draining => 1,
        }
    }
}
