//! How many requests each worker of a group has, and how many bytes of the group's responses wait in files, over all
//! Apache children. It must never know a worker, a file, or by what a process is found to be gone.
//!
//! A child counts in two places: in the sum that all children read, and in a row of its own, so that what a child
//! that crashed had counted can be subtracted again.
#![forbid(unsafe_code)]

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use sys::SharedWords;

/// Counters that the parent makes and its children share.
pub(crate) struct GroupCounters<W = SharedWords> {
    /// The sums: requests, by slot, and bytes in files; when a request was last abandoned, by slot; then a row for each
    /// child: its process id, and its part of each sum.
    words: W,
    slots: usize,
    /// By which another program can read them; `None` where there is none.
    file: Option<OwnedFd>,
}

/// More children than that share the last row, which is never reclaimed.
const MAX_ROWS: usize = 1024;
/// The owner of a row that is being reclaimed.
const RECLAIMING: u64 = u64::MAX;

impl GroupCounters {
    /// Counters for `slots` workers and at most `children` processes at a time.
    pub(crate) fn new(slots: usize, children: usize) -> io::Result<Self> {
        let (words, file) = SharedWords::with_file_for_readers(Self::size(slots, children))?;
        Ok(Self { file, ..Self::over(words, slots) })
    }

    /// The file, for the manager of the group: it begins with the sums of requests, by slot.
    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }
}

impl<W: Deref<Target = [AtomicU64]>> GroupCounters<W> {
    /// The words that the counters need.
    fn size(slots: usize, children: usize) -> usize {
        // While a restart goes on there are two generations.
        let rows = (2 * children).clamp(1, MAX_ROWS) + 1;
        let sums = slots.max(1) + 1;
        sums + slots.max(1) + rows * (1 + sums)
    }

    fn over(words: W, slots: usize) -> Self {
        Self { words, slots: slots.max(1), file: None }
    }

