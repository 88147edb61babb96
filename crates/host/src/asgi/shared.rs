//! What all requests of the event loop share, in the main interpreter: the only one that has a loop of the server's.
#![forbid(unsafe_code)]

use crate::interpreters::interpreter::Interpreter;
use crate::log::SharedLog;
use crate::observe::activity::Activity;
use crate::observe::events::Subscribers;
use std::sync::{Arc, OnceLock};

/// What requests share.
pub(super) struct Shared {
    pub(super) interpreter: Arc<Interpreter>,
    pub(super) activity: Arc<Activity>,
    /// The log of the process group.
    pub(super) log: SharedLog,
}

static SHARED: OnceLock<Shared> = OnceLock::new();

impl Shared {
    /// The callbacks and lists of the applications.
    pub(super) fn subscribers(&self) -> &Subscribers {
        &self.interpreter.state.subscribers
    }
}

/// Makes it known. The first one stays.
pub(super) fn set(shared: Shared) {
    let _ = SHARED.set(shared);
}

/// What requests share; `None` before there are any.
pub(super) fn get() -> Option<&'static Shared> {
    SHARED.get()
}
