//! Times of the configuration: seconds, perhaps fractions, where 0 switches a limit off.
#![forbid(unsafe_code)]

use std::time::Duration;

/// A limit in seconds, unless it is off.
pub(crate) fn enabled(limit: Option<f64>) -> Option<f64> {
    limit.filter(|seconds| *seconds > 0.0)
}

/// So many seconds: not less than 0, and at most 30 years, so that a deadline can be computed from it.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 1e9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_off_and_every_number_is_a_duration() {
        assert_eq!([enabled(None), enabled(Some(0.0)), enabled(Some(-1.0))], [None; 3]);
        assert_eq!(enabled(Some(0.5)), Some(0.5));
        assert_eq!(duration(-1.0), Duration::ZERO);
        assert_eq!(duration(0.5), Duration::from_millis(500));
        assert_eq!(duration(f64::INFINITY), Duration::from_secs(1_000_000_000));
    }
}
