//! What has been counted of requests in the last minute: copies of the counters, which one process takes at intervals, and
//! what has come since one of them. Requests are not asked for anything. It must never know a request, or where the words are.
//!
//! The copies are in [`RECENT_WORDS`] words behind those of the counters. Each has a number that is odd while it is written
//! and another one afterwards; a reader leaves out what changes meanwhile. Nothing waits.
#![forbid(unsafe_code)]

use crate::requests::{REQUEST_WORDS, RequestCounts, STRIPE, sums};
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// How many copies are kept. Those that are [`INTERVAL`] apart reach further back than [`WINDOW`], also while one is written.
const COPIES: usize = 9;
const NUMBER: usize = 0;
const TIME: usize = 1;
const SUMS: usize = 2;
const COPY: usize = SUMS + STRIPE;
/// A copy is taken no sooner after another one, in microseconds.
const INTERVAL: u64 = 9_000_000;
/// What is recent, in microseconds; the copy that is as old or a little older is what is subtracted.
const WINDOW: u64 = 60_000_000;

/// The words that the copies need: the number of the next one, and each of them.
pub const RECENT_WORDS: usize = 8 + COPIES * COPY;

/// The counters with the copies of them, of which one process takes copies at a time.
#[derive(Clone, Copy)]
pub struct RequestCopies<'m>(pub &'m [AtomicU64]);

/// What has been counted since a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentRequests {
    /// How long ago that was, in microseconds: a minute or a little more, or since the counters began.
    pub time: u64,
    /// What has been counted.
    pub counts: RequestCounts,
}

impl RequestCopies<'_> {
    /// Takes a copy of the counters at `now`, in microseconds of [`crate::now`], if the last one is old enough.
    pub fn take(&self, now: u64) {
        let Some((next, copies)) =
            self.0.get(REQUEST_WORDS..).and_then(|words| Some((words.first()?, words.get(8..)?)))
        else {
            return;
        };
        let number = next.load(Ordering::Relaxed);
        let at = |number: u64| {
            let start = (number % COPIES as u64) as usize * COPY;
            copies.get(start..start + COPY).unwrap_or_default()
        };
        let last = at(number.wrapping_sub(1)).get(TIME).map_or(0, |it| it.load(Ordering::Relaxed));
        if number > 0 && now.saturating_sub(last) < INTERVAL {
            return;
        }
        let copy = at(number);
        let store = |index: usize, value: u64| {
            if let Some(word) = copy.get(index) {
                word.store(value, Ordering::Relaxed);
            }
        };
        let written = number.wrapping_add(1).wrapping_mul(2);
        store(NUMBER, written | 1);
        fence(Ordering::Release);
        store(TIME, now);
        let words = |index: usize| self.0.get(index).map_or(0, |it| it.load(Ordering::Relaxed));
        sums(words).into_iter().enumerate().for_each(|(index, sum)| store(SUMS + index, sum));
        fence(Ordering::Release);
        store(NUMBER, written);
        next.store(number.wrapping_add(1), Ordering::Relaxed);
    }
}

impl RecentRequests {
    /// What has come at `now` since the newest copy that is a minute old, or, where none is, since the oldest one. `word`
    /// reads a word of the counters or of the copies by its index; `counts`: what has been counted in all by now.
    pub fn read(word: impl Fn(usize) -> u64, now: u64, counts: &RequestCounts) -> Self {
        let copies = (0..COPIES).map(|copy| REQUEST_WORDS + 8 + copy * COPY);
        let times = copies.filter_map(|start| {
            let number = word(start + NUMBER);
            fence(Ordering::Acquire);
            let is_whole = number != 0 && number.is_multiple_of(2);
            is_whole.then(|| (word(start + TIME), number, start))
        });
        let mut copies: Vec<_> = times.filter(|(time, ..)| *time <= now).collect();
        copies.sort_unstable();
        let is_old = |(time, ..): &&(u64, u64, usize)| now.saturating_sub(*time) >= WINDOW;
        let chosen = copies.iter().rev().find(is_old).or(copies.first());
        let Some((time, number, start)) = chosen.copied() else { return Self::default() };
        let before = std::array::from_fn(|index| word(start + SUMS + index));
        fence(Ordering::Acquire);
        if word(start + NUMBER) != number {
            // The oldest one was just replaced; that takes a minute.
            return Self::default();
        }
        let counts = counts.since(&RequestCounts::of(&before));
        Self { time: now.saturating_sub(time), counts }
    }

