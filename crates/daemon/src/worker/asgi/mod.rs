//! Applications of ASGI in a worker: its event loop has one thread, and takes the connections that threads take
//! elsewhere. WSGI does not know this folder.
#![forbid(unsafe_code)]

mod exchange;
mod kept_file;
mod queue;
mod remainder;
mod slots;
mod source;
mod start;
mod websocket;

pub(super) use slots::Slots;
pub(super) use start::start;
