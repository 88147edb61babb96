//! What one request read and sent, and the time that took where somebody wants to know it.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// The figures of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) input: Traffic,
    pub(crate) output: Traffic,
    /// Whether time is taken; counting costs nothing.
    pub(crate) timed: bool,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    /// Reads or writes of the application's.
    pub(crate) calls: u64,
    pub(crate) time: Duration,
}

impl Traffic {
    pub(crate) const fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.calls += 1;
    }
}

/// A moment to measure from.
pub(crate) struct Watch(Option<Instant>);

impl Watch {
    pub(crate) fn start(timed: bool) -> Self {
        Self(timed.then(Instant::now))
    }

    pub(crate) fn stop(self, traffic: &mut Traffic) {
        if let Some(start) = self.0 {
            traffic.time += start.elapsed();
        }
    }
}
