//! What became of the requests of one process group, or of those that Apache's children serve themselves, over all
//! children: counts by class of status and by flag, and histograms of durations. It must never know a request.
//!
//! Applications of a process group cannot write to it. Each thread counts in one of several stripes, so that threads
//! do not wait for each other's cache lines; the numbers of all stripes are added when they are read.
#![forbid(unsafe_code)]

use super::readings::{READINGS, Readings};
use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use sys::SharedWords;

/// The upper bounds of a histogram's buckets, in microseconds; what is longer is in one more.
pub(crate) const BOUNDS: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];
const BUCKETS: usize = BOUNDS.len() + 1;
/// Classes of status: none, and 1xx to 5xx.
const CLASSES: usize = 6;
/// Room for flags by their number.
const FLAGS: usize = 32;
const DURATION: usize = CLASSES + FLAGS;
const QUEUE: usize = DURATION + BUCKETS + 1;
/// A whole number of cache lines.
const STRIPE: usize = QUEUE + BUCKETS + 1;
const STRIPES: usize = 8;

/// The counters.
pub(crate) struct RequestCounters {
    words: SharedWords,
}

/// A histogram as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    /// Requests in each bucket, not those in the ones before.
    pub(crate) buckets: [u64; BUCKETS],
    /// Of all requests, in microseconds.
    pub(crate) sum: u64,
}

/// What has been counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestCounts {
    /// Requests by class of status, from 1xx on.
    pub(crate) classes: [u64; CLASSES - 1],
    /// Requests by number of flag.
    pub(crate) flags: [u64; FLAGS],
    /// From the arrival of the request to the end of the handler.
    pub(crate) duration: Histogram,
    /// Until a worker began to serve the request.
    pub(crate) queue: Histogram,
}

thread_local! {
    static OWN_STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
}

impl RequestCounters {
    /// Nothing has been counted.
    pub(crate) fn new() -> io::Result<Self> {
        let counters = Self { words: SharedWords::new(STRIPES * STRIPE + READINGS)? };
        counters.readings().begin(scoreboard::now());
        Ok(counters)
    }

    /// Counts a request with this HTTP status and the flags of these numbers, which took `duration` and waited for
    /// `queue`, in microseconds.
    pub(crate) fn record(
        &self,
        status: u16,
        flags: impl Iterator<Item = usize>,
        duration: u64,
        queue: Option<u64>,
    ) {
        let first = own_stripe() * STRIPE;
        let Some(stripe) = self.words.get(first..first + STRIPE) else { return };
        let add = |index: usize, number: u64| {
            if let Some(word) = stripe.get(index) {
                word.fetch_add(number, Ordering::Relaxed);
            }
        };
        let class = usize::from(status / 100);
        add(if class < CLASSES { class } else { 0 }, 1);
        flags.filter(|flag| *flag < FLAGS).for_each(|flag| add(CLASSES + flag, 1));
        for (start, time) in [(DURATION, Some(duration)), (QUEUE, queue)] {
            if let Some(time) = time {
                add(start + bucket(time), 1);
                add(start + BUCKETS, time);
            }
        }
    }

    /// What readers of the counters share.
    pub(crate) fn readings(&self) -> Readings<'_> {
        Readings(self.words.get(STRIPES * STRIPE..).unwrap_or_default())
    }

    /// What has been counted so far.
    pub(crate) fn read(&self) -> RequestCounts {
        let mut sums = [0_u64; STRIPE];
        for stripe in self.words.chunks_exact(STRIPE).take(STRIPES) {
            for (sum, word) in sums.iter_mut().zip(stripe) {
                *sum = sum.wrapping_add(word.load(Ordering::Relaxed));
            }
        }
        let mut counts = RequestCounts::default();
        let mut words = sums.into_iter().skip(1);
        counts.classes.iter_mut().zip(&mut words).for_each(|(to, from)| *to = from);
        counts.flags.iter_mut().zip(sums.into_iter().skip(CLASSES)).for_each(|(to, from)| {
            *to = from;
        });
        for (start, histogram) in [(DURATION, &mut counts.duration), (QUEUE, &mut counts.queue)] {
            let mut words = sums.into_iter().skip(start);
            histogram.buckets.iter_mut().zip(&mut words).for_each(|(to, from)| *to = from);
            histogram.sum = sums.get(start + BUCKETS).copied().unwrap_or(0);
        }
        counts
    }
}

