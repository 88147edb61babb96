//! The requests of an event loop, as far as events, metrics, or those who look for slow requests need them: one thread
//! has many of them under way. How a request is answered is not known here.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Attachment, Object, Persistent, Result, ThreadState};
use crate::failure;
use crate::interpreters::interpreter::Interpreter;
use crate::observe::running_request::Reported;
use crate::telemetry::Details;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use wsgi::Level;

/// What is known of a request's response by other threads than that of the loop.
pub(crate) trait ResponseView: Send + Sync {
    /// Writes a line to the log of the request; whether it has one still.
    fn log(&self, level: Level, line: &str) -> bool;
    /// Whether it is an event stream that has begun: it lasts as long as its client likes.
    fn is_event_stream(&self) -> bool;
}

/// A request that is under way.
pub(crate) struct LoopRequest {
    /// When it began.
    pub(crate) since: Instant,
    /// Method and target.
    pub(crate) line: String,
    pub(crate) script: String,
    pub(crate) interpreter: Arc<Interpreter>,
    /// `None` where nothing looks for slow requests.
    pub(crate) response: Option<Arc<dyn ResponseView>>,
    /// What is sent to a telemetry service, if there is one.
    pub(crate) details: Option<Arc<Details>>,
    /// Until the request is over.
    task: Mutex<Option<Persistent>>,
    said: Mutex<Said>,
}

/// What has been logged of a request.
struct Said {
    slow: Reported,
    is_hanging: bool,
    is_interrupted: bool,
}

/// Those of a process.
#[derive(Default)]
pub(crate) struct LoopRequests {
    event_loop: OnceLock<EventLoop>,
    under_way: Mutex<HashMap<usize, Arc<LoopRequest>>>,
}

/// The loop that serves them.
pub(crate) struct EventLoop {
    /// Its thread, by its number here.
    pub(crate) thread: i64,
    pub(crate) thread_state: Arc<ThreadState>,
    /// How many requests it takes at once.
    pub(crate) concurrency: i64,
    /// `place_of(task, thread_frame, is_exclusive)` of `task_stack.py`.
    pub(crate) place_of: Persistent,
    /// `report_tasks(request, thread_frame, is_exclusive)` of `tasks.py`.
    pub(crate) report_tasks: Persistent,
    /// Called with the task of a request that is to be cancelled, by any thread.
    pub(crate) interrupt: Persistent,
}

impl LoopRequest {
    /// A request that begins now; `task` serves it.
    pub(crate) fn new(
        line: String,
        script: String,
        interpreter: Arc<Interpreter>,
        response: Option<Arc<dyn ResponseView>>,
        details: Option<Arc<Details>>,
        task: Object<'_>,
    ) -> Self {
        Self {
            since: Instant::now(),
            line,
            script,
            interpreter,
            response,
            details,
            task: Mutex::new(Some(Persistent::new(task))),
            said: Mutex::new(Said {
                slow: Reported::Nothing,
                is_hanging: false,
                is_interrupted: false,
            }),
        }
    }

    /// The line about its end where it has been reported as slow, once.
    pub(crate) fn end_line(&self) -> Option<String> {
        let mut said = lock(&self.said);
        if said.slow != Reported::Slow {
            return None;
        }
        said.slow = Reported::End;
        let seconds = self.since.elapsed().as_secs_f64();
        Some(format!("[script {}] slow request {} took {seconds:.3} s", self.script, self.line))
    }

    /// Whether it is to be logged as slow: once.
    fn take_slow(&self, limit: Duration) -> bool {
        if self.since.elapsed() < limit || lock(&self.said).slow != Reported::Nothing {
            return false;
        }
        if self.response.as_ref().is_none_or(|response| response.is_event_stream()) {
            return false;
        }
        lock(&self.said).slow = Reported::Slow;
        true
    }

    /// Whether it is to be logged as one for which its process is given up: once.
    fn take_hanging(&self, limit: Duration) -> bool {
        self.since.elapsed() >= limit && !std::mem::replace(&mut lock(&self.said).is_hanging, true)
    }

    /// Whether it is to be cancelled: once.
    fn take_overdue(&self, limit: Duration) -> bool {
        self.response.is_some()
            && self.since.elapsed() > limit
            && !std::mem::replace(&mut lock(&self.said).is_interrupted, true)
    }

    /// Whether its task has been or is to be cancelled for its time.
    pub(crate) fn is_interrupted(&self) -> bool {
        lock(&self.said).is_interrupted
    }

    /// Whether it is still served.
    pub(crate) fn is_under_way(&self) -> bool {
        lock(&self.task).is_some()
    }

