//! Orders that a group carries out while their clients wait. It must never know how that is done.
#![forbid(unsafe_code)]

use super::stack_question::StackQuestion;
use std::time::Instant;

/// An order, and who waits for its end.
pub(super) struct Pending {
    /// The number of the client.
    pub(super) client: u64,
    pub(super) work: Work,
}

/// What has to happen first.
pub(super) enum Work {
    /// The last worker exits.
    Drain,
    /// Other workers serve in the place of some.
    Replacement(Replacement),
    /// Workers answer.
    Stacks(StackQuestion),
}

/// Workers that are being replaced because a client has asked for it.
pub(super) struct Replacement {
    /// Since when; earlier failures are not its own.
    pub(super) begun: Instant,
    /// The workers that are to be replaced: slots and process ids; `None` where a slot had none.
    pub(super) old: Vec<(usize, Option<i32>)>,
    /// Why it will not come to an end.
    pub(super) failure: Option<String>,
}

impl Replacement {
    /// Notes why it has failed; the first cause counts.
    pub(super) fn fail(&mut self, why: &str) {
        self.failure.get_or_insert_with(|| why.to_owned());
    }

    /// Whether a worker of that slot is to be replaced.
    pub(super) fn has_slot(&self, index: usize) -> bool {
        self.old.iter().any(|(slot, _)| *slot == index)
    }
}
