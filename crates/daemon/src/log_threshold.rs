//! The level from which lines are written: that of the configuration, until an administrator sets another one for the group
//! (`mod_wsgi_rs log-level`). It must never know a line.
#![forbid(unsafe_code)]

use scoreboard::Scoreboard;
use wsgi::Level;

/// The least serious level that is written.
#[derive(Clone, Copy)]
pub(crate) struct LogThreshold {
    /// A number of `APLOG_*`.
    configured: u8,
    /// Where that of the administrator stands. It is read for each line, and never for a request without one.
    board: Option<Scoreboard<'static>>,
}

impl LogThreshold {
    /// That of the configuration alone.
    pub(crate) const fn configured(level: u8) -> Self {
        Self { configured: level, board: None }
    }

    /// That of the configuration, where the group's scoreboard has no other.
    pub(crate) const fn of_group(configured: u8, board: Scoreboard<'static>) -> Self {
        Self { configured, board: Some(board) }
    }

    /// The same for a request, which may have a level of its own in the configuration.
    pub(crate) const fn of_request(self, level: Option<u8>) -> Self {
        match level {
            Some(configured) => Self { configured, ..self },
            None => self,
        }
    }

    /// Whether lines of this level are written now.
    pub(crate) fn takes(self, level: Level) -> bool {
        let set = self.board.and_then(|board| board.log_level());
        level as u8 <= set.unwrap_or(self.configured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn level_of_the_administrator_holds_for_all_requests_until_it_is_taken_back() {
        let words = (0..Scoreboard::size(1, 1)).map(|_| AtomicU64::new(0)).collect();
        let board = Scoreboard::new(Vec::leak(words), 1, 1);
        let group = LogThreshold::of_group(4, board);
        let request = group.of_request(Some(6));
        let takes = || [group, request].map(|it| (it.takes(Level::Info), it.takes(Level::Debug)));
        assert_eq!(takes(), [(false, false), (true, false)]);
        board.set_log_level(Some(7));
        assert_eq!(takes(), [(true, true); 2]);
        board.set_log_level(Some(3));
        assert_eq!(takes(), [(false, false); 2]);
        board.set_log_level(None);
        assert_eq!(takes(), [(false, false), (true, false)]);
        assert!(LogThreshold::configured(8).takes(Level::Trace));
    }
}
