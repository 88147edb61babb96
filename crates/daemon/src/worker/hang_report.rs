//! A thread that logs where the threads of hanging requests are: the main thread, which decides about them, must not
//! wait for Python.
#![forbid(unsafe_code)]

use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The report that is being written, if there is one.
#[derive(Default)]
pub(super) struct HangReport(Mutex<Option<Receiver<()>>>);

/// How long a worker that ends waits for the report, in all. A thread that holds Python's lock in C code keeps it from
/// being written.
const WAIT: Duration = Duration::from_secs(1);

impl HangReport {
    /// Has `report` called, which logs them, unless it is being called.
    pub(super) fn start(&self, report: impl FnOnce() + Send + 'static) {
        let mut running = self.running();
        let waits = |done: &Receiver<()>| done.try_recv() == Err(mpsc::TryRecvError::Empty);
        if running.as_ref().is_some_and(waits) {
            return;
        }
        let (end, done) = mpsc::channel();
        let report = move || {
            report();
            // The receiver is gone where a worker has ended meanwhile.
            let _ = end.send(());
        };
        // Without the thread the log has the request and not its stack.
        let started = thread::Builder::new().name("wsgi-hang".to_owned()).spawn(report);
        *running = started.ok().map(|_| done);
    }

    /// Waits for the report, but not for long.
    pub(super) fn wait(&self) {
        if let Some(done) = self.running().take() {
            // Written, given up, or ended by a panic, which has been logged.
            let _ = done.recv_timeout(WAIT);
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Receiver<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
