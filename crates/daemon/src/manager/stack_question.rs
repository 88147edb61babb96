//! A question to workers what their threads do, and what has been answered so far. It must never know who asks.
#![forbid(unsafe_code)]

use crate::process_stacks::ProcessStacks;
use std::time::Instant;

/// The question.
pub(super) struct StackQuestion {
    /// Its number among those of the manager.
    pub(super) number: u64,
    /// When it is answered with what has come until then.
    pub(super) until: Instant,
    pub(super) workers: Vec<AskedWorker>,
}

/// A worker that was asked, as it was then.
pub(super) struct AskedWorker {
    pub(super) slot: usize,
    pub(super) pid: i32,
    pub(super) state: &'static str,
    /// What it has answered, or why it was not asked.
    pub(super) stacks: Option<ProcessStacks>,
}
