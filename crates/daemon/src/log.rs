//! Log lines that belong to no request: on their way to Apache's error log, or, for a daemon that was started by hand,
//! to standard error in the format of that log.
#![forbid(unsafe_code)]

use crate::log_pipe;
use crate::log_queue;
use crate::log_threshold::LogThreshold;
use group_config::{GroupConfig, log_stream};
use scoreboard::Scoreboard;
use std::io::Write;
use wsgi::Level;

/// The log of manager and workers.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    threshold: LogThreshold,
    sink: Sink,
}

/// Where lines go.
#[derive(Clone, Copy)]
enum Sink {
    /// Standard error, as text with its time.
    Text,
    /// From a manager: Apache's side, which knows the group.
    Server,
    /// From a worker or a template: its manager, which knows the process.
    Manager,
}

impl Log {
    /// The log of a group's manager.
    pub(crate) const fn of_manager(config: &GroupConfig) -> Self {
        let sink = if config.log_records { Sink::Server } else { Sink::Text };
        Self { threshold: LogThreshold::configured(config.log_level), sink }
    }

    /// The log of a worker or a template, with the level that `board` may have.
    pub(crate) const fn of_worker(config: &GroupConfig, board: Scoreboard<'static>) -> Self {
        let sink = if config.log_records { Sink::Manager } else { Sink::Text };
        Self { threshold: LogThreshold::of_group(config.log_level, board), sink }
    }

    /// The level of a request, which may have one of its own in the configuration.
    pub(crate) const fn threshold_of_request(&self, level: Option<u8>) -> LogThreshold {
        self.threshold.of_request(level)
    }

    /// Writes a line. It does not wait, or not for long: a line that has no room is lost and counted.
    pub(crate) fn write(&self, level: Level, line: &[u8]) {
        if !self.threshold.takes(level) {
            return;
        }
        let records = || {
            let mut records = Vec::with_capacity(line.len() + 3);
            log_stream::append_records(&mut records, level as u8, line);
            records
        };
        match self.sink {
            Sink::Text => write_text(level, line),
            Sink::Manager => log_pipe::write(&records()),
            Sink::Server => log_queue::push(&records()),
        }
    }

    /// Writes a line about a group as a whole. Apache's side names the group by itself.
    pub(crate) fn write_of_group(&self, level: Level, group: &str, what: &str) {
        match self.sink {
            Sink::Text => self.write(level, format!("daemon '{group}' {what}").as_bytes()),
            Sink::Server | Sink::Manager => self.write(level, what.as_bytes()),
        }
    }
}

fn write_text(level: Level, line: &[u8]) {
    let micros = wsgi::epoch_micros();
    let time = sys::local_time(micros / 1_000_000);
    let name = level.name();
    let mut record = format!(
        "[{} {} {:02} {:02}:{:02}:{:02}.{:06} {}] [wsgi:{name}] [pid {}] ",
        name_of(&["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], time.tm_wday),
        name_of(
            &["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
            time.tm_mon
        ),
        time.tm_mday,
        time.tm_hour,
        time.tm_min,
        time.tm_sec,
        micros % 1_000_000,
        time.tm_year + 1900,
        std::process::id()
    )
    .into_bytes();
    // A line of an application must not look like one of this program.
    for &byte in line {
        match byte {
            b'\t' | b' '..=b'~' | 0x80.. => record.push(byte),
            _ => record.extend(byte.escape_ascii()),
        }
    }
    record.push(b'\n');
    // Without standard error there is nowhere to report that.
    let _ = std::io::stderr().write_all(&record);
}

impl host::ServerLog for Log {
    fn log(&self, level: Level, line: &[u8]) {
        self.write(level, line);
    }

    fn logs(&self, level: Level) -> bool {
        self.threshold.takes(level)
    }
}

fn name_of<'a>(names: &[&'a str], index: i32) -> &'a str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or("?")
}
