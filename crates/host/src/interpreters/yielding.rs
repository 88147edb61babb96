//! Makes busy threads release the lock while interpreters are being ended.
//!
//! Up to Python 3.11 a thread that waits for the lock asks the threads of its own interpreter only to
//! release it; a busy thread of another interpreter is never asked, and the waiting thread never gets
//! it. So for that time each interpreter has a thread that requests the lock repeatedly.
#![forbid(unsafe_code)]

use crate::interpreters::interpreter::Interpreter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The threads. Dropped, they go on until the process ends.
pub(crate) struct Yielding(Vec<Yielder>);

struct Yielder {
    interpreter: Arc<Interpreter>,
    enough: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Yielding {
    /// No threads where there is one interpreter only.
    pub(crate) fn of<'a>(
        interpreters: impl ExactSizeIterator<Item = &'a Arc<Interpreter>>,
    ) -> Self {
        let mut all = Self(Vec::new());
        if interpreters.len() > 1 {
            interpreters.for_each(|interpreter| all.start(interpreter));
        }
        all
    }

    /// Starts a thread for this interpreter.
    pub(crate) fn start(&mut self, interpreter: &Arc<Interpreter>) {
        let enough = Arc::new(AtomicBool::new(false));
        let (session, until) = (Arc::clone(interpreter), Arc::clone(&enough));
        let thread = std::thread::Builder::new().spawn(move || yield_for(&session, &until));
        if let Ok(thread) = thread {
            self.0.push(Yielder { interpreter: Arc::clone(interpreter), enough, thread });
        }
    }

    /// Ends all threads. The calling thread must not be attached.
    pub(crate) fn stop_all(mut self) {
        while let Some(yielder) = self.0.pop() {
            yielder.enough.store(true, Ordering::Release);
            // The panic hook has logged a panic of the thread.
            let _ = yielder.thread.join();
        }
    }

    /// Ends the thread of this interpreter. The calling thread must not be attached.
    pub(crate) fn stop(&mut self, interpreter: &Arc<Interpreter>) {
        let found = self.0.iter().position(|it| Arc::ptr_eq(&it.interpreter, interpreter));
        if let Some(at) = found {
            let yielder = self.0.swap_remove(at);
            yielder.enough.store(true, Ordering::Release);
            // The panic hook has logged a panic of the thread.
            let _ = yielder.thread.join();
        }
    }
}

fn yield_for(interpreter: &Interpreter, enough: &AtomicBool) {
    let Some(state) = interpreter.python.temporary_thread_state() else { return };
    while !enough.load(Ordering::Acquire) {
        drop(state.attach());
        std::thread::sleep(Duration::from_millis(2));
    }
}
