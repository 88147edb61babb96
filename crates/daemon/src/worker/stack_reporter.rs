//! What a worker keeps for reports of its threads' stacks, which `stack_report` makes.
#![forbid(unsafe_code)]

use host::ThreadName;
use std::os::unix::thread::JoinHandleExt;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

/// What is kept.
#[derive(Default)]
pub(super) struct StackReporter {
    /// The names, from a thread that may wait for a lock for ever: there is one at most.
    names: Mutex<Option<Receiver<Vec<ThreadName>>>>,
    /// The numbers in Python of the threads that serve, by their numbers on the scoreboard.
    serving: OnceLock<Vec<u64>>,
}

impl StackReporter {
    /// Notes the threads that serve.
    pub(super) fn note_serving(&self, threads: &[JoinHandle<()>]) {
        // What CPython takes for the number of a thread is what pthread_self(3) gives.
        #[allow(clippy::unnecessary_cast, reason = "it has 32 bits on some machines")]
        let idents = threads.iter().map(|thread| thread.as_pthread_t() as u64).collect();
        // They are started once.
        let _ = self.serving.set(idents);
    }

    /// The names that are being collected, if they are.
    pub(super) fn names(&self) -> MutexGuard<'_, Option<Receiver<Vec<ThreadName>>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers in Python of the threads that serve.
    pub(super) fn serving(&self) -> &[u64] {
        self.serving.get().map(Vec::as_slice).unwrap_or_default()
    }
}
