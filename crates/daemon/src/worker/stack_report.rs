//! What the threads of this worker do, for the manager: on a thread of its own, which needs no lock of Python's.
#![forbid(unsafe_code)]

use crate::message::Report;
use crate::process_stacks::{Frame, ProcessStacks, TaskReport, ThreadReport};
use crate::worker::pool::Pool;
use crate::worker::stack_reporter::OfPython;
use host::{StackFrame, TaskStack, ThreadName, ThreadStack};
use scoreboard::now;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the locks of the interpreters are waited for, so that threads have the names that applications gave them, and
/// tasks of an event loop are found.
const PYTHON_TIMEOUT: Duration = Duration::from_millis(250);
/// As much of a message to the manager as the texts of a report may take, with room for what escapes them.
const MAX_REPORT: usize = 200 * 1024;

/// Has the stacks reported as the answer to `question`.
pub(super) fn start(pool: &Arc<Pool>, question: u64) {
    let own = Arc::clone(pool);
    let report = move || {
        let stacks = stacks(&own);
        own.manager.report(&Report::Stacks { question, stacks });
    };
    let started = thread::Builder::new().name("wsgi-stacks".to_owned()).spawn(report);
    if let Err(why) = started {
        let stacks = ProcessStacks::failure(format!("cannot start a thread: {why}"));
        pool.manager.report(&Report::Stacks { question, stacks });
    }
}

/// The stacks of all threads of this process.
pub(super) fn stacks(pool: &Arc<Pool>) -> ProcessStacks {
    // What a place is in the middle of is a request's only if that has the place before and after.
    let before = places(pool);
    let (threads, is_whole) = match pool.host.stacks(sys::run_in_frozen_copy) {
        Ok(stacks) => stacks,
        Err(why) => return ProcessStacks::failure(why.to_string()),
    };
    let of_python = ask_python(pool);
    let lock_obtained = of_python.is_some();
    let OfPython { names, tasks } =
        of_python.unwrap_or(OfPython { names: Vec::new(), tasks: Vec::new() });
    let mut places = places(pool);
    places.retain(|place, (since, _)| before.get(place).is_some_and(|(then, _)| then == since));
    let tasks = tasks.into_iter().map(|task| describe_task(task, &places)).collect();
    let requests = requests(pool, places);
    let threads = threads.into_iter().map(|thread| describe(thread, &names, &requests));
    let mut stacks = ProcessStacks {
        error: None,
        incomplete: !is_whole,
        lock_obtained,
        threads: threads.collect(),
        tasks,
    };
    stacks.sanitise();
    bound(&mut stacks);
    stacks
}

/// Leaves out the last threads and tasks where a report would be longer than the manager takes.
fn bound(stacks: &mut ProcessStacks) {
    while serde_json::to_vec(&stacks).is_ok_and(|bytes| bytes.len() > MAX_REPORT) {
        stacks.incomplete = true;
        if stacks.tasks.len() > stacks.threads.len() {
            stacks.tasks.truncate(stacks.tasks.len() * 3 / 4);
        } else {
            stacks.threads.truncate(stacks.threads.len() * 3 / 4);
        }
    }
}

/// The names of threads, and tasks; `None` where the lock of an interpreter is not to be had.
fn ask_python(pool: &Arc<Pool>) -> Option<OfPython> {
    let until = Instant::now() + PYTHON_TIMEOUT;
    let mut running = pool.stacks.of_python();
    // What an earlier report has asked tells of that time: only its end is waited for, as there is one thread at most.
    if let Some(earlier) = running.take()
        && matches!(earlier.recv_timeout(PYTHON_TIMEOUT), Err(RecvTimeoutError::Timeout))
    {
        *running = Some(earlier);
        return None;
    }
    let (done, answer) = mpsc::channel();
    let own = Arc::clone(pool);
    let collect = move || {
        let names = own.host.thread_names();
        let tasks = own.host.tasks(None).unwrap_or_default();
        // The receiver is gone where a worker has ended meanwhile.
        let _ = done.send(OfPython { names, tasks });
    };
    thread::Builder::new().name("wsgi-names".to_owned()).spawn(collect).ok()?;
    match answer.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(answer) => Some(answer),
        Err(RecvTimeoutError::Timeout) => {
            *running = Some(answer);
            None
        }
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

/// The requests by the numbers of their places: since when, and the first line.
fn places(pool: &Pool) -> HashMap<usize, (u64, String)> {
    let busy = pool.record.busy_threads();
    busy.map(|(place, since, line)| (place, (since, line))).collect()
}

/// The same by the numbers in Python of the threads that serve, where a thread has a place.
fn requests(pool: &Pool, places: HashMap<usize, (u64, String)>) -> HashMap<u64, (u64, String)> {
    let serving = pool.stacks.serving();
    let of_thread = |(place, request)| Some((*serving.get::<usize>(place)?, request));
    places.into_iter().filter_map(of_thread).collect()
}

fn describe(
    thread: ThreadStack,
    names: &[ThreadName],
    requests: &HashMap<u64, (u64, String)>,
) -> ThreadReport {
    let group = thread.application_group.as_deref();
    let named = names
        .iter()
        .find(|name| name.ident == thread.ident && Some(name.application_group.as_str()) == group);
    // What `threading` calls a thread that it has not made says nothing.
    let named = named.filter(|name| !name.name.starts_with("Dummy-")).map(|it| it.name.clone());
    let name = named.or_else(|| thread.native_id.and_then(system_name));
    // A thread has states in several interpreters, and is in one of them.
    let request = requests.get(&thread.ident).filter(|_| !thread.frames.is_empty());
    ThreadReport {
        name,
        ident: thread.ident,
        native_id: thread.native_id,
        application_group: thread.application_group,
        request: request.map(|(_, line)| line.clone()),
        request_microseconds: request.map(|(since, _)| now().saturating_sub(*since)),
        frames: thread.frames.into_iter().map(describe_frame).collect(),
        frames_left_out: thread.left_out,
    }
}

fn describe_task(task: TaskStack, places: &HashMap<usize, (u64, String)>) -> TaskReport {
    let request = task.request.and_then(|place| places.get(&place));
    TaskReport {
        name: task.name,
        request: request.map(|(_, line)| line.clone()),
        request_microseconds: request.map(|(since, _)| now().saturating_sub(*since)),
        frames: task.frames.into_iter().map(describe_frame).collect(),
        frames_left_out: task.left_out,
    }
}

fn describe_frame(frame: StackFrame) -> Frame {
    Frame { function: frame.function, file: frame.file, line: frame.line }
}

/// The name of a thread of this process, as the kernel has it.
fn system_name(native_id: u64) -> Option<String> {
    let name = std::fs::read(format!("/proc/self/task/{native_id}/comm")).ok()?;
    Some(String::from_utf8_lossy(name.trim_ascii_end()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_many_tasks_are_left_out_before_any_thread() {
        let frame = Frame { file: "f".repeat(500), ..Frame::default() };
        let task = TaskReport { frames: vec![frame; 10], ..TaskReport::default() };
        let mut stacks = ProcessStacks {
            threads: vec![ThreadReport::default(); 12],
            tasks: vec![task; 100],
            ..ProcessStacks::failure("none")
        };
        bound(&mut stacks);
        assert!(stacks.incomplete && stacks.threads.len() == 12);
        assert!((20..50).contains(&stacks.tasks.len()), "{}", stacks.tasks.len());
    }
}
