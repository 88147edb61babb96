//! One thread that serves requests, as the scheduler sees it: its progress, and what the kernel says it does.
//! It decides nothing.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, OnceLock};
use std::time::Duration;
use sys::ThreadClock;

/// One thread, on a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
pub(super) struct WorkerThread {
    /// Counts the beginnings and ends of what the thread does; odd while it is busy.
    progress: AtomicU64,
    /// Notified when the thread is woken.
    pub(super) wake_up: Condvar,
    /// `/proc/self/task/TID/stat` (proc_pid_stat(5)) of the thread.
    stat: OnceLock<PathBuf>,
    clock: OnceLock<ThreadClock>,
}

/// What the kernel says of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ThreadState {
    /// The thread runs, or would if there were a processor for it.
    pub(super) is_runnable: bool,
    /// The processor time that the thread has used.
    pub(super) used: Duration,
}

impl WorkerThread {
    /// Notes that the calling thread is this one.
    pub(super) fn register(&self) {
        // The link leads to `PID/task/TID`. Without /proc the state of the thread stays unknown.
        let link = fs::read_link("/proc/thread-self").unwrap_or_default();
        let number = link.file_name().unwrap_or_default();
        if let Ok(clock) = ThreadClock::of_this_thread() {
            let _ = self.clock.set(clock);
        }
        let _ = self.stat.set(PathBuf::from("/proc/self/task").join(number).join("stat"));
    }

    /// The number of beginnings and ends so far; see [`is_busy`].
    pub(super) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Acquire)
    }

    /// Adds to the number of beginnings and ends. Only the thread itself may call this.
    pub(super) fn advance(&self, count: u64) {
        // No other thread stores here, so that an addition in two steps loses nothing.
        self.progress.store(self.progress.load(Ordering::Relaxed) + count, Ordering::Release);
    }

    /// What the thread does just now. An unknown state counts as blocked, which costs little: one thread more runs.
    pub(super) fn state(&self) -> ThreadState {
        let mut line = [0; 1024];
        let count = self.stat.get().and_then(|path| File::open(path).ok()?.read(&mut line).ok());
        let line = line.get(..count.unwrap_or(0)).unwrap_or_default();
        let used = self.clock.get().and_then(|clock| clock.used().ok());
        ThreadState {
            is_runnable: std::str::from_utf8(line).is_ok_and(is_runnable),
            used: used.unwrap_or_default(),
        }
    }

    #[cfg(test)]
    pub(super) fn is_registered(&self) -> bool {
        self.stat.get().is_some()
    }
}

/// Whether a thread with this progress is busy.
pub(super) const fn is_busy(progress: u64) -> bool {
    progress % 2 == 1
}

/// Whether the state in a line of proc_pid_stat(5) is "running", which includes threads that wait for a processor.
fn is_runnable(line: &str) -> bool {
    // The name before the parenthesis may hold anything.
    line.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with("R "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn state_and_cpu_time_come_from_the_kernel() {
        assert!(is_runnable("7 (wsgi) 0) R 1 2 3"));
        assert!(!is_runnable("7 (wsgi-0) S 1") && !is_runnable("7 (R 1") && !is_runnable(""));
        let computing = WorkerThread::default();
        computing.register();
        assert!(computing.state().is_runnable);
        while computing.state().used < Duration::from_millis(20) {}
        let blocked = Arc::new(WorkerThread::default());
        let registered = Arc::clone(&blocked);
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            registered.register();
            let _ = stopped.recv();
        });
        while !blocked.is_registered() || blocked.state().is_runnable {
            thread::yield_now();
        }
        assert!(blocked.state().used < Duration::from_millis(20));
        drop(stop);
        thread.join().unwrap();
    }
}
