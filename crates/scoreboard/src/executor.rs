//! What the executors of event loops have to do: functions that may block, which run in threads. A worker counts those
//! that it has been given and that are not over; how many of them run follows from its threads. It must never know what
//! the functions are.
#![forbid(unsafe_code)]

use crate::board::Record;
use crate::field::Field;

/// An executor of a worker's event loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executor {
    /// The loop's own (`asyncio.to_thread`).
    Default,
    /// That of asgiref for functions which all have to run in the same thread.
    ThreadSensitive,
}

impl Executor {
    /// Every executor.
    pub const ALL: [Self; 2] = [Self::Default, Self::ThreadSensitive];

    /// Its name in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::ThreadSensitive => "thread_sensitive",
        }
    }

    const fn field(self) -> Field {
        match self {
            Self::Default => Field::Functions,
            Self::ThreadSensitive => Field::ThreadSensitiveFunctions,
        }
    }
}

impl Record<'_> {
    /// Notes that an executor has been given a function, or that one is over.
    pub fn note_function(&self, executor: Executor, is_over: bool) {
        // One less is one more around the end of the numbers.
        self.add(executor.field(), if is_over { u64::MAX } else { 1 });
    }
}

/// What the same executor of several workers has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecutorLoad {
    /// Functions that can run at a time.
    pub threads: u64,
    /// Functions that run.
    pub busy: u64,
    /// Functions that wait for a thread.
    pub waiting: u64,
}

/// What the executors of several workers have to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecutorLoads([ExecutorLoad; Executor::ALL.len()]);

impl ExecutorLoads {
    /// Adds those of a worker; its event loop's own one has `threads`.
    pub fn add(&mut self, record: &Record<'_>, threads: u64) {
        for (executor, load) in Executor::ALL.into_iter().zip(&mut self.0) {
            let threads = match executor {
                Executor::Default => threads,
                Executor::ThreadSensitive => 1,
            };
            let functions = record.get(executor.field());
            let busy = functions.min(threads);
            load.threads = load.threads.saturating_add(threads);
            load.busy = load.busy.saturating_add(busy);
            load.waiting = load.waiting.saturating_add(functions - busy);
        }
    }

    /// Each executor with what it has to do.
    pub fn each(&self) -> impl Iterator<Item = (Executor, ExecutorLoad)> {
        Executor::ALL.into_iter().zip(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Scoreboard;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn functions_beyond_the_threads_of_their_worker_wait() {
        let words: Vec<_> = (0..Scoreboard::size(2, 1)).map(|_| AtomicU64::new(0)).collect();
        let board = Scoreboard::new(&words, 2, 1);
        let (one, two) = (board.record(0, 0), board.record(1, 0));
        for _ in 0..7 {
            one.note_function(Executor::Default, false);
        }
        one.note_function(Executor::Default, true);
        two.note_function(Executor::Default, false);
        two.note_function(Executor::ThreadSensitive, false);
        two.note_function(Executor::ThreadSensitive, false);
        let mut loads = ExecutorLoads::default();
        loads.add(&one, 5);
        loads.add(&two, 5);
        let expected = [
            (Executor::Default, ExecutorLoad { threads: 10, busy: 6, waiting: 1 }),
            (Executor::ThreadSensitive, ExecutorLoad { threads: 2, busy: 1, waiting: 1 }),
        ];
        assert_eq!(loads.each().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn figures_of_a_worker_that_writes_any_number_do_not_overflow() {
        let words: Vec<_> = (0..Scoreboard::size(1, 1)).map(|_| AtomicU64::new(0)).collect();
        let board = Scoreboard::new(&words, 1, 1);
        let record = board.record(0, 0);
        record.note_function(Executor::Default, true);
        let mut loads = ExecutorLoads::default();
        loads.add(&record, 5);
        loads.add(&record, 5);
        let (_, load) = loads.each().next().unwrap();
        assert_eq!(load, ExecutorLoad { threads: 10, busy: 10, waiting: u64::MAX });
    }
}
