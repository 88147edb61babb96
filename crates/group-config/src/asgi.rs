//! Which interface the applications of a group have, and how its workers serve those of ASGI.

use crate::seconds;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The interface between server and application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// PEP 3333: a call for each request, on a thread of its own.
    #[default]
    Wsgi,
    /// ASGI 3: coroutines on the event loop of the worker.
    Asgi,
    /// That of the applications which the configuration names, as a worker finds them when it has loaded them. No worker
    /// serves before it knows, so that none serves by this.
    Auto,
}

impl Interface {
    /// Its name, for a sentence.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wsgi => "WSGI",
            Self::Asgi => "ASGI",
            Self::Auto => "auto",
        }
    }
}

/// Whether an application is told that its worker starts and stops (`asgi-lifespan=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifespan {
    /// Where it takes the scope; an exception means that it does not.
    #[default]
    Auto,
    /// It has to take it: an exception is a failed start.
    On,
    /// It is not told.
    Off,
}

/// Whose event loop a worker runs (`asgi-loop=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventLoop {
    /// uvloop's where it can be imported.
    #[default]
    Auto,
    /// That of the standard library.
    Asyncio,
    /// uvloop's; without it the worker does not start.
    Uvloop,
}

/// How the workers of a group serve applications of ASGI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asgi {
    /// Whether applications are told of start and stop.
    pub lifespan: Lifespan,
    /// Whose event loop.
    pub event_loop: EventLoop,
    /// Requests that a worker has under way at once.
    pub concurrency: u32,
    /// WebSockets that a worker has open at once, beside its requests.
    pub websocket_limit: u32,
    /// The longest message that a client may send over a WebSocket, in bytes.
    pub websocket_max_message: u64,
    /// Whether messages are compressed where the client can do that.
    pub websocket_compression: bool,
    /// How often a client is asked whether it is there, and how long it has to answer; `None`: it is not asked.
    #[serde(with = "seconds")]
    pub websocket_ping_interval: Option<Duration>,
}

impl Default for Asgi {
    fn default() -> Self {
        Self {
            lifespan: Lifespan::default(),
            event_loop: EventLoop::default(),
            concurrency: 100,
            websocket_limit: 1000,
            websocket_max_message: 16 << 20,
            websocket_compression: false,
            websocket_ping_interval: Some(Duration::from_secs(20)),
        }
    }
}
