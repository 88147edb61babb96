//! When a worker has reached a limit on requests, memory, time or age. It does not replace the worker.
#![forbid(unsafe_code)]

use crate::message::Reason;
use crate::time_limit;
use group_config::Timers;
use scoreboard::{Field, Record, now};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The limits of one worker, and how close it is to them.
pub(crate) struct Recycling {
    timers: Timers,
    threads: u32,
    /// `maximum-requests` with this worker's share of the jitter.
    most_requests: Option<u64>,
    started: u64,
    measured: AtomicU64,
    first_request: AtomicU64,
    has_loaded: AtomicBool,
}

/// The shortest time between two measurements of memory, in microseconds.
const MEASURE_INTERVAL: u64 = 100_000;

impl Recycling {
    pub(crate) fn new(timers: &Timers, threads: u32) -> Self {
        let started = now();
        // Only has to differ between workers: pid and time are random enough.
        let chance = (started ^ (u64::from(std::process::id()) << 20))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 16;
        let jitter = chance % timers.maximum_requests_jitter.saturating_add(1);
        Self {
            most_requests: timers.maximum_requests.map(|most| most.max(1) + jitter),
            timers: timers.clone(),
            threads,
            started,
            measured: AtomicU64::new(0),
            first_request: AtomicU64::new(0),
            has_loaded: AtomicBool::new(false),
        }
    }

    /// Notes that a script has loaded.
    pub(crate) fn loaded(&self) {
        self.has_loaded.store(true, Ordering::Relaxed);
    }

    /// Notes that a request begins; the first one starts the clock of `startup-timeout`.
    pub(crate) fn before_request(&self, time: u64) {
        if self.timers.startup_timeout.is_some() && self.first_request.load(Ordering::Relaxed) == 0
        {
            self.first_request.store(time, Ordering::Relaxed);
        }
    }

    /// The limit that has been reached, checked after a request; `served`: how many requests there have been.
    pub(crate) fn after_request(
        &self,
        served: u64,
        record: &Record<'_>,
    ) -> Option<(Reason, String)> {
        if let Some(most) = self.most_requests
            && served >= most
        {
            return Some((Reason::MaximumRequests, format!("it has served {served} requests")));
        }
        let most = self.timers.maximum_memory?;
        let time = now();
        let before = self.measured.load(Ordering::Relaxed);
        if time.saturating_sub(before) < MEASURE_INTERVAL {
            return None;
        }
        self.measured.store(time, Ordering::Relaxed);
        let resident_bytes = sys::resident_bytes()?;
        record.set(Field::Resident, resident_bytes);
        (resident_bytes > most)
            .then(|| (Reason::MaximumMemory, format!("it uses {resident_bytes} bytes")))
    }

    /// The limit on time that has been reached, if any. `has_sockets`: a WebSocket is open, which is a request that goes on.
    pub(crate) fn check_timers(
        &self,
        record: &Record<'_>,
        has_sockets: bool,
    ) -> Option<(Reason, String)> {
        let time = now();
        // The limit in seconds, if it has passed.
        let over = |limit: Option<Duration>, since: u64| {
            let limit = time_limit::enabled(limit)?;
            let is_over = since != 0 && time_limit::has_passed(limit, since, time);
            is_over.then_some(limit.as_secs_f64())
        };
        let timers = &self.timers;
        if let Some(limit) = over(timers.restart_interval, self.started) {
            return Some((Reason::RestartInterval, format!("it is {limit} s old")));
        }
        for (since, line) in record.requests() {
            if let Some(limit) = self.last_limit()
                && let Some(limit) = over(Some(limit), since)
            {
                let text = format!("{line} takes longer than request-timeout ({limit:.0} s)");
                return Some((Reason::RequestTimeout, text));
            }
        }
        // In this order: a thread that ends a request first stores the time, and then that it is no longer busy.
        if !record.is_busy()
            && !has_sockets
            && let Some(limit) = over(timers.inactivity_timeout, record.get(Field::LastRequest))
        {
            return Some((Reason::InactivityTimeout, format!("no request came for {limit} s")));
        }
        let waits = !self.has_loaded.load(Ordering::Relaxed);
        if waits
            && let Some(limit) =
                over(timers.startup_timeout, self.first_request.load(Ordering::Relaxed))
        {
            return Some((Reason::StartupTimeout, format!("no script was loaded in {limit} s")));
        }
        None
    }

    /// Whether a request that began then takes longer than it may.
    pub(super) fn is_overdue(&self, since: u64) -> bool {
        self.last_limit().is_some_and(|limit| time_limit::has_passed(limit, since, now()))
    }

    /// How long a request may take before its worker is replaced.
    pub(crate) fn last_limit(&self) -> Option<Duration> {
        Some(self.request_limit()? + self.timers.interrupt_timeout.unwrap_or_default())
    }

    /// How long one may take before anything is done about it.
    ///
    /// mod_wsgi's formula: one stuck thread of many is less urgent than the only one.
    pub(crate) fn request_limit(&self) -> Option<Duration> {
        let limit = time_limit::enabled(self.timers.request_timeout)?;
        Some(limit.mul_f64(1.0 + f64::from(self.threads.max(1)).ln()))
    }
}
