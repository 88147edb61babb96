//! WebSockets: the handshake, and the way that the bytes take between the client and the worker afterwards. What the bytes
//! say (frames, messages) is the worker's affair and must never be known here.
//!
//! After the 101 the FastCGI connection of the request is the [`Tunnel`], which serves no other request. Apache's first byte
//! on it says which way the WebSocket goes (`fastcgi::tunnel`); then it carries the bytes of the WebSocket in both directions,
//! without any records.
//!
//! [`Upgrade::prepare`] chooses the [`Way`] before a worker is asked, so that what cannot be carried is refused with a status
//! and not after the 101.
#![forbid(unsafe_code)]

mod block;
mod handshake;
mod park;
mod pass;
mod tunnel;
mod way;

pub(crate) use block::drain;
pub(super) use tunnel::Tunnel;

use crate::config::Settings;
use crate::failure_flag::{Flag, Note};
use crate::forward::group::Group;
use crate::httpd::{Outcome, Request};
use group_config::Interface;
use handshake::{Asked, Handshake};
use way::Way;
use wsgi::Level;

/// When a client may try again that no worker has a place for, in seconds.
const RETRY_AFTER: u32 = 10;

/// 503; the client may try again `after` so many seconds.
fn refuse(request: &Request<'_>, after: u32) -> Outcome {
    let after = after.to_string();
    request.error_headers_out().set(request.pool(), c"Retry-After", after.as_bytes());
    Outcome::Status(503)
}

/// A WebSocket that the application may accept.
pub(super) struct Upgrade {
    handshake: Handshake,
    way: Way,
}

impl Upgrade {
    /// What `request` asks for; `None`: an ordinary response.
    ///
    /// # Errors
    /// What becomes of a handshake that is malformed, or that there is no way for.
    pub(super) fn prepare(
        request: &mut Request<'_>,
        settings: &Settings<'_>,
        group: &'static Group,
    ) -> Result<Option<Self>, Outcome> {
        // A worker that finds its application to be one of WSGI answers a handshake as any other request.
        if [settings.interface, group.definition().config.interface].contains(&Interface::Wsgi) {
            return Ok(None);
        }
        let handshake = match Handshake::of(request) {
            Asked::Nothing => return Ok(None),
            Asked::Handshake(handshake) => handshake,
            Asked::Malformed(refusal) => return Err(refusal.answer(request)),
        };
        match Way::choose(request, group) {
            Ok(way) => Ok(Some(Self { handshake, way })),
            Err(why) => {
                let line = format!("{} [{}]", why.line(group.name()), Flag::Overloaded.code());
                request.log(Level::Error, line.as_bytes());
                Flag::Overloaded.note();
                Err(refuse(request, why.retry_after()))
            }
        }
    }

    /// What becomes of a handshake that was answered without an application.
    pub(super) fn refused(request: &Request<'_>, outcome: Outcome) -> Outcome {
        match outcome {
            // The worker has as many WebSockets as it may, or there is none.
            Outcome::Status(503) => refuse(request, RETRY_AFTER),
            outcome => outcome,
        }
    }

    /// The application has accepted: sends the 101 with the `fields` of its head, and carries the WebSocket.
    pub(super) fn carry(
        self,
        request: &mut Request<'_>,
        tunnel: Tunnel,
        fields: &[u8],
        group: &'static Group,
    ) -> Outcome {
        let Self { handshake, way } = self;
        let head = handshake.head(request, fields);
        if let Err(why) = request.switch_protocols(&head) {
            // The worker sees the end of the tunnel.
            return request.outcome(Err(why));
        }
        way.carry(request, tunnel, group)
    }
}
