//! Limits on time, as the configuration has them: unset and zero both mean that there is none.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// Longer than any process lives; a moment that far away can still be computed.
const MAX: Duration = Duration::from_secs(1_000_000_000);

/// A limit, unless it is off.
pub(crate) fn enabled(limit: Option<Duration>) -> Option<Duration> {
    limit.filter(|limit| !limit.is_zero())
}

/// The moment at which a limit that begins at `start` has passed; never later than in 30 years.
pub(crate) fn deadline(start: Instant, limit: Duration) -> Instant {
    start + limit.min(MAX)
}

/// Whether more than `limit` has passed since then, both in microseconds of the same clock.
pub(crate) fn has_passed(limit: Duration, since: u64, now: u64) -> bool {
    Duration::from_micros(now.saturating_sub(since)) > limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_off_and_every_limit_has_a_deadline() {
        let second = Duration::from_secs(1);
        assert_eq!([enabled(None), enabled(Some(Duration::ZERO))], [None; 2]);
        assert_eq!(enabled(Some(second)), Some(second));
        let start = Instant::now();
        assert_eq!(deadline(start, second), start + second);
        assert_eq!(deadline(start, Duration::MAX), start + MAX);
        assert!(has_passed(second, 5, 1_000_006) && !has_passed(second, 5, 1_000_005));
        assert!(!has_passed(second, 5, 0));
    }
}
