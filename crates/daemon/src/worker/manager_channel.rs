//! What the threads of a worker report to the manager. It receives nothing: the main thread does.
#![forbid(unsafe_code)]

use crate::message::{Channel, Loaded, Reason, Report};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The sending end of the channel to the manager.
pub(super) struct ManagerChannel {
    channel: Mutex<Channel>,
    replacement_requested: AtomicBool,
}

impl ManagerChannel {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel: Mutex::new(channel), replacement_requested: AtomicBool::new(false) }
    }

    /// Reports something.
    pub(super) fn report(&self, report: &Report) {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        // A manager that has exited is noticed by the main thread.
        let _ = channel.send(report);
    }

    /// Reports a script that has been loaded.
    pub(super) fn report_loaded(&self, loaded: Loaded) {
        self.report(&Report::Loaded(loaded));
    }

    /// Asks for another worker in the place of this one, the first time that this is called.
    pub(super) fn request_replacement(&self, reason: Reason, detail: String) {
        if !self.replacement_requested.swap(true, Ordering::Relaxed) {
            self.report(&Report::Replace { reason, detail });
        }
    }
}
