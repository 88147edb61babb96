//! This process on the scoreboard of Apache's children: whether Python has been started in it, and for which requests its
//! threads run Python. It must never know who reads that.
#![forbid(unsafe_code)]

use crate::groups::ServerChildren;
use crate::httpd::Request;
use scoreboard::{Field, Record, StackSlot, State, now};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The record of this process.
pub(super) struct OwnRecord {
    record: Record<'static>,
    /// The thread that has each line of the record, by its number in Python; 0: none. A thread has several where a request
    /// is served within another one.
    threads: Box<[AtomicU64]>,
}

/// A request for which a thread of this process runs Python, until this is dropped.
pub(crate) struct RunningRequest<'a> {
    own: &'a OwnRecord,
    /// Its line; `None` where there is none for it.
    line: Option<usize>,
    /// It is one of an application.
    is_served: bool,
}

thread_local! {
    /// The line that the calling thread had last.
    static LAST_LINE: Cell<usize> = const { Cell::new(0) };
}

impl OwnRecord {
    /// A record for this process, which was `started` then, in microseconds of [`now`], has so many `threads`, and serves
    /// the configuration of this number; `None` where there is none for it.
    pub(super) fn claim(started: u64, threads: u64, configuration: u64) -> Option<Self> {
        let board = ServerChildren::get()?;
        let record = board.claim(std::process::id(), sys::is_alive)?;
        record.set(Field::Started, started);
        record.set(Field::Capacity, threads);
        record.set(Field::Generation, configuration);
        record.set_state(State::Starting);
        let lines = (0..board.threads()).map(|_| AtomicU64::new(0));
        Some(Self { record, threads: lines.collect() })
    }

    /// Says what has become of Python in this process. Async-signal-safe.
    pub(super) fn set_state(&self, state: State) {
        self.record.set_state(state);
    }

    /// The calling thread runs Python for `request` from now on: its application, where `is_served`, or a script that is
    /// asked about it.
    pub(super) fn begin(&self, request: &Request<'_>, is_served: bool) -> RunningRequest<'_> {
        let line = self.take_line();
        match line {
            None => self.record.note_unlisted(true),
            Some(line) => {
                let text = [request.method(), b" ", request.target()];
                self.record.begin(line, text, now(), true);
            }
        }
        RunningRequest { own: self, line, is_served }
    }

    /// The oldest request: its line, when it began, and the thread that has it, by its number in Python.
    pub(super) fn oldest(&self) -> Option<(usize, u64, u64)> {
        let all =
            self.threads.iter().enumerate().map(|(line, thread)| {
                (line, self.record.since(line), thread.load(Ordering::Acquire))
            });
        all.filter(|(_, since, thread)| *since != 0 && *thread != 0).min_by_key(|it| it.1)
    }

    /// Where the oldest request is in Python.
    pub(super) fn stack(&self) -> StackSlot<'_> {
        self.record.stack()
    }

    /// When the last request ended, or the process was started; `None` where there is a request.
    pub(super) fn quiet_since(&self) -> Option<u64> {
        let last = self.record.get(Field::LastRequest).max(self.record.get(Field::Started));
        (!self.record.is_busy()).then_some(last)
    }

    /// A line that no thread has: that which this thread had last, as a rule.
    fn take_line(&self) -> Option<usize> {
        let (ident, count) = (host::thread_ident(), self.threads.len());
        let last = LAST_LINE.get();
        let line = (last..count).chain(0..last.min(count)).find(|line| {
            self.threads.get(*line).is_some_and(|it| {
                it.compare_exchange(0, ident, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            })
        })?;
        LAST_LINE.set(line);
        Some(line)
    }
}

impl Drop for RunningRequest<'_> {
    fn drop(&mut self) {
        let OwnRecord { record, threads } = self.own;
        let Some(line) = self.line else { return record.note_unlisted(false) };
        if self.is_served {
            record.end(line, now(), true);
        } else {
            record.withdraw(line);
        }
        if let Some(thread) = threads.get(line) {
            // After the line has been cleared: the next thread writes a new one.
            thread.store(0, Ordering::Release);
        }
    }
}
