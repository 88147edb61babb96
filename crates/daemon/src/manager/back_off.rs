//! How long to wait before something that has failed is tried again.
#![forbid(unsafe_code)]

use std::time::Duration;

/// A pause that doubles with each failure in a row.
pub(super) struct BackOff {
    /// So many failures in a row cause no pause.
    pub(super) tolerated: u32,
    /// The pause after the next one.
    pub(super) first: Duration,
    /// The longest pause.
    pub(super) longest: Duration,
}

impl BackOff {
    /// The pause after so many failures in a row.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        match failures.saturating_sub(self.tolerated) {
            0 => Duration::ZERO,
            counted => self.first.saturating_mul(1 << (counted - 1).min(16)).min(self.longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_the_longest_one() {
        let second = Duration::from_secs(1);
        let back_off = BackOff { tolerated: 1, first: second, longest: second * 5 };
        let pauses: Vec<_> = (0..7).map(|failures| back_off.pause(failures).as_secs()).collect();
        assert_eq!(pauses, [0, 0, 1, 2, 4, 5, 5]);
        assert_eq!(back_off.pause(u32::MAX), second * 5);
    }
}