    /// Claims a row for process `pid`, after those of processes that are gone have been reclaimed.
    pub(crate) fn claim_row(&self, pid: u32, exists: impl Fn(u32) -> bool) -> usize {
        self.reclaim_dead_rows(exists);
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
    pub(crate) fn count(&self, slot: usize) -> u64 {
        self.sum(slot).map_or(0, |sum| sum.load(Ordering::Relaxed))
    }

    /// Adds a request of the child that has this row, if the worker still has `count` of them.
    pub(crate) fn add(&self, row: usize, slot: usize, count: u64) -> bool {
        let order = Ordering::Relaxed;
        let added = self
            .sum(slot)
            .is_none_or(|sum| sum.compare_exchange(count, count + 1, order, order).is_ok());
        if added && let Some(part) = self.part(row, slot) {
            part.fetch_add(1, order);
        }
        added
    }

    /// Removes a request that [`add`](Self::add) has counted.
    pub(crate) fn remove(&self, row: usize, slot: usize) {
        for count in self.sum(slot).into_iter().chain(self.part(row, slot)) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many bytes of responses wait in files.
    pub(crate) fn spooled(&self) -> u64 {
        self.words.get(self.slots).map_or(0, |sum| sum.load(Ordering::Relaxed))
    }

    /// Adds bytes of a response that the child that has this row writes to a file, unless there are more than `most`
    /// with them.
    pub(crate) fn add_spooled(&self, row: usize, bytes: u64, most: u64) -> bool {
        let order = Ordering::Relaxed;
        let Some(sum) = self.words.get(self.slots) else { return false };
        let with = |before: u64| before.checked_add(bytes).filter(|after| *after <= most);
        let added = sum.fetch_update(order, order, with).is_ok();
        if added && let Some(part) = self.spooled_part(row) {
            part.fetch_add(bytes, order);
        }
        added
    }

    /// Removes bytes that [`add_spooled`](Self::add_spooled) has counted.
    pub(crate) fn remove_spooled(&self, row: usize, bytes: u64) {
        for count in self.words.get(self.slots).into_iter().chain(self.spooled_part(row)) {
            count.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Records that a request has been abandoned at `now`: its child no longer waits, the worker still has it.
    pub(crate) fn record_abandoned(&self, slot: usize, now: u64) {
        if let Some(when) = self.abandoned(slot) {
            when.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// When a request was last abandoned; 0 where the worker has none of these left.
    pub(crate) fn last_abandoned(&self, slot: usize) -> u64 {
        self.abandoned(slot).map_or(0, |when| when.load(Ordering::Relaxed))
    }

    /// Records that the worker has none left of the requests that were abandoned at `then` or before.
    pub(crate) fn clear_abandoned(&self, slot: usize, then: u64) {
        if let Some(when) = self.abandoned(slot) {
            // Fails where another request has been abandoned meanwhile.
            let _ = when.compare_exchange(then, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Subtracts what processes that no longer exist had counted, and frees their rows.
    pub(crate) fn reclaim_dead_rows(&self, exists: impl Fn(u32) -> bool) {
        for (owner, parts) in self.rows() {
            let pid = owner.load(Ordering::SeqCst);
            let gone = pid != 0 && u32::try_from(pid).is_ok_and(|pid| !exists(pid));
            // Of the children that see it one reclaims the row; it is free only once it is empty.
            if gone
                && owner
                    .compare_exchange(pid, RECLAIMING, Ordering::SeqCst, Ordering::SeqCst)
                    .is_ok()
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

    fn abandoned(&self, slot: usize) -> Option<&AtomicU64> {
        self.words.get(self.sums() + slot.min(self.slots - 1))
    }

    fn spooled_part(&self, row: usize) -> Option<&AtomicU64> {
        self.words.get(self.row_at(row) + 1 + self.slots)
    }

    const fn sums(&self) -> usize {
        self.slots + 1
    }

    /// Where a row begins.
    const fn row_at(&self, row: usize) -> usize {
        self.sums() + self.slots + row * (1 + self.sums())
    }

    fn part(&self, row: usize, slot: usize) -> Option<&AtomicU64> {
        self.words.get(self.row_at(row) + 1 + slot.min(self.slots - 1))
    }

    fn rows(&self) -> impl Iterator<Item = (&AtomicU64, &[AtomicU64])> {
        let rows = self.words.get(self.row_at(0)..).unwrap_or_default();
        rows.chunks_exact(1 + self.sums()).filter_map(<[_]>::split_first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(slots: usize, children: usize) -> GroupCounters<Vec<AtomicU64>> {
        let size = GroupCounters::<Vec<AtomicU64>>::size(slots, children);
        GroupCounters::over((0..size).map(|_| AtomicU64::new(0)).collect(), slots)
    }

    #[test]
    fn counts_of_a_dead_child_are_subtracted_and_its_row_is_free_again() {
        let counters = counters(2, 2);
        let (own, other) = (counters.claim_row(7, |_| true), counters.claim_row(8, |_| true));
        assert_ne!(own, other);
        assert!(counters.add(own, 1, 0) && counters.add(other, 1, 1));
        assert!(counters.add(other, 0, 0) && !counters.add(other, 0, 0));
        counters.reclaim_dead_rows(|_| true);
        assert_eq!((counters.count(0), counters.count(1)), (1, 2));
        counters.reclaim_dead_rows(|pid| pid == 7);
        assert_eq!((counters.count(0), counters.count(1)), (0, 1));
        assert_eq!(counters.claim_row(9, |_| true), other);
        counters.remove(own, 1);
        assert_eq!(counters.count(1), 0);
    }

    #[test]
    fn abandoned_requests_are_known_until_the_worker_has_none_of_them() {
        let counters = counters(2, 2);
        counters.record_abandoned(1, 7);
        counters.record_abandoned(1, 5);
        assert_eq!((counters.last_abandoned(0), counters.last_abandoned(1)), (0, 7));
        counters.record_abandoned(1, 8);
        counters.clear_abandoned(1, 7);
        assert_eq!(counters.last_abandoned(1), 8);
        counters.clear_abandoned(1, 8);
        let counts = (counters.count(0), counters.count(1));
        assert_eq!((counters.last_abandoned(1), counts), (0, (0, 0)));
    }

    #[test]
    fn bytes_in_files_are_bounded_and_those_of_a_dead_child_are_subtracted() {
        let counters = counters(2, 2);
        let (own, other) = (counters.claim_row(7, |_| true), counters.claim_row(8, |_| true));
        assert!(counters.add(other, 1, 0));
        assert!(counters.add_spooled(own, 60, 100) && counters.add_spooled(other, 40, 100));
        assert!(!counters.add_spooled(own, 1, 100) && !counters.add_spooled(own, u64::MAX, 100));
        counters.remove_spooled(own, 10);
        counters.reclaim_dead_rows(|pid| pid == 7);
        assert_eq!((counters.spooled(), counters.count(1)), (50, 0));
        assert!(counters.add_spooled(own, 50, 100));
        counters.remove_spooled(own, 100);
        assert_eq!(counters.spooled(), 0);
    }

    #[test]
    fn children_beyond_the_last_row_share_it() {
        let counters = counters(1, 1);
        let rows: Vec<_> = (0..5).map(|_| counters.claim_row(7, |_| true)).collect();
        assert_eq!(rows, [0, 1, 2, 2, 2]);
        assert!(counters.add(2, 0, 0));
        assert_eq!(counters.count(0), 1);
    }

    #[test]
    fn threads_that_add_and_remove_at_the_same_time_leave_no_count() {
        let counters = counters(2, 2);
        std::thread::scope(|scope| {
            for pid in 1..=3 {
                let counters = &counters;
                scope.spawn(move || {
                    let row = counters.claim_row(pid, |_| true);
                    for turn in 0..20 {
                        let slot = turn % 2;
                        while !counters.add(row, slot, counters.count(slot)) {}
                        counters.remove(row, slot);
                    }
                });
            }
        });
        assert_eq!((counters.count(0), counters.count(1)), (0, 0));
        counters.reclaim_dead_rows(|_| false);
        assert_eq!((counters.count(0), counters.count(1)), (0, 0));
    }

    #[test]
    fn shared_memory_holds_the_counters_of_real_processes() {
        let counters = GroupCounters::new(1, 2).unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let row = counters.claim_row(child.id(), sys::is_alive);
        assert!(counters.add(row, 0, 0));
        counters.reclaim_dead_rows(sys::is_alive);
        assert_eq!(counters.count(0), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        counters.reclaim_dead_rows(sys::is_alive);
        assert_eq!(counters.count(0), 0);
    }
}
