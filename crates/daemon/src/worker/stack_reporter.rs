//! What a worker keeps for reports of its threads' stacks, which `stack_report` makes.
#![forbid(unsafe_code)]

use host::{TaskStack, ThreadName};
use std::os::unix::thread::JoinHandleExt;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

/// What is asked of Python.
pub(super) struct OfPython {
    pub(super) names: Vec<ThreadName>,
    pub(super) tasks: Vec<TaskStack>,
}

/// What is kept.
#[derive(Default)]
pub(super) struct StackReporter {
    /// Names and tasks, from a thread that may wait for a lock for ever: there is one at most.
    of_python: Mutex<Option<Receiver<OfPython>>>,
    /// The numbers in Python of the threads that serve, by their numbers on the scoreboard.
    serving: OnceLock<Vec<u64>>,
    /// The number in Python of the thread of the event loop.
    event_loop: OnceLock<u64>,
}

impl StackReporter {
    /// Notes the threads that serve.
    pub(super) fn note_serving(&self, threads: &[JoinHandle<()>]) {
        // They are started once.
        let _ = self.serving.set(threads.iter().map(ident).collect());
    }

    /// Notes the thread of the event loop.
    pub(super) fn note_event_loop(&self, thread: &JoinHandle<()>) {
        let _ = self.event_loop.set(ident(thread));
    }

    /// What is being asked of Python, if anything is.
    pub(super) fn of_python(&self) -> MutexGuard<'_, Option<Receiver<OfPython>>> {
        self.of_python.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number in Python of the thread of the event loop, where there is one.
    pub(super) fn event_loop(&self) -> Option<u64> {
        self.event_loop.get().copied()
    }

    /// The numbers in Python of the threads that serve.
    pub(super) fn serving(&self) -> &[u64] {
        self.serving.get().map(Vec::as_slice).unwrap_or_default()
    }
}

/// What CPython takes for the number of a thread is what pthread_self(3) gives.
#[allow(clippy::unnecessary_cast, reason = "it has 32 bits on some machines")]
fn ident(thread: &JoinHandle<()>) -> u64 {
    thread.as_pthread_t() as u64
}
