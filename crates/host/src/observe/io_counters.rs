//! What one request read and sent, and how long that took where it is measured.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// The counters of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IoCounters {
    pub(crate) input: Traffic,
    pub(crate) output: Traffic,
    /// Whether time is measured; calls and bytes always are.
    pub(crate) timed: bool,
}

/// The counters of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    /// Reads or writes by the application.
    pub(crate) calls: u64,
    pub(crate) time: Duration,
}

impl Traffic {
    pub(crate) const fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.calls += 1;
    }
}

/// Measures from its start, where time is measured.
pub(crate) struct Stopwatch(Option<Instant>);

impl Stopwatch {
    pub(crate) fn start(timed: bool) -> Self {
        Self(timed.then(Instant::now))
    }

    pub(crate) fn stop(self, traffic: &mut Traffic) {
        if let Some(start) = self.0 {
            traffic.time += start.elapsed();
        }
    }
}