impl RequestCounts {
    /// How many requests have been counted.
    pub(crate) fn total(&self) -> u64 {
        self.classes.iter().fold(0, |sum, class| sum.wrapping_add(*class))
    }
}

impl Histogram {
    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.wrapping_add(*bucket))
    }

    /// The upper bound of each bucket with the number of values up to it; `None`: no bound.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BOUNDS.iter().copied().map(Some).chain([None]);
        bounds.zip(self.buckets.iter()).scan(0_u64, |sum, (bound, bucket)| {
            *sum = sum.wrapping_add(*bucket);
            Some((bound, *sum))
        })
    }

    /// The value below which `percent` of all are, between the bounds of its bucket, in microseconds; `None` where there
    /// is none, or it is beyond the last bound.
    pub(crate) fn percentile(&self, percent: u64) -> Option<u64> {
        percentile(&BOUNDS, &self.buckets, percent)
    }
}

/// The same for buckets with other upper bounds.
pub(crate) fn percentile(bounds: &[u64], buckets: &[u64], percent: u64) -> Option<u64> {
    let count = buckets.iter().copied().fold(0, u64::saturating_add);
    let rank = count.saturating_mul(percent).div_ceil(100).max(1);
    let (mut below, mut lower) = (0_u64, 0);
    for (bound, bucket) in bounds.iter().zip(buckets) {
        if below.saturating_add(*bucket) >= rank && *bucket > 0 {
            let part = bound.saturating_sub(lower).saturating_mul(rank.saturating_sub(below));
            return Some(lower.saturating_add(part / bucket));
        }
        (below, lower) = (below.saturating_add(*bucket), *bound);
    }
    None
}

fn bucket(time: u64) -> usize {
    BOUNDS.iter().position(|bound| time <= *bound).unwrap_or(BOUNDS.len())
}

/// The stripe in which the calling thread counts.
fn own_stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    OWN_STRIPE.get().unwrap_or_else(|| {
        // Children with one thread each are to have different ones, too.
        let process = std::process::id() as usize;
        let stripe = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(process) % STRIPES;
        OWN_STRIPE.set(Some(stripe));
        stripe
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn stripes_are_whole_cache_lines() {
        assert_eq!(STRIPE * size_of::<AtomicU64>() % 64, 0);
    }

    #[test]
    fn counts_of_all_threads_are_added() {
        let counters = RequestCounters::new().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counters.record(200, std::iter::empty(), 700, Some(3));
                    }
                    counters.record(504, [2, 31, 99].into_iter(), 40_000_000, None);
                });
            }
        });
        counters.record(7, std::iter::empty(), 0, None);
        let counts = counters.read();
        assert_eq!(counts.classes, [0, 4000, 0, 0, 4]);
        assert_eq!((counts.flags[2], counts.flags[31], counts.total()), (4, 4, 4004));
        assert_eq!((counts.duration.count(), counts.queue.count()), (4005, 4000));
        assert_eq!(counts.duration.sum, 4 * (700_000 + 40_000_000));
        assert_eq!((counts.queue.sum, counts.queue.buckets[0]), (12_000, 4000));
        assert_eq!(counts.duration.buckets[15], 4);
        assert_eq!(counts.duration.cumulative().last(), Some((None, 4005)));
    }

    #[test]
    fn percentiles_are_within_their_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50), None);
        histogram.buckets[2] = 90;
        histogram.buckets[15] = 10;
        let half = histogram.percentile(50).unwrap();
        assert!(half > 1_000 && half <= 2_500, "{half}");
        assert_eq!((histogram.percentile(90), histogram.percentile(99)), (Some(2_500), None));
    }
}