    /// Requests in a second.
    pub fn per_second(&self) -> f64 {
        self.counts.total() as f64 * 1e6 / self.time.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::RequestWords;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000;

    fn words() -> Vec<AtomicU64> {
        (0..REQUEST_WORDS + RECENT_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn recent(words: &[AtomicU64], now: u64) -> RecentRequests {
        let word = |index: usize| words.get(index).map_or(0, |it| it.load(Ordering::Relaxed));
        RecentRequests::read(word, now, &RequestCounts::read(word))
    }

    fn record(words: &[AtomicU64], count: u64, status: u16, time: u64) {
        for _ in 0..count {
            RequestWords(words).record(status, std::iter::empty(), time, None);
        }
    }

    #[test]
    fn what_is_recent_is_that_of_the_last_minute_and_before_that_of_all_the_time() {
        let words = words();
        let copies = RequestCopies(&words);
        assert_eq!(recent(&words, 5 * SECOND), RecentRequests::default());
        copies.take(100 * SECOND);
        record(&words, 50, 500, 20 * SECOND);
        let begun = recent(&words, 110 * SECOND);
        assert_eq!((begun.time, begun.counts.total()), (10 * SECOND, 50));
        assert_eq!((begun.per_second(), begun.counts.server_errors()), (5.0, 50));
        // Ten a second are served quickly from here on.
        for second in 101..=300 {
            record(&words, 10, 200, 700);
            copies.take(second * SECOND);
            let now = recent(&words, second * SECOND);
            let slow = now.counts.duration.percentile(99);
            if second < 160 {
                assert_eq!(now.time, (second - 100) * SECOND);
                assert!(slow.is_some_and(|it| it.bound() > SECOND), "{second}");
            } else if second > 180 {
                assert!((60..=70).contains(&(now.time / SECOND)), "{}", now.time);
                assert_eq!((now.per_second(), now.counts.server_errors()), (10.0, 0));
                assert!(slow.is_some_and(|it| it.bound() <= 1000), "{second}");
            }
        }
    }

    #[test]
    fn process_that_has_taken_no_copy_for_long_makes_the_time_longer() {
        let words = words();
        let copies = RequestCopies(&words);
        (0..40).for_each(|copy| copies.take((100 + copy * 10) * SECOND));
        record(&words, 6, 200, 5);
        let late = recent(&words, 900 * SECOND);
        assert_eq!((late.time, late.counts.total()), (410 * SECOND, 6));
        // What a reader has counted before a copy was taken is not less than nothing.
        assert_eq!(
            RecentRequests::read(|_| 2, 5, &RequestCounts::default()).counts,
            RequestCounts::default()
        );
    }

    #[test]
    fn readers_see_whole_copies_only_while_others_are_taken() {
        let words = words();
        let copies = RequestCopies(&words);
        std::thread::scope(|scope| {
            scope.spawn(|| (1..3000_u64).for_each(|copy| copies.take(copy * 10 * SECOND)));
            for _ in 0..2000 {
                assert_eq!(recent(&words, u64::MAX).counts.total(), 0);
            }
        });
    }

    proptest! {
        #[test]
        fn arbitrary_words_cause_no_panic(seed in any::<u64>(), length in 0..REQUEST_WORDS + RECENT_WORDS) {
            let mixed = |index: usize| seed.wrapping_mul(index as u64 | 1).rotate_left(index as u32 % 64);
            let words: Vec<_> = (0..length).map(|index| AtomicU64::new(mixed(index))).collect();
            let now = recent(&words, seed);
            RequestCopies(&words).take(seed);
            prop_assert!(now.time <= seed && now.per_second() >= 0.0);
        }
    }
}
