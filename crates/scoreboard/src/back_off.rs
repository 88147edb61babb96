//! How long the parent of processes waits before it starts the next, after some that failed. It must never know
//! what a process is.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Pauses that double from one failure in a row to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// Failures in a row that are not followed by a pause.
    pub free: u32,
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl BackOff {
    /// The pause after `failures` in a row.
    pub fn pause(&self, failures: u32) -> Duration {
        match failures.saturating_sub(self.free) {
            0 => Duration::ZERO,
            more => self.first.saturating_mul(2_u32.saturating_pow(more - 1)).min(self.longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BackOff;
    use std::time::Duration;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(10));
        let after = |free, failures| BackOff { free, first, longest }.pause(failures).as_millis();
        let pauses: Vec<_> = (0..12).map(|failures| after(1, failures)).collect();
        assert_eq!(pauses, [0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
        assert_eq!((after(0, 0), after(0, 1), after(0, u32::MAX)), (0, 100, 10_000));
    }
}
