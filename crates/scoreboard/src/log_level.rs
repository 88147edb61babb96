//! The log level that an administrator has set for a group, in a word of its scoreboard. It must never know a line.
#![forbid(unsafe_code)]

use crate::board::{LOG_LEVEL, Scoreboard};
use std::sync::atomic::Ordering;

/// The last number of a level of Apache that is used.
const MAX_LOG_LEVEL: u64 = 8;

impl Scoreboard<'_> {
    /// Sets the level from which lines of the group's processes reach the log (a number of `APLOG_*`), in place of that of
    /// the configuration; `None`: that holds again.
    pub fn set_log_level(&self, level: Option<u8>) {
        if let Some(word) = self.words.get(LOG_LEVEL) {
            // One more than the level, so that memory that is all 0 has none.
            word.store(level.map_or(0, |level| u64::from(level) + 1), Ordering::Relaxed);
        }
    }

    /// The level that has been set.
    pub fn log_level(&self) -> Option<u8> {
        let level = self.words.get(LOG_LEVEL)?.load(Ordering::Relaxed).checked_sub(1)?;
        u8::try_from(level.min(MAX_LOG_LEVEL)).ok()
    }
}
