//! Why no worker of a group is to be expected, as log and status page tell it. It must never know a request.
#![forbid(unsafe_code)]

use super::plan::GroupPlan;
use std::fmt;

/// Why no worker is to be expected. As text it follows the name of the group.
pub(crate) struct StartBlock {
    /// The sentence alone.
    pub(crate) why: String,
    /// Apache's parent does not even try to start the group's manager.
    is_refused: bool,
}

impl GroupPlan {
    /// Why no worker is to be expected in this slot; `None` if one is.
    pub(crate) fn start_block(&self, slot: usize) -> Option<StartBlock> {
        let board = self.board.view();
        if !board.start_failed_permanently(slot) {
            return None;
        }
        if let Some(why) = self.known_cause.get() {
            return Some(StartBlock { why, is_refused: true });
        }
        let why = board.start_block_reason(slot, || self.board.cause().read())?;
        Some(StartBlock { why, is_refused: false })
    }
}

impl fmt::Display for StartBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_refused { "is not started" } else { "does not start" };
        write!(f, "{what}: {}", self.why)
    }
}
