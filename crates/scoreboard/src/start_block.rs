//! Why no worker is to be expected in a slot: what a reader concludes from the board about starts.
//! It must never know which process it runs in.
#![forbid(unsafe_code)]

use crate::board::{DRAINED, DRAINING, Record, START_FAILURES, Scoreboard};
use crate::field::{Field, State};
use std::sync::atomic::Ordering;

/// After this many failed starts in a row requests are refused instead of waiting for the next start.
const MAX_START_FAILURES: u64 = 3;

/// What keeps a slot's workers from becoming ready.
enum StartBlock<'m> {
    /// The workers exit while they start; this is the record of the last one.
    WorkerExits(Record<'m>),
    /// The manager exits while it starts.
    ManagerExits,
    /// The manager's program could not be started.
    NoManager,
    /// An administrator has had the group drain.
    Drained,
}

impl<'m> Scoreboard<'m> {
    /// Whether no worker is to be expected in this slot, because the last starts all failed.
    pub fn start_failed_permanently(&self, slot: usize) -> bool {
        self.start_block(slot).is_some()
    }

    /// Why no worker is to be expected in this slot; `None` if one is. `cause` is asked why the last start failed, as far
    /// as the group's manager knows.
    pub fn start_block_reason(
        &self,
        slot: usize,
        cause: impl FnOnce() -> Option<String>,
    ) -> Option<String> {
        Some(match self.start_block(slot)? {
            StartBlock::WorkerExits(last) => last.describe_exit(cause().as_deref()),
            StartBlock::ManagerExits => {
                let why = cause().map(|cause| format!(": {cause}")).unwrap_or_default();
                format!("its manager ends again and again at its start{why}")
            }
            StartBlock::NoManager => "its manager could not be started".to_owned(),
            StartBlock::Drained => {
                "it was drained (mod_wsgi_rs reload puts it back into service)".to_owned()
            }
        })
    }

    fn start_block(&self, slot: usize) -> Option<StartBlock<'m>> {
        let is = |state: State| {
            self.records(slot).any(|record| record.get(Field::State) == state as u64)
        };
        if is(State::Ready) {
            return None;
        }
        if self.words.get(DRAINING).is_some_and(|word| word.load(Ordering::Relaxed) == DRAINED) {
            return Some(StartBlock::Drained);
        }
        // The worker that ended last says how many before it failed, too.
        if let Some(last) =
            self.ended(slot, 0).filter(|it| it.get(Field::Failures) >= MAX_START_FAILURES)
        {
            return Some(StartBlock::WorkerExits(last));
        }
        match self.words.get(START_FAILURES).map_or(0, |word| word.load(Ordering::Relaxed)) {
            u64::MAX => Some(StartBlock::NoManager),
            MAX_START_FAILURES.. if !is(State::Starting) => Some(StartBlock::ManagerExits),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    fn words(slots: usize, threads: usize) -> Vec<AtomicU64> {
        (0..Scoreboard::size(slots, threads)).map(|_| AtomicU64::new(0)).collect()
    }

    fn why(board: &Scoreboard<'_>) -> Option<String> {
        board.start_block_reason(0, || None)
    }

    #[test]
    fn cause_of_the_last_start_is_told_where_starts_fail_and_not_asked_for_elsewhere() {
        let words = words(1, 1);
        let board = Scoreboard::new(&words, 1, 1);
        let cause = || board.start_block_reason(0, || Some("no database".to_owned()));
        assert_eq!(board.start_block_reason(0, || panic!("not asked for")), None);
        board.set_start_failures(Some(3));
        let manager = "its manager ends again and again at its start: no database";
        assert_eq!(cause().as_deref(), Some(manager));
        let record = board.record(0, 1);
        record.set(Field::Pid, 7);
        record.set(Field::Failures, 3);
        record.mark_exited(1 << 8, 1);
        let worker = "worker 7 exited with status 1 before its first request: no database";
        assert_eq!(cause().as_deref(), Some(worker));
        record.set(Field::Unstarted, 225);
        assert_eq!(cause().as_deref(), Some("worker 7 exited with status 1: no database"));
        board.set_drained();
        assert!(cause().is_some_and(|why| why.contains("drained") && !why.contains("database")));
    }

    #[test]
    fn repeated_worker_exits_block_the_slot_until_a_worker_is_ready() {
        let words = words(1, 1);
        let board = Scoreboard::new(&words, 1, 1);
        let exit = |generation, failures| {
            let record = board.record(0, generation);
            record.clear();
            record.set(Field::Pid, 7);
            record.set(Field::Failures, failures);
            record.mark_exited(1 << 8, generation);
        };
        assert_eq!(why(&board), None);
        exit(1, 2);
        assert_eq!(why(&board), None);
        exit(2, 3);
        board.record(0, 3).clear();
        board.record(0, 3).set_state(State::Starting);
        let last = "worker 7 exited with status 1 before its first request";
        assert_eq!(why(&board).as_deref(), Some(last));
        board.record(0, 3).set_state(State::Ready);
        assert_eq!(why(&board), None);
    }

    #[test]
    fn repeated_manager_exits_block_the_slot_unless_a_worker_starts() {
        let words = words(1, 1);
        let board = Scoreboard::new(&words, 1, 1);
        board.set_start_failures(Some(2));
        assert_eq!(why(&board), None);
        board.set_start_failures(Some(3));
        assert!(why(&board).is_some_and(|why| why.contains("again and again")));
        board.record(0, 1).set_state(State::Starting);
        assert_eq!(why(&board), None);
        board.set_start_failures(None);
        assert!(why(&board).is_some_and(|why| why.contains("could not be started")));
    }

    #[test]
    fn drained_group_expects_no_worker_until_it_serves_again() {
        let words = words(1, 1);
        let board = Scoreboard::new(&words, 1, 1);
        board.set_draining(true);
        assert!(board.is_draining() && why(&board).is_none());
        board.set_drained();
        assert!(board.is_draining());
        assert!(why(&board).is_some_and(|why| why.contains("drain")));
        board.set_draining(false);
        assert!(!board.is_draining() && why(&board).is_none());
    }
}
