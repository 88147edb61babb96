//! What a thread says of the request it serves, so that another thread can report or interrupt it.
#![forbid(unsafe_code)]

use crate::cpython::ThreadState;
use crate::gateway::lease::Lease;
use crate::interpreters::interpreter::Interpreter;
use crate::telemetry::Details;
use std::sync::Arc;
use std::time::Instant;

/// A request that may become slow, as its thread says it.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) since: Instant,
    /// Method and target.
    pub(crate) line: String,
    pub(crate) script: String,
    pub(crate) interpreter: Arc<Interpreter>,
    /// Its thread's seat there.
    pub(crate) seat: ThreadState,
    pub(crate) lease: Arc<Lease>,
    pub(crate) report: Report,
    /// Its thread, as Python names it.
    pub(crate) ident: u64,
    pub(crate) interrupted: bool,
    /// What a telemetry service is told of it.
    pub(crate) details: Option<Arc<Details>>,
}

/// What the log has been told of a slow request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    Nothing,
    HasTaken,
    Took,
}

impl Candidate {
    /// The last word about a request that was reported, once.
    pub(crate) fn farewell(&mut self) -> Option<String> {
        if self.report != Report::HasTaken {
            return None;
        }
        self.report = Report::Took;
        let seconds = self.since.elapsed().as_secs_f64();
        Some(format!("[script {}] slow request {} took {seconds:.3} s", self.script, self.line))
    }
}
