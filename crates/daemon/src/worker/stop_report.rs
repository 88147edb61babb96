//! What the log is told of a worker that does not stop in time: what it waits for, whether it had a processor, and where its
//! threads are in Python. It ends nothing.
#![forbid(unsafe_code)]

use crate::process_stacks::ThreadReport;
use crate::worker::pool::Pool;
use crate::worker::stack_report;
use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// How long the stacks are awaited: the process ends without them, too.
const STACKS_TIMEOUT: Duration = Duration::from_millis(400);
/// How many threads, and frames of each, are named in a line.
const MAX_THREADS: usize = 4;
const MAX_FRAMES: usize = 3;

/// What a worker that stops waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Awaited {
    /// The threads that serve, of which one may have an application in the middle of a request.
    Threads,
    /// The event loop: WebSockets that are to be closed, tasks, `lifespan.shutdown`, threads of the executor.
    EventLoop,
    /// A callback for `process_signal`.
    Events,
    /// Threads of the application, `atexit`, destructors.
    Python,
}

/// How far the stop of a worker has come, and how it was when that began.
pub(super) struct StopProgress {
    awaited: AtomicU8,
    times: Times,
}

/// The time that each thread has run, and has waited for a processor, in nanoseconds.
type Times = HashMap<String, (u64, u64)>;

impl StopProgress {
    pub(super) fn begin(awaited: Awaited) -> Self {
        Self { awaited: AtomicU8::new(awaited as u8), times: times() }
    }

    /// The worker waits for something else.
    pub(super) fn wait_for(&self, awaited: Awaited) {
        self.awaited.store(awaited as u8, Ordering::Relaxed);
    }

    /// The rest of the line about a worker that did not stop.
    pub(super) fn describe(&self, pool: &Arc<Pool>) -> String {
        let mut text = self.waits_for().to_owned();
        if let Some(times) = processor_times(&self.times, &times()) {
            text.push_str("; ");
            text.push_str(&times);
        }
        for thread in stacks(pool).iter().filter(|it| !it.frames.is_empty()).take(MAX_THREADS) {
            text.push_str("; ");
            text.push_str(&place(thread));
        }
        text
    }

    const fn text(awaited: Awaited) -> &'static str {
        match awaited {
            Awaited::Threads => "its threads have not ended",
            Awaited::EventLoop => "its event loop has not ended",
            Awaited::Events => "a callback for a signal has not returned",
            Awaited::Python => {
                "its Python has not ended (threads of the application, atexit, destructors)"
            }
        }
    }

    fn waits_for(&self) -> &'static str {
        let now = self.awaited.load(Ordering::Relaxed);
        let all = [Awaited::Threads, Awaited::EventLoop, Awaited::Events, Awaited::Python];
        all.into_iter().find(|it| *it as u8 == now).map_or("", Self::text)
    }
}

/// Those of this process; of a system that does not keep them, none.
fn times() -> Times {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(Result::ok);
    let times = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        let (Some(Ok(run)), Some(Ok(waited))) = (numbers.next(), numbers.next()) else {
            return None;
        };
        Some((task.file_name().to_string_lossy().into_owned(), (run, waited)))
    });
    times.collect()
}

/// How long the threads have run since `before`, and have waited for a processor: a machine may be busy.
fn processor_times(before: &Times, now: &Times) -> Option<String> {
    if now.is_empty() {
        return None;
    }
    let (mut run, mut waited) = (0, 0);
    for (thread, (run_now, waited_now)) in now {
        let (run_then, waited_then) = before.get(thread).copied().unwrap_or_default();
        run += run_now.saturating_sub(run_then);
        waited += waited_now.saturating_sub(waited_then);
    }
    let seconds = |time: u64| Duration::from_nanos(time).as_secs_f64();
    let (run, waited) = (seconds(run), seconds(waited));
    Some(format!("meanwhile it has run for {run:.2} s and waited {waited:.2} s for a processor"))
}

fn stacks(pool: &Arc<Pool>) -> Vec<ThreadReport> {
    let (done, stacks) = mpsc::channel();
    let own = Arc::clone(pool);
    // The receiver is gone where it has not waited.
    let collect = move || drop(done.send(stack_report::stacks(&own).threads));
    let started = thread::Builder::new().name("wsgi-stacks".to_owned()).spawn(collect);
    started.ok().and_then(|_| stacks.recv_timeout(STACKS_TIMEOUT).ok()).unwrap_or_default()
}

/// Where a thread is, the innermost place first.
fn place(thread: &ThreadReport) -> String {
    let frames: Vec<_> = thread
        .frames
        .iter()
        .take(MAX_FRAMES)
        .map(|frame| format!("{} ({}:{})", frame.function, frame.file, frame.line))
        .collect();
    let name = thread.name.as_deref().unwrap_or("without a name");
    format!("thread {name} is in {}", frames.join(", called by "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process_stacks::Frame;

    #[test]
    fn times_of_threads_that_have_come_since_count_and_those_of_ended_ones_do_not() {
        let times = |of: &[(&str, u64, u64)]| -> Times {
            of.iter().map(|(thread, run, waited)| ((*thread).to_owned(), (*run, *waited))).collect()
        };
        let before = times(&[("1", 1_000_000_000, 0), ("2", 5, 5)]);
        let now = times(&[("1", 1_500_000_000, 2_000_000_000), ("3", 250_000_000, 0)]);
        let expected = "meanwhile it has run for 0.75 s and waited 2.00 s for a processor";
        assert_eq!(processor_times(&before, &now).as_deref(), Some(expected));
        assert_eq!(processor_times(&before, &Times::new()), None);
    }

    #[test]
    fn each_state_has_its_words() {
        let progress = StopProgress::begin(Awaited::Threads);
        for awaited in [Awaited::Threads, Awaited::EventLoop, Awaited::Events, Awaited::Python] {
            progress.wait_for(awaited);
            assert_eq!(progress.waits_for(), StopProgress::text(awaited));
        }
    }

    #[test]
    fn place_of_a_thread_names_its_innermost_frames() {
        let frame = |function: &str, line| Frame {
            function: function.to_owned(),
            file: "/srv/app.py".to_owned(),
            line,
        };
        let frames = vec![frame("a", 1), frame("b", 2), frame("c", 3), frame("d", 4)];
        let thread = ThreadReport { name: Some("x".to_owned()), frames, ..Default::default() };
        let expected = "thread x is in a (/srv/app.py:1), called by b (/srv/app.py:2), called by c (/srv/app.py:3)";
        assert_eq!(place(&thread), expected);
    }
}
