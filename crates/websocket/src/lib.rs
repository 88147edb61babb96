//! The frames of an open WebSocket (RFC 6455) as a server reads and writes them, by the crate tungstenite, over a stream on
//! which nothing waits, and with compressed messages (RFC 7692) where both ends have agreed on them. This crate must never
//! know a socket, a clock, a thread, Apache or Python.
//!
//! [`Frames`] keeps what the stream does not take, answers pings and closes, and says with which code a client that breaks
//! the rules is to be closed. What becomes of the connection then is the caller's affair.
#![forbid(unsafe_code)]

mod compression;
mod deflate;
mod deflated;
mod frames;
mod incoming;
mod marks;

pub use compression::Compression;
pub use frames::{Frames, MAX_FRAME, Written};
pub use incoming::Incoming;
