//! Log lines of a worker or a template, on its standard error: a pipe that its manager reads. A manager that does not
//! read must not stop the worker: then lines are lost, and counted.
#![forbid(unsafe_code)]

use group_config::log_stream;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wsgi::Level;

/// How long a line waits for room.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How many lines have been lost since the last one that was written.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Writes records, each with one call: no lock is held, which a process that the application forks could inherit.
pub(crate) fn write(records: &[u8]) {
    for record in records.split_inclusive(|&byte| byte == b'\n') {
        // While there is no room only the first line waits.
        let wait = if LOST.load(Ordering::Relaxed) == 0 { LONGEST_WAIT } else { Duration::ZERO };
        if !sys::is_writable(io::stderr().as_fd(), wait) {
            LOST.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let lost = LOST.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let mut notice = Vec::new();
            let text = format!("{lost} log lines lost: the manager process did not take them");
            log_stream::append_records(&mut notice, Level::Warning as u8, text.as_bytes());
            write_record(&notice);
        }
        write_record(record);
    }
}

fn write_record(record: &[u8]) {
    // Where the application has closed the descriptor, or no manager reads it any more, there is nowhere to report
    // that.
    let _ = sys::write(io::stderr().as_fd(), record);
}
