//! What the threads of this worker do, for the manager: on a thread of its own, which needs no lock of Python's.
#![forbid(unsafe_code)]

use crate::message::Report;
use crate::process_stacks::{Frame, ProcessStacks, ThreadReport};
use crate::worker::pool::Pool;
use host::{ThreadName, ThreadStack};
use scoreboard::now;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long the locks of the interpreters are waited for, so that threads have the names that applications gave them.
const NAMES_TIMEOUT: Duration = Duration::from_millis(250);
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
    let (threads, is_whole) = match pool.host.stacks(sys::run_in_frozen_copy) {
        Ok(stacks) => stacks,
        Err(why) => return ProcessStacks::failure(why.to_string()),
    };
    let names = thread_names(pool);
    let lock_obtained = names.is_some();
    let names = names.unwrap_or_default();
    let requests = requests(pool);
    let threads = threads.into_iter().map(|thread| describe(thread, &names, &requests));
    let mut stacks = ProcessStacks {
        error: None,
        incomplete: !is_whole,
        lock_obtained,
        threads: threads.collect(),
    };
    stacks.sanitise();
    bound(&mut stacks);
    stacks
}

/// Leaves out the last threads where a report would be longer than the manager takes.
fn bound(stacks: &mut ProcessStacks) {
    while serde_json::to_vec(&stacks).is_ok_and(|bytes| bytes.len() > MAX_REPORT) {
        stacks.incomplete = true;
        stacks.threads.truncate(stacks.threads.len() * 3 / 4);
    }
}

/// The names of threads; `None` where the lock of an interpreter is not to be had.
fn thread_names(pool: &Arc<Pool>) -> Option<Vec<ThreadName>> {
    let mut running = pool.stacks.names();
    if running.is_none() {
        let (done, names) = mpsc::channel();
        let own = Arc::clone(pool);
        // The receiver is gone where a worker has ended meanwhile.
        let collect = move || drop(done.send(own.host.thread_names()));
        thread::Builder::new().name("wsgi-names".to_owned()).spawn(collect).ok()?;
        *running = Some(names);
    }
    match running.as_ref()?.recv_timeout(NAMES_TIMEOUT) {
        Ok(names) => {
            *running = None;
            Some(names)
        }
        // The next report goes on waiting for the same thread.
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => {
            *running = None;
            None
        }
    }
}

/// The requests of threads, by their numbers in Python: since when, and the first line.
fn requests(pool: &Pool) -> HashMap<u64, (u64, String)> {
    let serving = pool.stacks.serving();
    let busy = pool.record.busy_threads();
    busy.filter_map(|(thread, since, line)| Some((*serving.get(thread)?, (since, line)))).collect()
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
        frames: thread
            .frames
            .into_iter()
            .map(|frame| Frame { function: frame.function, file: frame.file, line: frame.line })
            .collect(),
        frames_left_out: thread.left_out,
    }
}

/// The name of a thread of this process, as the kernel has it.
fn system_name(native_id: u64) -> Option<String> {
    let name = std::fs::read(format!("/proc/self/task/{native_id}/comm")).ok()?;
    Some(String::from_utf8_lossy(name.trim_ascii_end()).into_owned())
}
