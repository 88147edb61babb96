//! What the workers of a group are doing, in memory that manager, workers and (where it came as a
//! descriptor) whoever started the group share. It never waits for anybody: every field is a word that
//! is read and written alone.
//!
//! All words are 64 bits in the machine's order:
//!
//! | words | what |
//! |---|---|
//! | 8 | header: [`MAGIC`], records, threads, words of a record, and 4 of no use yet |
//! | per record: 16 | pid, state, generation, threads busy, requests served, resident bytes, time of start, time of the last request, wait status of the process before, slot, and 6 of no use yet |
//! | per record and thread: 16 | time the request began (0: none), then 120 bytes of request line, closed by NULs |
//!
//! A slot has two records, `2 * slot` and `2 * slot + 1`: while a worker is replaced there are two.
//! Times are microseconds since the epoch.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The first word: `wsgi-sb1`.
pub const MAGIC: u64 = u64::from_be_bytes(*b"wsgi-sb1");
const HEADER: usize = 8;
const FIXED: usize = 16;
const LINE: usize = 16;
const LINE_BYTES: usize = (LINE - 1) * 8;

/// A group's scoreboard.
#[derive(Clone, Copy)]
pub(crate) struct Scoreboard {
    words: &'static [AtomicU64],
    records: usize,
    threads: usize,
}

/// One worker's part of it.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    words: &'static [AtomicU64],
}

/// The words of a record that are numbers.
#[derive(Clone, Copy)]
pub(crate) enum Field {
    Pid = 0,
    State = 1,
    Generation = 2,
    Busy = 3,
    Served = 4,
    Resident = 5,
    Started = 6,
    LastRequest = 7,
    LastExit = 8,
    Slot = 9,
}

/// What a worker is up to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Gone = 0,
    Starting = 1,
    Ready = 2,
    Leaving = 3,
}

impl Scoreboard {
    /// How many words a group needs.
    pub(crate) const fn size(slots: usize, threads: usize) -> usize {
        HEADER + 2 * slots * (FIXED + threads * LINE)
    }

    /// Lays it out in shared memory of [`Scoreboard::size`].
    pub(crate) fn new(words: &'static [AtomicU64], slots: usize, threads: usize) -> Self {
        let width = FIXED + threads * LINE;
        let header = [2 * slots, threads, width];
        for (word, value) in words.iter().skip(1).zip(header) {
            word.store(value as u64, Ordering::Relaxed);
        }
        if let Some(first) = words.first() {
            first.store(MAGIC, Ordering::Release);
        }
        Self { words, records: 2 * slots, threads }
    }

    /// The record of a slot's worker: the other one than its predecessor's.
    pub(crate) fn record(&self, slot: usize, generation: u64) -> Record {
        let index = (2 * slot + usize::from(generation % 2 == 1)) % self.records.max(1);
        let width = FIXED + self.threads * LINE;
        let start = HEADER + index * width;
        Record { words: self.words.get(start..start + width).unwrap_or_default() }
    }
}

impl Record {
    /// Forgets the worker before.
    pub(crate) fn clear(&self) {
        let last = self.get(Field::LastExit);
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.set(Field::LastExit, last);
    }

    pub(crate) fn get(&self, field: Field) -> u64 {
        self.words.get(field as usize).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, field: Field, value: u64) {
        if let Some(word) = self.words.get(field as usize) {
            word.store(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn set_state(&self, state: State) {
        self.set(Field::State, state as u64);
    }

    /// Notes that a thread begins a request.
    pub(crate) fn begin(&self, thread: usize, line: [&[u8]; 3], now: u64) {
        let Some((time, text)) = self.line(thread) else { return };
        let mut bytes = [0_u8; LINE_BYTES];
        let said = line.into_iter().flatten();
        bytes.iter_mut().zip(said).for_each(|(byte, said)| *byte = *said);
        for (word, eight) in text.iter().zip(bytes.as_chunks::<8>().0) {
            word.store(u64::from_ne_bytes(*eight), Ordering::Relaxed);
        }
        time.store(now, Ordering::Release);
        self.add(Field::Busy, 1);
        self.set(Field::LastRequest, now);
    }

    /// Notes that it has ended; how many this worker has served.
    pub(crate) fn end(&self, thread: usize) -> u64 {
        if let Some((time, _)) = self.line(thread) {
            time.store(0, Ordering::Release);
        }
        self.add(Field::Busy, 1_u64.wrapping_neg());
        self.add(Field::Served, 1) + 1
    }

    /// The requests being served: since when, and their first line.
    pub(crate) fn requests(&self) -> Vec<(u64, String)> {
        let threads = self.words.len().saturating_sub(FIXED) / LINE;
        let lines = (0..threads).filter_map(|thread| self.line(thread));
        lines
            .filter_map(|(time, text)| {
                let since = time.load(Ordering::Acquire);
                let bytes: Vec<u8> = text
                    .iter()
                    .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
                    .collect();
                let said = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                (since != 0).then(|| (since, said.escape_ascii().to_string()))
            })
            .collect()
    }

    fn add(&self, field: Field, value: u64) -> u64 {
        self.words.get(field as usize).map_or(0, |word| word.fetch_add(value, Ordering::Relaxed))
    }

    fn line(&self, thread: usize) -> Option<(&'static AtomicU64, &'static [AtomicU64])> {
        let start = FIXED + thread * LINE;
        self.words.get(start..start + LINE)?.split_first()
    }
}

/// Microseconds since the epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_there_while_it_is_served_and_two_workers_of_a_slot_are_apart() {
        let words: Vec<_> = (0..Scoreboard::size(2, 3)).map(|_| AtomicU64::new(0)).collect();
        let board = Scoreboard::new(Vec::leak(words), 2, 3);
        let (old, new) = (board.record(1, 4), board.record(1, 5));
        old.begin(2, [b"GET", b" ", &[b'/'; 300]], 7);
        assert_eq!(old.requests(), [(7, format!("GET {}", "/".repeat(116)))]);
        assert_eq!((old.get(Field::Busy), new.get(Field::Busy)), (1, 0));
        assert_eq!(old.end(2), 1);
        assert_eq!((old.get(Field::Busy), old.requests().len()), (0, 0));
    }
}
