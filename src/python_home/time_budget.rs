//! How long the parent waits for file systems while it examines installations. It must never know an installation.

use std::time::{Duration, Instant};

/// The limit of one inspection.
const LONGEST: Duration = Duration::from_secs(2);
/// The limit where the budget has been used up: a file on a disk is read in a hundredth of that.
const SHORTEST: Duration = Duration::from_millis(200);
/// What all inspections of one reading of the configuration may take.
const TOTAL: Duration = Duration::from_secs(6);

/// The time that is left for the inspections of one reading of the configuration. A user whose file system does not
/// answer takes from it; no inspection is left out for that.
#[derive(Debug)]
pub(crate) struct TimeBudget {
    left: Duration,
}

impl TimeBudget {
    /// For the groups of one configuration.
    pub(crate) const fn new() -> Self {
        Self { left: TOTAL }
    }

    /// For what is looked at again while the server runs.
    pub(crate) const fn exhausted() -> Self {
        Self { left: Duration::ZERO }
    }

    /// Runs an inspection with its limit, and takes the time from the budget.
    pub(crate) fn spend<T>(&mut self, inspect: impl FnOnce(Duration) -> T) -> T {
        let began = Instant::now();
        let found = inspect(self.left.clamp(SHORTEST, LONGEST));
        self.left = self.left.saturating_sub(began.elapsed());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inspection_has_a_limit_whatever_others_have_taken() {
        let mut budget = TimeBudget::new();
        assert_eq!(budget.spend(|limit| limit), LONGEST);
        budget.left = Duration::from_millis(700);
        assert_eq!(budget.spend(|limit| limit), Duration::from_millis(700));
        assert_eq!(TimeBudget::exhausted().spend(|limit| limit), SHORTEST);
    }
}
