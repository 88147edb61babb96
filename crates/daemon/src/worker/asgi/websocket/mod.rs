//! Open WebSockets of a worker. Frames are read and written here, by the crate tungstenite, over the connection that the
//! handshake came on or over the client's own socket; the application's messages are the host's affair.
#![forbid(unsafe_code)]

mod inbox;
mod opening;
mod socket;
mod stream;

pub(super) use socket::{OpenSocket, Start};
