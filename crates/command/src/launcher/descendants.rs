//! Processes that are left: the launcher is the parent of what loses its own.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// Waits for all children that have ended; returns how `wanted` did, if it was among them.
pub(super) fn reap(wanted: u32) -> Option<ExitStatus> {
    let mut found = None;
    while let Some(child) = sys::reap() {
        if child.pid.unsigned_abs() == wanted {
            found = Some(child.status);
        }
    }
    found
}

/// The children of this process.
pub(super) fn children() -> Vec<u32> {
    let me = std::process::id();
    let Ok(processes) = std::fs::read_dir("/proc") else { return vec![] };
    let parent = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may have spaces and parentheses; the state and the parent follow the last one.
        text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| parent(pid) == Some(me))
        .collect()
}

/// Gives what is left of the server `limit` to end, and kills the rest, with what that leaves behind. `meanwhile` is
/// called all the time; `true` from it ends the wait.
pub(super) fn end_all(limit: Duration, mut meanwhile: impl FnMut() -> bool) {
    let mut deadline = Instant::now() + limit;
    loop {
        reap(0);
        let left = children();
        if left.is_empty() {
            return;
        }
        if meanwhile() {
            deadline = Instant::now();
        }
        if Instant::now() >= deadline {
            for pid in left {
                sys::kill(pid, sys::SIGKILL);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
