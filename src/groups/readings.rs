//! When the requests of a group were last counted by a reader, and how many there were: the rate of now is the difference
//! to that, and costs requests nothing. Also the highest processor time that a reader has seen. It must never know a
//! request or a worker.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

/// The words that this needs.
pub(crate) const READINGS: usize = 8;
/// When the reader that writes has begun, or 0.
const WRITER: usize = 0;
/// The time and the count of the reading before the last.
const BEFORE: usize = 1;
/// Those of the last.
const LAST: usize = 3;
const CPU: usize = 5;
/// Readings are kept that are so far apart, in microseconds.
const INTERVAL: u64 = 5_000_000;
/// A reader that has not ended after this time, in microseconds, has died.
const PATIENCE: u64 = 1_000_000;

/// What the readers of one group share.
pub(crate) struct Readings<'w>(pub(super) &'w [AtomicU64]);

/// How many requests there were in some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Requests.
    pub(crate) count: u64,
    /// In so many microseconds.
    pub(crate) time: u64,
}

impl Rate {
    /// Requests in a second.
    pub(crate) fn per_second(self) -> f64 {
        self.count as f64 * 1e6 / self.time.max(1) as f64
    }
}

impl Readings<'_> {
    /// Begins at `now`, in microseconds of [`scoreboard::now`], before the first request.
    pub(super) fn begin(&self, now: u64) {
        [BEFORE, LAST].into_iter().for_each(|index| self.set(index, now));
    }

    /// Takes a reading of `total` requests at `now`; how many have come since one that is at least five seconds older, or
    /// since the beginning. `None` while another reader writes.
    pub(crate) fn rate(&self, now: u64, total: u64) -> Option<Rate> {
        let writer = self.0.get(WRITER)?;
        let seen = writer.load(Ordering::Acquire);
        let is_free = seen == 0 || now.saturating_sub(seen) > PATIENCE;
        let order = (Ordering::Acquire, Ordering::Relaxed);
        if !is_free || writer.compare_exchange(seen, now, order.0, order.1).is_err() {
            return None;
        }
        let last = (self.get(LAST), self.get(LAST + 1));
        let is_due = now.saturating_sub(last.0) >= INTERVAL;
        let (since, before) = if is_due { last } else { (self.get(BEFORE), self.get(BEFORE + 1)) };
        if is_due {
            for (start, (time, count)) in [(BEFORE, last), (LAST, (now, total))] {
                self.set(start, time);
                self.set(start + 1, count);
            }
        }
        writer.store(0, Ordering::Release);
        Some(Rate { count: total.saturating_sub(before), time: now.saturating_sub(since) })
    }

    /// The highest of `cpu` and of what was given before, in microseconds: what a worker has used is read in two places,
    /// and is in neither for a moment when it ends. A counter must not fall.
    pub(crate) fn highest_cpu(&self, cpu: u64) -> u64 {
        self.0.get(CPU).map_or(cpu, |word| word.fetch_max(cpu, Ordering::Relaxed).max(cpu))
    }

    fn get(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn set(&self, index: usize, value: u64) {
        if let Some(word) = self.0.get(index) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_that_of_the_last_five_to_ten_seconds_however_often_it_is_read() {
        let words: Vec<_> = (0..READINGS).map(|_| AtomicU64::new(0)).collect();
        let readings = Readings(&words);
        let second = 1_000_000;
        readings.begin(100 * second);
        let rate = |time: u64, total| {
            let rate = readings.rate(time * second, total).unwrap();
            (rate.count, rate.time / second, rate.per_second())
        };
        assert_eq!(rate(102, 20), (20, 2, 10.0));
        assert_eq!(rate(110, 100), (100, 10, 10.0));
        // 20 a second from here on.
        assert_eq!(rate(112, 140), (140, 12, 140.0 / 12.0));
        assert_eq!(rate(115, 200), (100, 5, 20.0));
        assert_eq!(rate(117, 240), (140, 7, 20.0));
        assert_eq!(rate(120, 300), (100, 5, 20.0));
        // Counters of another manager begin anew.
        assert_eq!(rate(126, 7).0, 0);
    }

    #[test]
    fn reader_that_has_died_stands_in_the_way_for_a_second_only() {
        let words: Vec<_> = (0..READINGS).map(|_| AtomicU64::new(0)).collect();
        let readings = Readings(&words);
        readings.set(WRITER, 5);
        assert_eq!(readings.rate(PATIENCE, 1), None);
        assert_eq!(readings.rate(PATIENCE + 6, 1), Some(Rate { count: 1, time: PATIENCE + 6 }));
    }

    #[test]
    fn processor_time_does_not_fall() {
        let words: Vec<_> = (0..READINGS).map(|_| AtomicU64::new(0)).collect();
        let readings = Readings(&words);
        assert_eq!([5, 3, 7].map(|cpu| readings.highest_cpu(cpu)), [5, 5, 7]);
    }
}
