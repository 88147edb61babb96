//! Log lines that belong to no request: to standard error, in the format of Apache's error log.
#![forbid(unsafe_code)]

use std::io::Write;
use wsgi::Level;

/// The log of manager and workers.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    level: u8,
}

impl Log {
    pub(crate) const fn new(level: u8) -> Self {
        Self { level }
    }

    pub(crate) fn write(&self, level: Level, line: &[u8]) {
        if level as u8 > self.level {
            return;
        }
        let micros = wsgi::epoch_micros();
        let time = sys::local_time(micros / 1_000_000);
        let name = level.name();
        let mut record = format!(
            "[{} {} {:02} {:02}:{:02}:{:02}.{:06} {}] [wsgi:{name}] [pid {}] ",
            name_of(&["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], time.tm_wday),
            name_of(
                &[
                    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov",
                    "Dec"
                ],
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
}

impl host::ServerLog for Log {
    fn log(&self, level: Level, line: &[u8]) {
        self.write(level, line);
    }

    fn logs(&self, level: Level) -> bool {
        level as u8 <= self.level
    }
}

fn name_of<'a>(names: &[&'a str], index: i32) -> &'a str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or("?")
}
