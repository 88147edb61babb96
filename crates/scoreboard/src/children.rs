//! The records of processes that have no slots: each takes the first one that is free, and has it until it is gone. This
//! must never know which processes they are, or by what one is found to be gone.
#![forbid(unsafe_code)]

use crate::board::{Record, width};
use crate::field::{Field, State};
use std::sync::atomic::{AtomicU64, Ordering};

/// Records, and before them a word for each of them: the process that has it, or 0. A reader touches the memory of those
/// alone that have one.
#[derive(Clone, Copy)]
pub struct Children<'m> {
    words: &'m [AtomicU64],
    count: usize,
    threads: usize,
}

impl<'m> Children<'m> {
    /// The words that `count` records need, each with room for the requests of `threads` threads.
    pub const fn size(count: usize, threads: usize) -> usize {
        count * (1 + width(threads))
    }

    /// The records in `words`, shared memory of [`Children::size`] words.
    pub const fn new(words: &'m [AtomicU64], count: usize, threads: usize) -> Self {
        Self { words, count, threads }
    }

    /// A record for process `pid`, after those of processes that are gone have been freed; `None` where none is free.
    pub fn claim(&self, pid: u32, exists: impl Fn(u32) -> bool) -> Option<Record<'m>> {
        for (_, record) in self.records() {
            let owner = u32::try_from(record.get(Field::Pid)).unwrap_or(0);
            if owner != 0 && !exists(owner) {
                self.release(owner);
            }
        }
        let (_, record) = self.all().find(|(owner, _)| {
            owner.compare_exchange(0, pid.into(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
        })?;
        record.clear();
        record.set(Field::Pid, pid.into());
        Some(record)
    }

    /// Frees the record of a process that is gone.
    pub fn release(&self, pid: u32) {
        for (owner, record) in self.all() {
            if owner.load(Ordering::Relaxed) == u64::from(pid) {
                record.set_state(State::Gone);
                record.set(Field::Pid, 0);
                // After the rest: the process that claims the record next writes to it at once.
                let _ = owner.compare_exchange(pid.into(), 0, Ordering::Release, Ordering::Relaxed);
            }
        }
    }

    /// The records that processes have, each with its number.
    pub fn records(&self) -> impl Iterator<Item = (usize, Record<'m>)> + use<'m> {
        let all = self.all().enumerate();
        all.filter_map(|(number, (owner, record))| {
            (owner.load(Ordering::Acquire) != 0).then_some((number, record))
        })
    }

    /// How many requests a record has room for.
    pub const fn threads(&self) -> usize {
        self.threads
    }

    fn all(&self) -> impl Iterator<Item = (&'m AtomicU64, Record<'m>)> + use<'m> {
        let (owners, records) = self.words.split_at_checked(self.count).unwrap_or_default();
        let records = records.chunks_exact(width(self.threads)).map(Record::of);
        owners.iter().zip(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(count: usize, threads: usize) -> Vec<AtomicU64> {
        (0..Children::size(count, threads)).map(|_| AtomicU64::new(0)).collect()
    }

    fn pids(children: Children<'_>) -> Vec<(usize, u64)> {
        children.records().map(|(number, record)| (number, record.get(Field::Pid))).collect()
    }

    #[test]
    fn each_process_has_a_record_until_it_is_released_or_found_to_be_gone() {
        let words = words(2, 3);
        let children = Children::new(&words, 2, 3);
        let claim = |pid| children.claim(pid, |pid| pid != 8);
        let own = claim(7).unwrap();
        own.begin(2, [b"GET", b" ", b"/a"], 5, true);
        own.set_state(State::Ready);
        assert!(claim(8).is_some());
        assert_eq!(pids(children), [(0, 7), (1, 8)]);
        assert!(claim(9).is_some(), "8 is gone");
        assert!(claim(10).is_none());
        assert_eq!(pids(children), [(0, 7), (1, 9)]);
        children.release(7);
        children.release(7);
        assert_eq!(pids(children), [(1, 9)]);
        let next = claim(11).unwrap();
        assert_eq!((next.requests(), next.get(Field::State)), (Vec::new(), 0));
        assert_eq!(pids(children), [(0, 11), (1, 9)]);
    }

    #[test]
    fn arbitrary_words_cause_no_panic() {
        let words: Vec<_> = (0..Children::size(2, 3)).map(|_| AtomicU64::new(u64::MAX)).collect();
        let children = Children::new(&words, 2, 3);
        assert_eq!(children.records().count(), 2);
        assert!(children.claim(7, |_| false).is_none());
        children.release(u32::MAX);
        assert!(Children::new(&[], 2, 3).claim(7, |_| true).is_none());
    }
}
