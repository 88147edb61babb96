//! The worker gets the client's socket. Works with every multi-processing module, for connections that httpd does not
//! encrypt.
#![forbid(unsafe_code)]

use super::tunnel::Tunnel;
use crate::failure_flag::{Flag, Note};
use crate::forward::group::Group;
use crate::httpd::{Outcome, Request};
use wsgi::Level;

/// Hands the socket over. It goes to the worker that has answered this request, over the connection on which it did, and
/// nowhere else (docs/safety.md).
pub(super) fn carry(request: &mut Request<'_>, tunnel: &Tunnel, group: &Group) -> Outcome {
    let Ok(early) = request.take_early() else { return lost(request) };
    let Some(client) = request.client_socket() else { return lost(request) };
    if let Err(why) = tunnel.pass_socket(client, &early) {
        let (name, code) = (group.name(), Flag::Connection.code());
        let line = format!(
            "WSGI0232: a WebSocket cannot be passed to daemon process '{name}': {why} [{code}]"
        );
        request.log(Level::Error, line.as_bytes());
        Flag::Connection.note();
        return lost(request);
    }
    request.leave_connection();
    Outcome::Done
}

/// The client has its 101, and gets no more.
fn lost(request: &mut Request<'_>) -> Outcome {
    request.close_connection();
    Outcome::Done
}
