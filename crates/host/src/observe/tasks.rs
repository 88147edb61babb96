//! Where the tasks of the event loop are, for an administrator: asked of Python, so that the lock of the main interpreter
//! is waited for. How a request is answered is not known here.
#![forbid(unsafe_code)]

use crate::cpython::{Object, Result};
use crate::host::Host;
use crate::observe::stacks::{StackFrame, TaskStack};

impl Host {
    /// The tasks of the event loop, those of the oldest requests first; with `request` the task that calls the application
    /// for the request of this number, which may be over, and behind its frames those of a task that it waits for. Waits
    /// for the lock of the main interpreter. `None` where there is no event loop or nothing can be found out, and in a
    /// Python without its lock while the loop is held up: there the loop itself is asked.
    pub fn tasks(&self, request: Option<usize>) -> Option<Vec<TaskStack>> {
        let event_loop = self.activity.loop_requests.event_loop()?;
        let _look = self.guard_look()?;
        let main = self.interpreters.main();
        let state = main.python.temporary_thread_state()?;
        let attachment = state.attach()?;
        let reports = event_loop.report_tasks(request, main, &attachment);
        match reports.and_then(|reports| tasks(&reports)) {
            Ok(tasks) => tasks,
            Err(raised) => {
                raised.clear();
                None
            }
        }
    }
}

/// What `report_tasks` of `tasks.py` has given.
fn tasks<'py>(reports: &Object<'py>) -> Result<'py, Option<Vec<TaskStack>>> {
    if reports.is_none() {
        return Ok(None);
    }
    let reports = reports.iter()?;
    let mut tasks = Vec::new();
    while let Some(report) = reports.next()? {
        tasks.push(task(&report)?);
    }
    Ok(Some(tasks))
}

fn task<'py>(report: &Object<'py>) -> Result<'py, TaskStack> {
    let items = report.iter()?;
    let text = |item: Option<Object<'py>>| item.map(|it| printable(&it.text())).unwrap_or_default();
    let number = |item: Option<Object<'py>>| item.map_or(Ok(0), |it| it.as_i64());
    let name = text(items.next()?);
    let request = usize::try_from(number(items.next()?)?).ok();
    let depth = usize::try_from(number(items.next()?)?).unwrap_or(0);
    let mut frames = Vec::new();
    while let Some(line) = items.next()? {
        let line = i32::try_from(line.as_i64()?).unwrap_or(0);
        frames.push(StackFrame { line, function: text(items.next()?), file: text(items.next()?) });
    }
    Ok(TaskStack { name, request, left_out: depth.saturating_sub(frames.len()), frames })
}

/// A text without what controls a terminal or, on the scoreboard, ends a line.
fn printable(text: &str) -> String {
    text.chars().map(|it| if wsgi::is_printable(it) { it } else { '\u{fffd}' }).collect()
}
