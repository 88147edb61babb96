//! Requests that take longer than `WSGISlowRequests`: a thread that looks for them and logs their Python stacks. There
//! is no such thread where the directive is not used. The same is logged of requests for which a process is given up.
#![forbid(unsafe_code)]

use crate::cpython::{Attachment, Object, Result};
use crate::failure;
use crate::log::SharedLog;
use crate::observe::activity::{Activity, Thread};
use crate::observe::loop_requests::{LoopRequest, LoopRequests};
use crate::observe::running_request::RunningRequest;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wsgi::Level;

/// The thread that looks for slow requests.
pub(crate) struct SlowRequestThread {
    thread: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl SlowRequestThread {
    /// Starts to look for requests that take longer than `limit`.
    pub(crate) fn start(limit: Duration, activity: &Arc<Activity>, log: &SharedLog) -> Self {
        let (stop, stopped) = mpsc::channel();
        let (activity, log) = (Arc::clone(activity), SharedLog::clone(log));
        // Often enough for a report in good time, seldom enough to cost nothing.
        let step = (limit / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let check_thread = move || {
            while stopped.recv_timeout(step) == Err(RecvTimeoutError::Timeout) {
                for thread in activity.threads() {
                    if let Some(slow) = thread.take_slow_request(limit) {
                        report(&thread, &slow, &SLOW, &log);
                    }
                }
                for slow in activity.loop_requests.take_slow(limit) {
                    report_task(&activity.loop_requests, &slow, &SLOW, &log);
                }
            }
        };
        let thread = std::thread::Builder::new().name("wsgi-slow".to_owned()).spawn(check_thread);
        Self { thread: Mutex::new(thread.ok().map(|thread| (stop, thread))) }
    }

    /// Ends the thread. `wait`: no request is being served, so that none can keep it waiting.
    pub(crate) fn stop(&self, wait: bool) {
        let taken = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = taken {
            drop(stop);
            if wait {
                // The panic hook has logged a panic of the thread.
                let _ = thread.join();
            }
        }
    }
}

/// What is said of a request.
pub(crate) struct Wording {
    level: Level,
    /// What it is.
    request: &'static str,
    /// The flag of a request that fails with this line.
    flag: &'static str,
}

const SLOW: Wording = Wording { level: Level::Warning, request: "slow request", flag: "" };
/// Of a request for which the process is given up.
pub(crate) const HANGING: Wording =
    Wording { level: Level::Error, request: "hanging request", flag: "" };

/// Of a request of an event loop that is cancelled for its time.
pub(crate) const INTERRUPTED: Wording =
    Wording { level: Level::Error, request: "WSGI0275: cancelled request", flag: " [RT]" };

/// Logs what a thread does: its request, and where it is in Python.
pub(crate) fn report(thread: &Thread, slow: &RunningRequest, wording: &Wording, log: &SharedLog) {
    let say = |line: &str| {
        let line = format!("[script {}] {line}", slow.script);
        // The request's own log, unless its thread is just using it.
        let said = slow.lease.try_with(|response| response.log(wording.level, &line));
        if said.is_none() {
            log.log(wording.level, line.as_bytes());
        }
    };
    // Logged before anything that might have to wait for the application.
    let seconds = slow.since.elapsed().as_secs_f64();
    let request = wording.request;
    say(&format!("{request} {} has taken {seconds:.3} s in thread {}", slow.line, thread.id));
    let Some(attachment) = slow.interpreter.attach() else { return };
    if !attachment.is_exclusive() {
        // The stack would change while it is read.
        return;
    }
    // Its thread may have begun another request while this one waited for the lock.
    if !thread.serves(slow) {
        return;
    }
    let lines = stack(slow, &attachment);
    drop(attachment);
    // Reading the source files lets other threads go on.
    if thread.serves(slow) {
        match lines {
            Some(lines) => lines.iter().for_each(|line| say(line)),
            None => say("it is not in Python code"),
        }
    }
}

/// Logs what a request of an event loop does: where its task is in Python, and those that it waits for.
pub(crate) fn report_task(
    requests: &LoopRequests,
    slow: &LoopRequest,
    wording: &Wording,
    log: &SharedLog,
) {
    let say = |line: &str| {
        let line = format!("[script {}] {line}", slow.script);
        let said = slow.response.as_ref().is_some_and(|it| it.log(wording.level, &line));
        if !said {
            log.log(wording.level, line.as_bytes());
        }
    };
    // Logged before anything that might have to wait for the application.
    let seconds = slow.since.elapsed().as_secs_f64();
    let Wording { request, flag, .. } = wording;
    say(&format!("{request} {} has taken {seconds:.3} s on the event loop{flag}", slow.line));
    let Some(attachment) = slow.interpreter.attach() else { return };
    let lines = requests.stack(slow, &attachment);
    drop(attachment);
    if slow.is_under_way() {
        lines.iter().for_each(|line| say(line));
    }
}

/// Where a thread is in its application's code, one line of text an entry; `None` where it is in none.
pub(crate) fn stack(slow: &RunningRequest, attachment: &Attachment) -> Option<Vec<String>> {
    let frame = slow.interpreter.python.frame_of(&slow.thread_state, attachment)?;
    let mut lines = Vec::new();
    if let Err(raised) = walk(&frame, &mut lines) {
        raised.clear();
    }
    (!lines.is_empty()).then_some(lines)
}

fn walk<'py>(frame: &Object<'py>, lines: &mut Vec<String>) -> Result<'py, ()> {
    let py = frame.py();
    let traceback = py.import(c"traceback")?;
    // First all frames, then the files: reading those lets the other thread go on.
    let frames = traceback.call_method(c"walk_stack", [frame])?;
    let frames = py.import(c"builtins")?.call_method(c"list", [&frames])?;
    frames.call_method(c"reverse", [])?;
    let summary = traceback.attribute(c"StackSummary")?.call_method(c"extract", [&frames])?;
    let entries = summary.call_method(c"format", [])?;
    failure::each_line(&entries, &mut |line| lines.push(line.to_owned()))
}
