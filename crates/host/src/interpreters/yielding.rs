//! Makes busy threads let others in while interpreters are being ended.
//!
//! Up to Python 3.11 a thread that waits for the lock asks the threads of its own interpreter only to
//! let it go; a busy thread of another interpreter never hears of it, and the waiting thread never gets
//! in. So for a while there is a thread in each interpreter that wants the lock again and again.
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
            interpreters.for_each(|interpreter| all.enter(interpreter));
        }
        all
    }

    /// A thread for this interpreter.
    pub(crate) fn enter(&mut self, interpreter: &Arc<Interpreter>) {
        let enough = Arc::new(AtomicBool::new(false));
        let (theirs, until) = (Arc::clone(interpreter), Arc::clone(&enough));
        let thread = std::thread::Builder::new().spawn(move || yield_for(&theirs, &until));
        if let Ok(thread) = thread {
            self.0.push(Yielder { interpreter: Arc::clone(interpreter), enough, thread });
        }
    }

    /// Ends all threads. The calling thread must not be attached.
    pub(crate) fn leave_all(mut self) {
        while let Some(yielder) = self.0.pop() {
            yielder.enough.store(true, Ordering::Release);
            // As below.
            let _ = yielder.thread.join();
        }
    }

    /// Ends the thread of this interpreter. The calling thread must not be attached.
    pub(crate) fn leave(&mut self, interpreter: &Arc<Interpreter>) {
        let found = self.0.iter().position(|it| Arc::ptr_eq(&it.interpreter, interpreter));
        if let Some(at) = found {
            let yielder = self.0.swap_remove(at);
            yielder.enough.store(true, Ordering::Release);
            // One that panicked has been reported by the panic hook.
            let _ = yielder.thread.join();
        }
    }
}

fn yield_for(interpreter: &Interpreter, enough: &AtomicBool) {
    let Some(seat) = interpreter.passing_seat() else { return };
    while !enough.load(Ordering::Acquire) {
        drop(seat.attach());
        std::thread::sleep(Duration::from_millis(2));
    }
    seat.attach_and_give_up();
}
