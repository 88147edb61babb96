//! `deadlock-timeout`: when Python's global interpreter lock (GIL) was last obtained, just to see whether that
//! is possible. It ends no process.
#![forbid(unsafe_code)]

use crate::time_limit;
use host::Host;
use scoreboard::Counters;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the GIL was last obtained.
pub(super) struct GilProbe {
    /// `deadlock-timeout`, where it is on.
    timeout: Option<Duration>,
    /// The last time that the GIL was obtained by a probe, in microseconds since `started` (monotonic clock).
    last: AtomicU64,
    started: Instant,
}

impl GilProbe {
    /// `timeout` is `deadlock-timeout`.
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        let timeout = time_limit::enabled(timeout);
        Self { timeout, last: AtomicU64::new(0), started: Instant::now() }
    }

    /// How often the GIL is to be probed; `None` where `deadlock-timeout` is off.
    pub(super) fn interval(&self) -> Option<Duration> {
        let timeout = self.timeout?;
        Some((timeout / 10).clamp(Duration::from_millis(100), Duration::from_secs(30)))
    }

    /// Obtains the GIL, for as long as that takes, gives it back, and notes when that was and how long it took.
    pub(super) fn probe(&self, host: &Host, counters: Counters<'_>) {
        if let Some(wait) = host.probe_gil() {
            counters.note_lock_wait(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
            let passed = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.last.store(passed, Ordering::Relaxed);
        }
    }

    /// The timeout, if the GIL was not obtained for so long.
    pub(super) fn exceeded(&self) -> Option<Duration> {
        let last = Duration::from_micros(self.last.load(Ordering::Relaxed));
        let waited = self.started.elapsed().saturating_sub(last);
        self.timeout.filter(|timeout| waited > *timeout)
    }
}
