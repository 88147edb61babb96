//! Open WebSockets of a worker. The crate websocket reads and writes their frames, over the connection that the
//! handshake came on or over the client's own socket; the application's messages are the host's affair.
#![forbid(unsafe_code)]

mod handshake;
mod inbox;
mod opening;
mod socket;
mod stream;

pub(super) use handshake::{Acceptance, switching};
pub(super) use socket::{OpenSocket, Start};
