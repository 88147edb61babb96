//! What has happened to the workers of a group since the memory was made: how often they were started, how long that
//! took, how they ended, what all of them together have used, how late their event loops were, and messages of WebSockets.
//! It must never know a worker.
#![forbid(unsafe_code)]

use crate::histogram::{BUCKETS, Histogram, bucket};
use std::sync::atomic::{AtomicU64, Ordering};

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It was told to stop, and not to make room for another one.
    Stopped = 0,
    /// It was replaced by one with newer code, or at a restart.
    Reload = 1,
    /// It was replaced after so many requests, so much time, or without any request, or on a signal.
    Recycled = 2,
    /// It was replaced because of its memory.
    MaximumMemory = 3,
    /// A request, its start, its processor time or Python's lock exceeded a limit on time.
    TimeLimit = 4,
    /// It was told to finish, and did not in time, or not in order.
    Killed = 5,
    /// It ended by itself, without an error.
    Exited = 6,
    /// It ended by itself, with another status than 0.
    Status = 7,
    /// A signal ended it that its manager had not sent.
    Signal = 8,
    /// The same by SIGKILL, when the kernel has killed a process of its control group for want of memory.
    OutOfMemory = 9,
    /// It ended before it was ready.
    StartFailed = 10,
    /// An administrator has had the group reload.
    ReloadCommand = 11,
    /// An administrator has had the worker replaced.
    RecycleCommand = 12,
    /// An administrator has had the group drain.
    DrainCommand = 13,
}

impl ExitReason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Stopped,
        Self::Reload,
        Self::Recycled,
        Self::MaximumMemory,
        Self::TimeLimit,
        Self::Killed,
        Self::Exited,
        Self::Status,
        Self::Signal,
        Self::OutOfMemory,
        Self::StartFailed,
        Self::ReloadCommand,
        Self::RecycleCommand,
        Self::DrainCommand,
    ];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Reload => "reload",
            Self::Recycled => "recycled",
            Self::MaximumMemory => "maximum_memory",
            Self::TimeLimit => "time_limit",
            Self::Killed => "killed",
            Self::Exited => "exited",
            Self::Status => "status",
            Self::Signal => "signal",
            Self::OutOfMemory => "oom",
            Self::StartFailed => "start_failed",
            Self::ReloadCommand => "reload_command",
            Self::RecycleCommand => "recycle_command",
            Self::DrainCommand => "drain_command",
        }
    }
}

/// The upper bounds of the times that workers take until they are ready, in microseconds; what is longer is in one more
/// bucket.
pub const START_BOUNDS: [u64; 12] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
];
const START_BUCKETS: usize = START_BOUNDS.len() + 1;

const STARTS: usize = 0;
const EXITS: usize = 1;
const CPU: usize = EXITS + ExitReason::ALL.len();
const LOCK_WAIT: usize = CPU + 1;
const LOCK_PROBES: usize = LOCK_WAIT + 1;
const START_SUM: usize = LOCK_PROBES + 1;
const START_COUNTS: usize = START_SUM + 1;
const RECEIVED: usize = START_COUNTS + START_BUCKETS;
const SENT: usize = RECEIVED + 1;
const LAG: usize = SENT + 1;
/// The words that the counters need.
pub(crate) const COUNTERS: usize = LAG + BUCKETS + 1;

/// The counters of a group, in words that its manager and its workers can write to.
#[derive(Clone, Copy)]
pub struct Counters<'m>(pub(crate) &'m [AtomicU64]);

/// What has been counted. An application can make each number any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Workers that have been started.
    pub starts: u64,
    pub(crate) exits: [u64; ExitReason::ALL.len()],
    /// Processor time of the workers that have ended, with the processes that they had waited for, in microseconds.
    pub cpu: u64,
    /// How long the probes of `deadlock-timeout` have waited for Python's lock, in microseconds.
    pub lock_wait: u64,
    /// How many of these probes there were.
    pub lock_probes: u64,
    /// How many workers took so long until they were ready: in each bucket of [`START_BOUNDS`], and beyond the last.
    pub start_times: [u64; START_BUCKETS],
    /// All these times together, in microseconds.
    pub start_sum: u64,
    /// Messages of WebSockets that clients have sent.
    pub messages_received: u64,
    /// Messages of WebSockets that applications have sent.
    pub messages_sent: u64,
    /// How late timers of event loops were.
    pub loop_lag: Histogram,
}

