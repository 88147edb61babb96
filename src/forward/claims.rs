//! How many requests each worker of a group has, over all Apache children. It knows no worker.
//!
//! A child counts in two places: in the sum all children look at, and in a row of its own, so that what a
//! child that died had counted can be taken back.
#![forbid(unsafe_code)]

use crate::posix::{self, SharedWords};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that the parent makes and its children share.
pub(crate) struct Claims {
    /// The sums, by slot; when a request was last given up, by slot; then a row for each child: its process
    /// id, and its part of each sum.
    words: SharedWords,
    slots: usize,
}

/// More children than that share the last row, which is never taken back.
const CHILDREN: usize = 1024;

impl Claims {
    /// Counters for `slots` workers and at most `children` processes at a time.
    pub(crate) fn new(slots: usize, children: usize) -> io::Result<Self> {
        let slots = slots.max(1);
        // While a restart goes on there are two generations.
        let rows = (2 * children).clamp(1, CHILDREN) + 1;
        Ok(Self { words: SharedWords::new(2 * slots + rows * (1 + slots))?, slots })
    }

    /// A row for the calling process, which is `pid`.
    pub(super) fn enroll(&self, pid: u32) -> usize {
        self.take_back_from_the_dead();
        let mut rows = self.rows().enumerate();
        let last = self.rows().count().saturating_sub(1);
        let free = rows.find(|(number, (owner, _))| {
            let own = || {
                owner.compare_exchange(0, pid.into(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
            };
            *number < last && own()
        });
        free.map_or(last, |(number, _)| number)
    }

    /// How many requests the worker has.
    pub(super) fn of(&self, slot: usize) -> u64 {
        self.sum(slot).map_or(0, |sum| sum.load(Ordering::Relaxed))
    }

    /// Adds a request of the child that has this row, if the worker still has `count` of them.
    pub(super) fn add(&self, row: usize, slot: usize, count: u64) -> bool {
        let order = Ordering::Relaxed;
        let added = self
            .sum(slot)
            .is_none_or(|sum| sum.compare_exchange(count, count + 1, order, order).is_ok());
        if added && let Some(part) = self.part(row, slot) {
            part.fetch_add(1, order);
        }
        added
    }

    /// Takes it away again.
    pub(super) fn remove(&self, row: usize, slot: usize) {
        for count in self.sum(slot).into_iter().chain(self.part(row, slot)) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes that nobody waits any more for a request that the worker still has.
    pub(super) fn give_up(&self, slot: usize, now: u64) {
        if let Some(when) = self.given_up(slot) {
            when.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// When that last happened; 0 where nothing is left of it.
    pub(super) fn last_given_up(&self, slot: usize) -> u64 {
        self.given_up(slot).map_or(0, |when| when.load(Ordering::Relaxed))
    }

    /// Notes that the worker has nothing left of what was given up `then` or before.
    pub(super) fn nothing_left(&self, slot: usize, then: u64) {
        if let Some(when) = self.given_up(slot) {
            // Else something has been given up meanwhile.
            let _ = when.compare_exchange(then, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Takes back what children that are gone had counted.
    pub(super) fn take_back_from_the_dead(&self) {
        for (owner, parts) in self.rows() {
            let pid = owner.load(Ordering::SeqCst);
            let gone = pid != 0 && u32::try_from(pid).is_ok_and(|pid| !posix::exists(pid));
            // One of those that see it does it; the row is free only when it is empty.
            let mark = u64::MAX;
            if gone && owner.compare_exchange(pid, mark, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            {
                for (part, sum) in parts.iter().zip(self.words.iter()) {
                    sum.fetch_sub(part.swap(0, Ordering::SeqCst), Ordering::SeqCst);
                }
                owner.store(0, Ordering::SeqCst);
            }
        }
    }

    fn sum(&self, slot: usize) -> Option<&AtomicU64> {
        self.words.get(slot.min(self.slots - 1))
    }

    fn given_up(&self, slot: usize) -> Option<&AtomicU64> {
        self.words.get(self.slots + slot.min(self.slots - 1))
    }

    fn part(&self, row: usize, slot: usize) -> Option<&AtomicU64> {
        self.words.get(2 * self.slots + row * (1 + self.slots) + 1 + slot.min(self.slots - 1))
    }

    fn rows(&self) -> impl Iterator<Item = (&AtomicU64, &[AtomicU64])> {
        let rows = self.words.get(2 * self.slots..).unwrap_or_default();
        rows.chunks_exact(1 + self.slots).filter_map(<[_]>::split_first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_child_had_counted_is_taken_back() {
        let claims = Claims::new(2, 2).unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let (mine, its) = (claims.enroll(std::process::id()), claims.enroll(child.id()));
        assert_ne!(mine, its);
        assert!(claims.add(mine, 1, 0) && claims.add(its, 1, 1) && claims.add(its, 0, 0));
        assert!(!claims.add(its, 0, 0));
        claims.take_back_from_the_dead();
        assert_eq!((claims.of(0), claims.of(1)), (1, 2));
        child.kill().unwrap();
        child.wait().unwrap();
        claims.take_back_from_the_dead();
        assert_eq!((claims.of(0), claims.of(1)), (0, 1));
        assert_eq!(claims.enroll(std::process::id()), its);
        claims.remove(mine, 1);
        assert_eq!(claims.of(1), 0);
    }

    #[test]
    fn what_is_given_up_is_known_until_nothing_is_left_of_it() {
        let claims = Claims::new(2, 2).unwrap();
        claims.give_up(1, 7);
        claims.give_up(1, 5);
        assert_eq!((claims.last_given_up(0), claims.last_given_up(1)), (0, 7));
        claims.give_up(1, 8);
        claims.nothing_left(1, 7);
        assert_eq!(claims.last_given_up(1), 8);
        claims.nothing_left(1, 8);
        assert_eq!((claims.last_given_up(1), claims.of(0), claims.of(1)), (0, 0, 0));
    }

    #[test]
    fn children_beyond_the_last_row_share_it() {
        let claims = Claims::new(1, 1).unwrap();
        let me = std::process::id();
        let rows: Vec<_> = (0..5).map(|_| claims.enroll(me)).collect();
        assert_eq!(rows, [0, 1, 2, 2, 2]);
        assert!(claims.add(2, 0, 0));
        assert_eq!(claims.of(0), 1);
    }
}
