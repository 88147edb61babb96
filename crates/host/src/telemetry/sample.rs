//! The metrics of an interval.
#![forbid(unsafe_code)]

use super::datagram::Datagram;
use super::field;
use crate::observe::activity::Activity;
use crate::observe::metrics::{PHASES, ThreadSample, ThreadUtilization};
use crate::posix::resident;

/// The most threads that have an entry in the lists.
const MAX_SLOTS: usize = 128;
/// The phases that only requests of daemon mode have; left out where no request had them.
const DAEMON_PHASES: [&str; 2] = ["queue", "daemon"];

/// Drains what `activity` has recorded. `threads` is how many there may be.
pub(super) fn fill(datagram: &mut Datagram, activity: &Activity, threads: i64) {
    let (interval, thread_samples) = activity.drain();
    let used = interval.utilization();
    datagram.float(field::SAMPLE_PERIOD, used.period);
    datagram.count(field::REQUEST_COUNT, unsigned(interval.count));
    datagram.float(field::REQUEST_THROUGHPUT, interval.count as f64 / used.period);
    let places = activity.places(threads);
    let in_use = ThreadUtilization::of(&thread_samples, used.period, places);
    datagram.float(field::CAPACITY_UTILIZATION, in_use.capacity);
    datagram.float(field::CPU_USER_UTILIZATION, used.user);
    datagram.float(field::CPU_SYSTEM_UTILIZATION, used.system);
    datagram.float(field::CPU_UTILIZATION, used.user + used.system);
    datagram.count(field::MEMORY_RSS, unsigned(resident()));
    datagram.count(field::MEMORY_MAX_RSS, unsigned(used.usage.most_resident));
    datagram.count(field::THREADS_MAXIMUM, unsigned(threads));
    datagram.count(field::THREADS_STARTED, in_use.started as u64);
    datagram.count(field::THREADS_ACTIVE, in_use.active as u64);
    for (number, (phase, times)) in (0..).zip(PHASES.into_iter().zip(&interval.phases)) {
        let mean = times.mean();
        if mean.is_none() && DAEMON_PHASES.contains(&phase) {
            continue;
        }
        datagram.float(field::PHASE_MEAN + number, mean.unwrap_or(0.0));
        if let Some((least, most)) = times.extremes() {
            datagram.float(field::PHASE_LEAST + number, least as f64 / 1e6);
            datagram.float(field::PHASE_MOST + number, most as f64 / 1e6);
        }
        let buckets = times.buckets.iter().map(|&count| i32::try_from(count).unwrap_or(i32::MAX));
        datagram.integers(field::PHASE_BUCKETS + number, buckets);
    }
    let [bytes, reads] = interval.input;
    datagram.count(field::INPUT_BYTES, unsigned(bytes));
    datagram.count(field::INPUT_READS, unsigned(reads));
    let [bytes, writes] = interval.output;
    datagram.count(field::OUTPUT_BYTES, unsigned(bytes));
    datagram.count(field::OUTPUT_WRITES, unsigned(writes));
    for (number, count) in (field::STATUS_CLASS..).zip(interval.statuses) {
        datagram.count(number, unsigned(count));
    }
    let slots = usize::try_from(threads).unwrap_or(0).max(thread_samples.len()).min(MAX_SLOTS);
    let lap = |slot: usize| thread_samples.get(slot).copied().unwrap_or_default();
    let completed = |slot| i32::try_from(lap(slot).completed).unwrap_or(i32::MAX);
    datagram.integers(field::SLOT_COMPLETED, (0..slots).map(completed));
    let column = |value: fn(ThreadSample) -> f64| (0..slots).map(move |slot| value(lap(slot)));
    datagram.floats(field::SLOT_BUSY, column(|lap| lap.busy.as_secs_f64()));
    datagram.floats(field::SLOT_CPU, column(|lap| lap.cpu));
    datagram.floats(field::SLOT_CURRENT, column(|lap| lap.current.as_secs_f64()));
    datagram.floats(field::SLOT_LONGEST, column(|lap| lap.longest.as_secs_f64()));
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
