//! The server's error log, as this crate sees it: a trait that Apache's child and the daemon implement. It knows
//! neither Python nor requests.
#![forbid(unsafe_code)]

use std::sync::Arc;
use wsgi::{Level, Source};

/// The log for lines that belong to no request.
pub trait ServerLog: Send + Sync {
    /// Writes one line to the server's error log.
    fn log(&self, level: Level, line: &[u8]);

    /// Whether a line of this level would be written.
    fn logs(&self, _level: Level) -> bool {
        true
    }

    /// As [`ServerLog::log`], for a line with a source location.
    fn log_from(&self, level: Level, line: &[u8], _source: &Source<'_>) {
        self.log(level, line);
    }
}

/// A server log that several objects share.
pub(crate) type SharedLog = Arc<dyn ServerLog>;
