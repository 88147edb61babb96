//! What is computed from two answers of a group: rates, and how they have developed. It knows no terminal.

use crate::control::report::{Report, number};
use crate::control::table::duration;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// How many values a history has.
pub(super) const HISTORY: usize = 120;

/// The figures of a worker, or of all workers of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// Requests a second.
    pub(super) rate: f64,
    pub(super) busy: u64,
    pub(super) capacity: u64,
    /// Requests that wait for the worker, or for one of the group; `None` where the manager does not know.
    pub(super) waiting: Option<u64>,
    /// The age of the oldest request in seconds.
    pub(super) oldest: f64,
    /// Resident memory in bytes.
    pub(super) memory: u64,
    /// Processors that are used, in percent of one.
    pub(super) cpu: f64,
    pub(super) served: u64,
}

/// How a group has developed, one value for each answer; whole numbers, as the graphs take them.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) rate: VecDeque<u64>,
    pub(super) busy: VecDeque<u64>,
    pub(super) cpu: VecDeque<u64>,
}

/// What workers had done when they were last looked at, by process id: requests, seconds of a processor, and when.
pub(super) type Before = BTreeMap<u64, (u64, f64, Instant)>;

impl Figures {
    /// Those of a worker, compared with what it had done `before`.
    pub(super) fn of(worker: &Value, capacity: u64, before: &mut Before, now: Instant) -> Self {
        let (served, cpu) = (number(&worker["served"]), real(&worker["cpu_seconds"]));
        let last = before.insert(number(&worker["pid"]), (served, cpu, now));
        let per_second = |(served_before, cpu_before, then): (u64, f64, Instant)| {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            let more = served.saturating_sub(served_before) as f64;
            (more / seconds, ((cpu - cpu_before) / seconds).max(0.0))
        };
        let (rate, used) = last.map(per_second).unwrap_or_default();
        let requests = worker["requests"].as_array().map_or(&[][..], Vec::as_slice);
        Self {
            rate,
            busy: number(&worker["busy"]),
            capacity,
            waiting: worker["waiting"].as_u64(),
            oldest: requests.iter().map(|it| real(&it["age_seconds"])).fold(0.0, f64::max),
            memory: number(&worker["resident_bytes"]),
            cpu: used * 100.0,
            served,
        }
    }

    /// Adds those of another worker.
    pub(super) fn add(&mut self, other: &Self) {
        self.rate += other.rate;
        self.busy = self.busy.saturating_add(other.busy);
        self.capacity = self.capacity.saturating_add(other.capacity);
        self.waiting = match (self.waiting, other.waiting) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        self.oldest = self.oldest.max(other.oldest);
        self.memory = self.memory.saturating_add(other.memory);
        self.cpu += other.cpu;
        self.served = self.served.saturating_add(other.served);
    }
}

impl History {
    pub(super) fn note(&mut self, figures: &Figures) {
        // Tenths of requests, so that a rate below one is seen.
        push(&mut self.rate, (figures.rate * 10.0) as u64);
        push(&mut self.busy, figures.busy);
        push(&mut self.cpu, figures.cpu as u64);
    }
}

fn push(values: &mut VecDeque<u64>, value: u64) {
    if values.len() == HISTORY {
        values.pop_front();
    }
    values.push_back(value);
}

/// The 95th percentile of the times of the last minute, `duration` or `queue`, that a group has said; empty where there is
/// none.
pub(super) fn p95(report: &Report, times: &str) -> String {
    let Ok(status) = &report.status else { return String::new() };
    let times = &status["requests"]["recent"][times];
    match (times["p95_seconds"].as_f64(), number(&times["count"])) {
        (Some(seconds), _) if seconds < 1.0 => format!("{:.1} ms", seconds.max(0.0) * 1e3),
        (Some(seconds), _) => duration(seconds),
        (None, 0) => String::new(),
        (None, _) => format!("> {}", duration(real(&times["bound_seconds"]))),
    }
}

/// A number of a group, which may have said anything.
pub(super) fn real(value: &Value) -> f64 {
    value.as_f64().filter(|it| it.is_finite()).unwrap_or(0.0)
}

/// The capacity of each worker of a group.
pub(super) fn capacity(report: &Report) -> u64 {
    report.status.as_ref().map_or(0, |status| number(&status["capacity_per_worker"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn rates_come_from_two_answers_of_the_same_process() {
        let (mut before, start) = (Before::new(), Instant::now());
        let worker = |pid: u64, served: u64, cpu: f64| {
            json!({ "pid": pid, "served": served, "cpu_seconds": cpu, "busy": 1, "waiting": 2,
                "resident_bytes": 1000, "requests": [{ "age_seconds": 2.5 }, { "age_seconds": 1 }] })
        };
        let first = Figures::of(&worker(7, 100, 5.0), 3, &mut before, start);
        assert_eq!((first.rate, first.cpu, first.oldest, first.capacity), (0.0, 0.0, 2.5, 3));
        let later = start + Duration::from_secs(2);
        let second = Figures::of(&worker(7, 120, 6.0), 3, &mut before, later);
        assert_eq!((second.rate, second.cpu, second.served), (10.0, 50.0, 120));
        let other = Figures::of(&worker(8, 900, 9.0), 3, &mut before, later);
        assert_eq!((other.rate, other.cpu), (0.0, 0.0));
        let mut sum = second;
        sum.add(&other);
        assert_eq!((sum.rate, sum.busy, sum.capacity, sum.memory), (10.0, 2, 6, 2000));
        assert_eq!(sum.waiting, Some(4));
        let nonsense = json!({ "pid": "x", "served": -1, "cpu_seconds": [], "requests": 1 });
        assert_eq!(Figures::of(&nonsense, 0, &mut before, later), Figures::default());
    }

    #[test]
    fn history_is_bounded() {
        let mut history = History::default();
        (0..500)
            .for_each(|rate| history.note(&Figures { rate: rate.into(), ..Figures::default() }));
        assert_eq!((history.rate.len(), history.rate.back()), (HISTORY, Some(&4990)));
    }
}
