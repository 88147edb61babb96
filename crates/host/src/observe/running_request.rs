//! What a thread publishes of the request it serves, so that another thread can report or interrupt it.
#![forbid(unsafe_code)]

use crate::cpython::ThreadState;
use crate::gateway::lease::Lease;
use crate::interpreters::interpreter::Interpreter;
use crate::telemetry::Details;
use std::sync::Arc;
use std::time::Instant;

/// A request that is being served and may become slow.
#[derive(Clone)]
pub(crate) struct RunningRequest {
    /// When the request began.
    pub(crate) since: Instant,
    /// Method and target.
    pub(crate) line: String,
    pub(crate) script: String,
    pub(crate) interpreter: Arc<Interpreter>,
    /// Its thread's state there.
    pub(crate) thread_state: Arc<ThreadState>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) reported: Reported,
    /// Its thread's number in Python (`threading.get_ident()`).
    pub(crate) ident: u64,
    pub(crate) interrupted: bool,
    /// That it hangs has been logged.
    pub(crate) reported_hanging: bool,
    /// What is sent to a telemetry service, if there is one.
    pub(crate) details: Option<Arc<Details>>,
}

/// What has been logged of a slow request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    Nothing,
    /// That it is slow and goes on.
    Slow,
    /// That it has ended.
    End,
}

impl RunningRequest {
    /// The line about the end of a request that was reported as slow, once.
    pub(crate) fn end_line(&mut self) -> Option<String> {
        if self.reported != Reported::Slow {
            return None;
        }
        self.reported = Reported::End;
        let seconds = self.since.elapsed().as_secs_f64();
        Some(format!("[script {}] slow request {} took {seconds:.3} s", self.script, self.line))
    }
}
