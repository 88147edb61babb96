//! How near a worker is to its limit of open files, and what it says then: what is missing, and not a
//! thousand times. It closes nothing.
#![forbid(unsafe_code)]

use crate::log::Log;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wsgi::Level;

/// The limit, and when it was last told of.
pub(crate) struct Shortage {
    /// The soft limit once everything is imported; `None` where there is no /proc, or no limit.
    limit: Option<u64>,
    told: Mutex<Option<Instant>>,
}

/// How often.
const SELDOM: Duration = Duration::from_secs(60);
/// This part of the limit is for the application's own files.
const RESERVE: u64 = 8;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

impl Shortage {
    pub(crate) fn new() -> Self {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self { limit: soft_limit(&text), told: Mutex::default() }
    }

    /// Whether a connection with this descriptor, the lowest that was free, leaves too few for the
    /// application.
    pub(crate) fn is_near(&self, descriptor: RawFd) -> bool {
        let used = u64::try_from(descriptor).unwrap_or(0);
        self.limit.is_some_and(|limit| used >= limit - limit / RESERVE)
    }

    /// Says why connections are closed, unless that has been said a while ago.
    pub(crate) fn warn(&self, log: &Log) {
        self.tell(log, Level::Warning, || {
            let limit = self.limit_in_words();
            format!("this worker is near its limit{limit}")
        });
    }

    /// The same where one could not be accepted.
    pub(crate) fn complain(&self, log: &Log, why: &io::Error) {
        self.tell(log, Level::Error, || match why.raw_os_error() {
            Some(EMFILE) => {
                let limit = self.limit_in_words();
                format!("cannot accept a connection: {why}; this worker is at its limit{limit}")
            }
            Some(ENFILE) => {
                format!(
                    "cannot accept a connection: {why}; the system is at its limit (fs.file-max)"
                )
            }
            _ => format!("cannot accept a connection: {why}"),
        });
    }

    fn tell(&self, log: &Log, level: Level, line: impl Fn() -> String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() > SELDOM) {
            *told = Some(Instant::now());
            log.write(level, line().as_bytes());
        }
    }

    fn limit_in_words(&self) -> String {
        let number = self.limit.map_or_else(String::new, |limit| format!("{limit} "));
        format!(
            " of {number}open files (ulimit -n where Apache is started), and every child of Apache keeps \
             connections to it; those that have waited longest are closed"
        )
    }
}

/// Whether descriptors have run out, so that to close one may help.
pub(crate) fn is_one(why: &io::Error) -> bool {
    matches!(why.raw_os_error(), Some(EMFILE | ENFILE))
}

/// From the text of proc_pid_limits(5).
fn soft_limit(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_the_limit_is() {
        let text =
            "Max processes  7  7  processes\nMax open files            1024   4096   files\n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit("Max open files            unlimited unlimited files"), None);
        assert_eq!(soft_limit(""), None);
        assert!(Shortage::new().limit.is_some());
    }

    #[test]
    fn an_eighth_is_for_the_application() {
        let near =
            |limit, descriptor| Shortage { limit, told: Mutex::default() }.is_near(descriptor);
        assert!(!near(Some(1024), 895));
        assert!(near(Some(1024), 896));
        assert!(!near(None, 100_000));
    }

    #[test]
    fn only_a_lack_of_descriptors_is_one() {
        for (number, expected) in [(EMFILE, true), (ENFILE, true), (1, false)] {
            assert_eq!(is_one(&io::Error::from_raw_os_error(number)), expected);
        }
    }
}
