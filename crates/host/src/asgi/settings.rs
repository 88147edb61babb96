//! What an event loop is started with.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Whether applications are told that the process starts and stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifespanMode {
    /// Where they take the scope.
    Auto,
    /// They have to take it.
    On,
    /// They are not told.
    Off,
}

/// Whose event loop it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventLoopKind {
    /// uvloop's where it can be imported.
    Auto,
    /// That of the standard library.
    Asyncio,
    /// uvloop's.
    Uvloop,
}

/// An application that is told of the start before the first request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartupApplication {
    /// Its script.
    pub script: Vec<u8>,
    /// The callable in it.
    pub callable: Vec<u8>,
}

/// What an event loop is started with.
#[derive(Clone, Debug)]
pub struct AsgiSettings {
    /// Whether applications are told of start and stop.
    pub lifespan: LifespanMode,
    /// Whose event loop.
    pub event_loop: EventLoopKind,
    /// How many requests are under way at once.
    pub concurrency: u32,
    /// Threads of the loop's default executor.
    pub threads: u32,
    /// How long an application may take to start.
    pub startup_limit: Duration,
    /// How long a request goes on after its client has gone, before it is cancelled.
    pub grace: Duration,
    /// How long requests that are cancelled when the process stops may take to end, and then applications to stop; `None`:
    /// for ever.
    pub shutdown_limit: Option<Duration>,
    /// Those that are known before a request names them.
    pub applications: Vec<StartupApplication>,
}
