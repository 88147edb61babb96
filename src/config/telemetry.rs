//! Where telemetry goes and what it holds. It never opens a socket.

use super::Bytes;
use std::time::Duration;

/// Where a report goes, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TelemetryService {
    /// The path of a Unix datagram socket.
    pub(crate) socket: Bytes,
    pub(crate) interval: Duration,
}

/// What a report holds beyond the figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TelemetryOptions {
    pub(crate) capture_user_agent: bool,
}
