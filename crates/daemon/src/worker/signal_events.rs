//! Publishes the signals that applications may subscribe to. On a thread of its own, because a callback may take
//! long, and the main thread, which waits for signals, also waits for the manager.
#![forbid(unsafe_code)]

use crate::worker::pool::Pool;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use sys::SIGHUP;

/// The thread, which starts at the first signal: most processes never get one.
pub(super) struct SignalEventThread {
    pool: Arc<Pool>,
    thread: Option<(Sender<i32>, JoinHandle<()>)>,
}

impl SignalEventThread {
    pub(super) fn new(pool: &Arc<Pool>) -> Self {
        Self { pool: Arc::clone(pool), thread: None }
    }

    /// Publishes SIGHUP or SIGUSR2.
    pub(super) fn publish(&mut self, signal: i32) {
        if self.thread.is_none() {
            self.thread = self.start();
        }
        if let Some((sender, _)) = &self.thread {
            // The thread receives until `finish`.
            let _ = sender.send(signal);
        }
    }

    /// Waits until all have been published.
    pub(super) fn finish(self) {
        if let Some((sender, thread)) = self.thread {
            drop(sender);
            // A panic has been logged.
            let _ = thread.join();
        }
    }

    fn start(&self) -> Option<(Sender<i32>, JoinHandle<()>)> {
        let (sender, signals) = mpsc::channel();
        let pool = Arc::clone(&self.pool);
        let publish = move || {
            for signal in signals {
                let name = if signal == SIGHUP { "SIGHUP" } else { "SIGUSR2" };
                pool.host.signal(name, signal);
            }
        };
        let thread = thread::Builder::new().name("wsgi-signals".to_owned()).spawn(publish);
        thread.ok().map(|thread| (sender, thread))
    }
}