    fn task<'py>(&self, py: Attached<'py>) -> Option<Object<'py>> {
        lock(&self.task).as_ref().map(|task| task.get(py))
    }
}

impl EventLoop {
    /// What Python reports of the tasks of the loop; with `request` of the one that calls the application for the request
    /// of this number. `attachment` is to the interpreter, that of the loop.
    pub(crate) fn report_tasks<'py>(
        &self,
        request: Option<usize>,
        interpreter: &Interpreter,
        attachment: &'py Attachment,
    ) -> Result<'py, Object<'py>> {
        let py = attachment.py();
        let request = match request {
            Some(number) => py.int(i64::try_from(number).unwrap_or(i64::MAX))?,
            None => py.none(),
        };
        let frame = self.frame(interpreter, attachment);
        let is_exclusive = py.bool(attachment.is_exclusive());
        self.report_tasks.get(py).call([&request, &frame, &is_exclusive])
    }

    /// The frame in which its thread is; `None` of Python's where that is not known.
    fn frame<'py>(&self, interpreter: &Interpreter, attachment: &'py Attachment) -> Object<'py> {
        let frame = interpreter.python.frame_of(&self.thread_state, attachment);
        frame.unwrap_or(attachment.py().none())
    }
}

impl LoopRequests {
    /// Makes the loop known. The first one stays.
    pub(crate) fn set_event_loop(&self, event_loop: EventLoop) {
        let _ = self.event_loop.set(event_loop);
    }

    /// The loop, where there is one.
    pub(crate) fn event_loop(&self) -> Option<&EventLoop> {
        self.event_loop.get()
    }

    /// Adds a request, which has this number among those under way.
    pub(crate) fn add(&self, number: usize, request: Arc<LoopRequest>) {
        lock(&self.under_way).insert(number, request);
    }

    /// The request is over, or waits for nothing but its client's wishes.
    pub(crate) fn remove(&self, py: Attached<'_>, number: usize, request: &LoopRequest) {
        lock(&self.under_way).remove(&number);
        let task = lock(&request.task).take();
        if let Some(task) = task {
            task.clear(py);
        }
    }

    /// When each that is under way has begun.
    pub(crate) fn begun(&self) -> Vec<Instant> {
        lock(&self.under_way).values().map(|request| request.since).collect()
    }

    /// Those that have taken longer than `limit` and have not been logged as slow.
    pub(crate) fn take_slow(&self, limit: Duration) -> Vec<Arc<LoopRequest>> {
        self.all().into_iter().filter(|request| request.take_slow(limit)).collect()
    }

    /// Those that have taken longer than `limit`, for which the process is given up, and have not been logged as such.
    pub(crate) fn take_hanging(&self, limit: Duration) -> Vec<Arc<LoopRequest>> {
        self.all().into_iter().filter(|request| request.take_hanging(limit)).collect()
    }

    /// Those that have taken longer than `limit` and have not been cancelled for that.
    pub(crate) fn take_overdue(&self, limit: Duration) -> Vec<Arc<LoopRequest>> {
        self.all().into_iter().filter(|request| request.take_overdue(limit)).collect()
    }

    /// Has the task of a request cancelled, unless the request is over.
    pub(crate) fn interrupt(&self, request: &LoopRequest, attachment: &Attachment) {
        let py = attachment.py();
        let Some((event_loop, task)) = self.event_loop().zip(request.task(py)) else { return };
        if let Err(raised) = event_loop.interrupt.get(py).call([&task]) {
            // The loop has been closed.
            raised.clear();
        }
    }

    /// All that are under way, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<LoopRequest>> {
        let mut all: Vec<_> = lock(&self.under_way).values().map(Arc::clone).collect();
        all.sort_by_key(|request| request.since);
        all
    }

    /// Where the task of a request is, one line of text an entry; empty where that cannot be told.
    pub(crate) fn stack(&self, request: &LoopRequest, attachment: &Attachment) -> Vec<String> {
        let py = attachment.py();
        let mut lines = Vec::new();
        let Some((event_loop, task)) = self.event_loop().zip(request.task(py)) else {
            return lines;
        };
        let frame = event_loop.frame(&request.interpreter, attachment);
        let is_exclusive = py.bool(attachment.is_exclusive());
        let place = event_loop.place_of.get(py).call([&task, &frame, &is_exclusive]);
        let walked: Result<'_, ()> = place.and_then(|entries| {
            failure::each_line(&entries, &mut |line| lines.push(line.to_owned()))
        });
        if let Err(raised) = walked {
            raised.clear();
        }
        lines
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
