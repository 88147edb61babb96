//! A thread beside those that serve, which does something at every tick until the worker leaves.
#![forbid(unsafe_code)]

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The thread; it ends when this is dropped, and is waited for.
pub(crate) struct Companion {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Companion {
    /// Calls `act` at once and then every `tick`.
    pub(crate) fn start(
        name: &str,
        tick: Duration,
        mut act: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let live = move || {
            loop {
                act();
                if stopped.recv_timeout(tick) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(live)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // Its panic has been told.
            let _ = thread.join();
        }
    }
}
