//! What became of the requests of one process group, or of those that Apache's children serve themselves, over all
//! children: counts by class of status and by flag, and histograms of durations. It must never know a request, or where
//! the words are.
//!
//! Each thread counts in one of several stripes, so that threads do not wait for each other's cache lines; the numbers of
//! all stripes are added when they are read.
#![forbid(unsafe_code)]

use crate::histogram::{BUCKETS, Histogram, bucket};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Classes of status: any other number, and 1xx to 5xx.
const CLASSES: usize = 6;
/// Room for flags by their number.
const FLAGS: usize = 32;
const DURATION: usize = CLASSES + FLAGS;
const QUEUE: usize = DURATION + BUCKETS + 1;
/// A whole number of cache lines.
pub(crate) const STRIPE: usize = QUEUE + BUCKETS + 1;
const STRIPES: usize = 8;

/// The words that the counters need.
pub const REQUEST_WORDS: usize = STRIPES * STRIPE;

/// The counters, in words that only processes of Apache can write to.
#[derive(Clone, Copy)]
pub struct RequestWords<'m>(pub &'m [AtomicU64]);

/// What has been counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Requests by class of status, as [`RequestCounts::CLASS_NAMES`] has them.
    pub classes: [u64; CLASSES],
    /// Requests by number of flag.
    pub flags: [u64; FLAGS],
    /// From the arrival of the request to the end of the handler.
    pub duration: Histogram,
    /// Until a worker began to serve the request.
    pub queue: Histogram,
}

thread_local! {
    static OWN_STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
}

impl RequestWords<'_> {
    /// Counts a request with this HTTP status and the flags of these numbers, which took `duration` and waited for
    /// `queue`, in microseconds.
    pub fn record(
        &self,
        status: u16,
        flags: impl Iterator<Item = usize>,
        duration: u64,
        queue: Option<u64>,
    ) {
        let first = own_stripe() * STRIPE;
        let Some(stripe) = self.0.get(first..first + STRIPE) else { return };
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
}

impl RequestCounts {
    /// The names of the classes. An application may answer with a status of its own, such as 999: that is in the last.
    pub const CLASS_NAMES: [&'static str; CLASSES] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

    /// What has been counted so far in the first [`REQUEST_WORDS`] words, of which `word` reads one by its index.
    pub fn read(word: impl Fn(usize) -> u64) -> Self {
        Self::of(&sums(word))
    }

    /// What these sums over all stripes say.
    pub(crate) fn of(sums: &[u64; STRIPE]) -> Self {
        let mut counts = Self::default();
        // Word 0 is that of the last class.
        let words = sums.iter().take(CLASSES).cycle().skip(1);
        counts.classes.iter_mut().zip(words).for_each(|(to, from)| *to = *from);
        counts.flags.iter_mut().zip(sums.iter().skip(CLASSES)).for_each(|(to, from)| {
            *to = *from;
        });
        for (start, histogram) in [(DURATION, &mut counts.duration), (QUEUE, &mut counts.queue)] {
            let mut words = sums.iter().skip(start);
            histogram.buckets.iter_mut().zip(&mut words).for_each(|(to, from)| *to = *from);
            histogram.sum = sums.get(start + BUCKETS).copied().unwrap_or(0);
        }
        counts
    }

    /// What has been counted since these counts were read; never less than nothing.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut counts = self.clone();
        let less = |(to, from): (&mut u64, &u64)| *to = to.saturating_sub(*from);
        counts.classes.iter_mut().zip(&before.classes).for_each(less);
        counts.flags.iter_mut().zip(&before.flags).for_each(less);
        counts.duration = self.duration.since(&before.duration);
        counts.queue = self.queue.since(&before.queue);
        counts
    }

    /// Requests with a status of 5xx.
    pub const fn server_errors(&self) -> u64 {
        let [_, _, _, _, errors, _] = self.classes;
        errors
    }

    /// How many requests have been counted.
    pub fn total(&self) -> u64 {
        self.classes.iter().fold(0, |sum, class| sum.wrapping_add(*class))
    }
}

/// Each word of a stripe, added over all stripes.
pub(crate) fn sums(word: impl Fn(usize) -> u64) -> [u64; STRIPE] {
    let mut sums = [0_u64; STRIPE];
    for stripe in 0..STRIPES {
        for (index, sum) in sums.iter_mut().enumerate() {
            *sum = sum.wrapping_add(word(stripe * STRIPE + index));
        }
    }
    sums
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

    #[test]
    fn stripes_are_whole_cache_lines() {
        assert_eq!(STRIPE * size_of::<AtomicU64>() % 64, 0);
    }

    #[test]
    fn counts_of_all_threads_are_added() {
        let words: Vec<_> = (0..REQUEST_WORDS).map(|_| AtomicU64::new(0)).collect();
        let counters = RequestWords(&words);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    for _ in 0..1000 {
                        counters.record(200, std::iter::empty(), 700, Some(3));
                    }
                    counters.record(504, [2, 31, 99].into_iter(), 40_000_000, None);
                });
            }
        });
        for status in [7, 600, 999] {
            counters.record(status, std::iter::empty(), 0, None);
        }
        let counts = RequestCounts::read(|index| words[index].load(Ordering::Relaxed));
        assert_eq!(counts.classes, [0, 4000, 0, 0, 4, 3]);
        assert_eq!((counts.flags[2], counts.flags[31], counts.server_errors()), (4, 4, 4));
        // Each request is in the total, whatever its status.
        assert_eq!((counts.duration.count(), counts.total()), (4007, 4007));
        assert_eq!(counts.queue.count(), 4000);
        assert_eq!(counts.duration.sum, 4 * (700_000 + 40_000_000));
        assert_eq!((counts.queue.sum, counts.queue.buckets[0]), (12_000, 4000));
        assert_eq!(counts.duration.buckets[15], 4);
        assert_eq!(counts.duration.cumulative().last(), Some((None, 4007)));
    }
}
