//! Reads a scoreboard of any words as Apache and the manager do. It must never know where the words come from: property
//! tests and a fuzz target share this file.

use scoreboard::{
    ExitReason, Field, RecentRequests, RequestCounts, Scoreboard, StackSlot, StartCause,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// The most slots and threads that the words are taken for.
const MOST: usize = 8;
/// The longest description of an exit: its sentences, and the line of each thread, of 120 bytes that may take four each
/// when they are escaped.
const LONGEST: usize = 300 + MOST * (120 * 4 + 2);
/// The longest cause: each byte that is no UTF-8 becomes a character of three.
const LONGEST_CAUSE: usize = 3 * StartCause::ROOM;

/// How many slots and threads a first byte stands for.
pub(crate) fn sizes_of(byte: u8) -> (usize, usize) {
    (usize::from(byte & 7) + 1, usize::from(byte >> 4 & 7) + 1)
}

/// The first byte says how many slots and threads there are, the rest is memory. A file that is too short is mapped as
/// little as one that is too long.
pub(crate) fn read_board(data: &[u8]) {
    let Some((sizes, memory)) = data.split_first() else { return };
    let (slots, threads) = sizes_of(*sizes);
    let words: Vec<AtomicU64> = memory
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| AtomicU64::new(u64::from_le_bytes(*word)))
        .collect();
    let board = Scoreboard::new(&words, slots, threads);
    let events = board.counters().read();
    let _ = ExitReason::ALL.map(|reason| events.exits(reason));
    let _ = (board.is_draining(), board.reloaded());
    // Only Apache writes to these, but the manager reads them from a file.
    let word = |index: usize| words.get(index).map_or(0, |word| word.load(Ordering::Relaxed));
    let recent = RecentRequests::read(word, u64::MAX, &RequestCounts::read(word));
    assert!(recent.per_second() >= 0.0);
    let cause = StartCause(&words).read();
    assert!(cause.as_ref().is_none_or(|cause| {
        cause.len() <= LONGEST_CAUSE && !cause.contains(|sign: char| sign.is_control())
    }));
    for slot in 0..=slots {
        for record in board.records(slot) {
            let lines = record.requests();
            assert!(lines.len() <= threads);
            for (since, line) in &lines {
                assert!(*since != 0 && line.len() <= 120 * 4 && line.is_ascii());
                assert!(!line.contains(|sign: char| sign.is_control()));
            }
            assert_eq!(record.busy_threads().count(), lines.len());
            if let Some(stack) = record.stack().read() {
                // Each byte that is no UTF-8 becomes a character of three.
                assert!(stack.since != 0 && stack.text.len() <= 3 * StackSlot::ROOM);
            }
            assert_eq!(record.is_busy(), !lines.is_empty());
            assert!(record.exit_description().len() <= LONGEST);
            let _ = (record.get(Field::Pid), record.is_out_of_memory(), record.since(threads));
        }
        let block = board.start_block_reason(slot, || cause.clone());
        assert!(block.as_ref().is_none_or(|why| why.len() <= LONGEST + LONGEST_CAUSE));
        assert_eq!(board.start_failed_permanently(slot), block.is_some());
        let _ = (board.is_ready(slot), board.has_script(slot, 200), board.pids(slot).count());
        let _ = (board.ended(slot, 0).is_some(), board.serving(slot, u64::MAX));
    }
}
