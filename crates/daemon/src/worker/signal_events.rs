//! Tells applications of the signals they may subscribe to. On a thread of its own: a callback may take
//! its time, and whoever waits for signals also waits for the manager.
#![forbid(unsafe_code)]

use crate::posix::SIGHUP;
use crate::worker::pool::Pool;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

/// Starts its thread at the first signal: most processes never get one.
pub(crate) struct SignalTeller {
    pool: Arc<Pool>,
    thread: Option<(Sender<i32>, JoinHandle<()>)>,
}

impl SignalTeller {
    pub(crate) fn new(pool: &Arc<Pool>) -> Self {
        Self { pool: Arc::clone(pool), thread: None }
    }

    /// Has SIGHUP or SIGUSR2 told.
    pub(crate) fn tell(&mut self, signal: i32) {
        if self.thread.is_none() {
            self.thread = self.start();
        }
        if let Some((sender, _)) = &self.thread {
            // It listens until `finish`.
            let _ = sender.send(signal);
        }
    }

    /// Waits until all have been told.
    pub(crate) fn finish(self) {
        if let Some((sender, thread)) = self.thread {
            drop(sender);
            // Its panic has been told.
            let _ = thread.join();
        }
    }

    fn start(&self) -> Option<(Sender<i32>, JoinHandle<()>)> {
        let (sender, signals) = mpsc::channel();
        let pool = Arc::clone(&self.pool);
        let tell = move || {
            for signal in signals {
                let name = if signal == SIGHUP { "SIGHUP" } else { "SIGUSR2" };
                pool.host.signal(name, signal);
            }
        };
        let thread = thread::Builder::new().name("wsgi-signals".to_owned()).spawn(tell);
        thread.ok().map(|thread| (sender, thread))
    }
}
