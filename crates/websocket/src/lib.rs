//! The frames of an open WebSocket (RFC 6455) as a server reads and writes them, by the crate tungstenite, over a stream on
//! which nothing waits. This crate must never know a socket, a clock, a thread, Apache or Python.
//!
//! [`Frames`] keeps what the stream does not take, answers pings and closes, and says with which code a client that breaks
//! the rules is to be closed. What becomes of the connection then is the caller's affair.
#![forbid(unsafe_code)]

mod frames;
mod incoming;

pub use frames::{Frames, MAX_FRAME, Written};
pub use incoming::Incoming;
