//! What has been counted and measured, as JSON. It must never know a process.
#![forbid(unsafe_code)]

use crate::failure_flag::Flag;
use crate::status::snapshot;
use scoreboard::{
    Events, ExecutorLoad, ExecutorLoads, ExitReason, Histogram, Percentile, RequestCounts,
    START_BOUNDS, percentile,
};
use serde::{Serialize, Serializer};

/// Microseconds as seconds.
pub(super) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// All requests, and those of the last minute.
#[derive(Serialize)]
pub(super) struct Requests<'a> {
    #[serde(flatten)]
    all: Counts<'a>,
    per_second: f64,
    recent: Recent<'a>,
}

#[derive(Serialize)]
struct Recent<'a> {
    #[serde(flatten)]
    counts: Counts<'a>,
    window_seconds: f64,
}

#[derive(Serialize)]
struct Counts<'a> {
    total: u64,
    by_class: Classes<'a>,
    by_flag: ByFlag<'a>,
    duration: Times,
    queue: Times,
}

/// A histogram: of durations, or of how late something was.
#[derive(Serialize)]
pub(super) struct Times {
    count: u64,
    sum_seconds: f64,
    p50_seconds: Option<f64>,
    p95_seconds: Option<f64>,
    p99_seconds: Option<f64>,
    bound_seconds: f64,
    above_bound: u64,
}

/// How long workers have taken until they were ready.
#[derive(Serialize)]
pub(super) struct StartTime {
    count: u64,
    sum_seconds: f64,
    p50_seconds: Option<f64>,
    p95_seconds: Option<f64>,
}

/// Requests by class of status.
struct Classes<'a>(&'a RequestCounts);

/// Requests by flag, without flags that none had.
struct ByFlag<'a>(&'a RequestCounts);

/// Ends of workers by reason.
pub(super) struct Exits<'a>(pub(super) &'a Events);

/// The load of executors by their names.
pub(super) struct Executors(pub(super) ExecutorLoads);

#[derive(Serialize)]
struct Load {
    threads: u64,
    busy: u64,
    waiting: u64,
}

impl<'a> Requests<'a> {
    pub(super) fn of(requests: &'a snapshot::Requests) -> Self {
        Self {
            all: Counts::of(&requests.all),
            per_second: requests.recent.per_second(),
            recent: Recent {
                counts: Counts::of(&requests.recent.counts),
                window_seconds: seconds(requests.recent.time),
            },
        }
    }
}

impl<'a> Counts<'a> {
    fn of(counts: &'a RequestCounts) -> Self {
        Self {
            total: counts.total(),
            by_class: Classes(counts),
            by_flag: ByFlag(counts),
            duration: Times::of(&counts.duration),
            queue: Times::of(&counts.queue),
        }
    }
}

impl Times {
    pub(super) fn of(histogram: &Histogram) -> Self {
        let percentile =
            |percent| histogram.percentile(percent).and_then(Percentile::value).map(seconds);
        let (above, bound) = histogram.above();
        Self {
            count: histogram.count(),
            sum_seconds: seconds(histogram.sum),
            p50_seconds: percentile(50),
            p95_seconds: percentile(95),
            p99_seconds: percentile(99),
            bound_seconds: seconds(bound),
            above_bound: above,
        }
    }
}

impl StartTime {
    pub(super) fn of(events: &Events) -> Self {
        let times = &events.start_times;
        let percentile = |percent| {
            percentile(&START_BOUNDS, times, percent).and_then(Percentile::value).map(seconds)
        };
        Self {
            count: times.iter().copied().fold(0, u64::saturating_add),
            sum_seconds: seconds(events.start_sum),
            p50_seconds: percentile(50),
            p95_seconds: percentile(95),
        }
    }
}

impl Serialize for Classes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(RequestCounts::CLASS_NAMES.into_iter().zip(self.0.classes))
    }
}

impl Serialize for ByFlag<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Flag::ALL.into_iter().filter_map(|flag| {
            let count = self.0.flags.get(flag as usize).filter(|count| **count > 0)?;
            Some((flag.code(), count))
        }))
    }
}

impl Serialize for Exits<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let exits = ExitReason::ALL.into_iter();
        serializer.collect_map(exits.map(|reason| (reason.name(), self.0.exits(reason))))
    }
}

impl Serialize for Executors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let load = |load: ExecutorLoad| Load {
            threads: load.threads,
            busy: load.busy,
            waiting: load.waiting,
        };
        serializer.collect_map(self.0.each().map(|(executor, it)| (executor.name(), load(it))))
    }
}
