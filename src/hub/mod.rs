//! Two threads of a child for all connections that no thread of httpd serves: responses that go on although nothing is
//! to be sent just now, and WebSockets. They begin with the first of them ([`is_ready`]). It must never know what goes over a
//! connection.
//!
//! A worker thread of httpd gives a connection away ([`submit`]); a [`Link`](link::Link) is one of them, from then until it
//! is closed; what goes over it is a [`Session`]'s matter.
#![forbid(unsafe_code)]

mod deadlines;
mod link;
mod links;
mod places;
mod session;
mod thread;
mod waker;

pub(crate) use places::{GroupPlaces, Place, Room, allowed_by_descriptors, begin_drain, set_limit};
pub(crate) use session::{EarlyEnd, Ready, Session, Step, Wants};
pub(crate) use thread::{StopGuard, is_ready, submit, wake};
pub(crate) use waker::Waker;
