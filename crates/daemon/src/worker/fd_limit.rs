//! How near a worker is to its limit of open files, and what it logs then, at most once a minute. It closes no
//! connection.
#![forbid(unsafe_code)]

use crate::log::Log;
use crate::log_limit::LogLimit;
use std::io;
use std::os::fd::RawFd;
use wsgi::Level;

/// The limit, and when it was last logged.
pub(crate) struct FdLimit {
    /// The soft limit once everything is imported; `None` where there is no /proc, or no limit.
    limit: Option<u64>,
    logged: LogLimit,
}

/// One of so many descriptors is left to the application's own files.
const RESERVE: u64 = 8;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

impl FdLimit {
    pub(crate) fn new() -> Self {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self { limit: soft_limit(&text), logged: LogLimit::default() }
    }

    /// Whether a connection with this descriptor, the lowest that was free, leaves too few for the
    /// application.
    pub(crate) fn is_near(&self, descriptor: RawFd) -> bool {
        let used = u64::try_from(descriptor).unwrap_or(0);
        self.limit.is_some_and(|limit| used >= limit - limit / RESERVE)
    }

    /// Logs why idle connections are closed.
    pub(crate) fn log_near_limit(&self, log: &Log) {
        self.logged.write(log, Level::Warning, || {
            let limit = self.describe_limit();
            format!("this worker is near its limit{limit}")
        });
    }

    /// Logs why a connection could not be accepted.
    pub(crate) fn log_accept_error(&self, log: &Log, why: &io::Error) {
        self.logged.write(log, Level::Error, || match why.raw_os_error() {
            Some(EMFILE) => {
                let limit = self.describe_limit();
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

    fn describe_limit(&self) -> String {
        let number = self.limit.map_or_else(String::new, |limit| format!("{limit} "));
        format!(
            " of {number}open files (ulimit -n where Apache is started), and every child of Apache keeps \
             connections to it; those that have waited longest are closed"
        )
    }
}

/// Whether descriptors have run out, so that it may help to close one.
pub(crate) fn is_fd_exhaustion(why: &io::Error) -> bool {
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
    fn the_limit_is_the_soft_one_of_proc() {
        let text =
            "Max processes  7  7  processes\nMax open files            1024   4096   files\n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit("Max open files            unlimited unlimited files"), None);
        assert_eq!(soft_limit(""), None);
        assert!(FdLimit::new().limit.is_some());
    }

    #[test]
    fn an_eighth_of_the_descriptors_is_left_to_the_application() {
        let near =
            |limit, descriptor| FdLimit { limit, logged: LogLimit::default() }.is_near(descriptor);
        assert!(!near(Some(1024), 895));
        assert!(near(Some(1024), 896));
        assert!(!near(None, 100_000));
    }

    #[test]
    fn only_emfile_and_enfile_are_exhaustion() {
        for (number, expected) in [(EMFILE, true), (ENFILE, true), (1, false)] {
            assert_eq!(is_fd_exhaustion(&io::Error::from_raw_os_error(number)), expected);
        }
    }
}
