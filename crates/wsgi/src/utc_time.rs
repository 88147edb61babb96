//! A moment as a date and a time of day in UTC. It must never know what happened then.
#![forbid(unsafe_code)]

use std::fmt;

/// Microseconds since the epoch.
#[derive(Clone, Copy)]
pub struct UtcTime(pub u64);

impl UtcTime {
    /// As ISO 8601 has it, with milliseconds: `2026-11-30T08:20:11.012Z`.
    pub fn iso(self) -> String {
        let (date, time) = self.parts();
        format!("{date}T{time}.{:03}Z", self.0 / 1000 % 1000)
    }

    /// Date and time of day.
    fn parts(self) -> (String, String) {
        let seconds = self.0 / 1_000_000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        (format!("{year}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}:{second:02}"))
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = self.parts();
        write!(f, "{date} {time} UTC")
    }
}

/// Year, month and day of this day since 1970-01-01. Years begin in March, so that the day of a leap year is their last.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        let table = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (1_796_026_811, "2026-11-30 08:20:11 UTC"),
        ];
        for (seconds, text) in table {
            assert_eq!(UtcTime(seconds * 1_000_000).to_string(), text);
        }
        let _ = UtcTime(u64::MAX).to_string();
        assert_eq!(UtcTime(1_796_026_811_012_999).iso(), "2026-11-30T08:20:11.012Z");
    }
}
