//! Log lines that a peer can cause as often as it likes: one a minute is written, with how many there were. It must never
//! know what the lines are about.
#![forbid(unsafe_code)]

use crate::log::Log;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wsgi::Level;

/// The shortest time between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The lines about one kind of event, in one process.
#[derive(Default)]
pub(crate) struct LogLimit {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    logged: Option<Instant>,
    /// Events since then.
    unlogged: u64,
}

impl LogLimit {
    /// Writes the line, unless one was written less than a minute ago.
    pub(crate) fn write(&self, log: &Log, level: Level, line: impl FnOnce() -> String) {
        if let Some(unlogged) = self.begin(Instant::now()) {
            let more = match unlogged {
                0 => String::new(),
                count => format!(" (and {count} more since the last such line)"),
            };
            log.write(level, format!("{}{more}", line()).as_bytes());
        }
    }

    /// How many events had no line since the last one, where there is one for this event.
    fn begin(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |logged| now.saturating_duration_since(logged) <= LOG_INTERVAL;
        if state.logged.is_some_and(is_recent) {
            state.unlogged += 1;
            return None;
        }
        state.logged = Some(now);
        Some(std::mem::take(&mut state.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_has_the_number_of_the_others() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        let at = |seconds| limit.begin(start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(60), at(61), at(62)], [Some(0), None, None, Some(2), None]);
    }
}