impl Counters<'_> {
    /// A worker has been started.
    pub fn note_start(&self) {
        self.add(STARTS, 1);
    }

    /// A worker has become ready so many microseconds after its start.
    pub fn note_ready(&self, after: u64) {
        let bucket = START_BOUNDS.iter().position(|bound| after <= *bound);
        self.add(START_COUNTS + bucket.unwrap_or(START_BOUNDS.len()), 1);
        self.add(START_SUM, after);
    }

    /// A worker has ended, and had used so many microseconds of processor time.
    pub fn note_exit(&self, reason: ExitReason, cpu: u64) {
        self.add(EXITS + reason as usize, 1);
        self.add(CPU, cpu);
    }

    /// A probe has waited for Python's lock for so many microseconds.
    pub fn note_lock_wait(&self, wait: u64) {
        self.add(LOCK_WAIT, wait);
        self.add(LOCK_PROBES, 1);
    }

    /// A client has sent a message over a WebSocket.
    pub fn note_message_received(&self) {
        self.add(RECEIVED, 1);
    }

    /// An application has sent a message over a WebSocket.
    pub fn note_message_sent(&self) {
        self.add(SENT, 1);
    }

    /// A timer of an event loop was late by so many microseconds.
    pub fn note_loop_lag(&self, lag: u64) {
        self.add(LAG + bucket(lag), 1);
        self.add(LAG + BUCKETS, lag);
    }

    /// What has been counted so far.
    pub fn read(&self) -> Events {
        let get = |index: usize| self.0.get(index).map_or(0, |word| word.load(Ordering::Relaxed));
        Events {
            starts: get(STARTS),
            exits: ExitReason::ALL.map(|reason| get(EXITS + reason as usize)),
            cpu: get(CPU),
            lock_wait: get(LOCK_WAIT),
            lock_probes: get(LOCK_PROBES),
            start_times: std::array::from_fn(|bucket| get(START_COUNTS + bucket)),
            start_sum: get(START_SUM),
            messages_received: get(RECEIVED),
            messages_sent: get(SENT),
            loop_lag: Histogram {
                buckets: std::array::from_fn(|bucket| get(LAG + bucket)),
                sum: get(LAG + BUCKETS),
            },
        }
    }

    fn add(&self, index: usize, number: u64) {
        if let Some(word) = self.0.get(index) {
            word.fetch_add(number, Ordering::Relaxed);
        }
    }
}

impl Events {
    /// Workers that have ended for this reason.
    pub fn exits(&self, reason: ExitReason) -> u64 {
        self.exits.get(reason as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_reason_has_a_name_and_a_number_of_its_own() {
        let names: HashSet<_> = ExitReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), ExitReason::ALL.len());
        assert!(ExitReason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
    }

    #[test]
    fn what_is_noted_is_read() {
        let words: Vec<_> = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        let counters = Counters(&words);
        counters.note_start();
        ExitReason::ALL.into_iter().for_each(|reason| counters.note_exit(reason, 5));
        counters.note_exit(ExitReason::Killed, 0);
        counters.note_lock_wait(7);
        counters.note_lock_wait(8);
        for after in [50_000, 50_001, 300_000_001] {
            counters.note_ready(after);
        }
        counters.note_message_received();
        (0..2).for_each(|_| counters.note_message_sent());
        [400, 40_000_000].into_iter().for_each(|lag| counters.note_loop_lag(lag));
        let events = counters.read();
        let exits = ExitReason::ALL.map(|reason| events.exits(reason));
        assert_eq!((events.starts, exits), (1, [1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1]));
        assert_eq!((events.cpu, events.lock_wait, events.lock_probes), (70, 15, 2));
        assert_eq!(events.start_times, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(events.start_sum, 300_100_002);
        assert_eq!((events.messages_received, events.messages_sent), (1, 2));
        let lag = events.loop_lag;
        assert_eq!((lag.count(), lag.buckets[0], lag.buckets[15]), (2, 1, 1));
        assert_eq!(lag.sum, 40_000_400);
    }
}
