//! `preload=On`: a process that has imported the applications and serves no requests. Workers are forked from
//! it, and share its memory. Only the main interpreter survives a fork, so only what belongs there is
//! imported; a worker loads the rest itself.
#![forbid(unsafe_code)]

use crate::launch::{SlotHandle, TemplateStart, WorkerStart};
use crate::message::{Channel, Command, Loaded, Report};
use crate::worker::error::WorkerError;
use crate::worker::life_cycle;
use crate::worker::python::{PreparedPython, Python};
use crate::worker::warm_up;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use sys::{SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGXFSZ};
use wsgi::Level;

/// How long a new worker waits until the manager is its parent.
const REPARENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes this process a template. Ends the process, and, as a worker, each process that is forked from it.
pub(crate) fn run(mut start: TemplateStart, python: Python) -> ! {
    sys::set_death_signal(SIGKILL);
    if std::os::unix::process::parent_id() != start.manager {
        sys::exit_now(1);
    }
    [SIGTERM, SIGINT, SIGUSR1, SIGWINCH, SIGCHLD].into_iter().for_each(sys::reset_signal);
    sys::ignore_signal(SIGXFSZ);
    // What the manager ignores would be ignored in every program that an import starts.
    [SIGHUP, SIGUSR2].into_iter().for_each(sys::disregard_signal);
    let prepared = match prepare(&start, python) {
        Ok(prepared) => prepared,
        Err(why) => {
            start.log.write(Level::Critical, why.to_string().as_bytes());
            sys::exit_now(1)
        }
    };
    if start.channel.send(&Report::Ready { failed: prepared.failed }).is_err() {
        sys::exit_now(0);
    }
    loop {
        sys::wait_readable(&[start.channel.as_fd()], None);
        // The manager ends a template by closing the channel.
        let Ok((commands, file)) = start.channel.receive_with_file::<Command>() else {
            sys::exit_now(0)
        };
        let (Some(Command::Fork { slot, generation }), Some(file)) =
            (commands.into_iter().next(), file)
        else {
            continue;
        };
        match prepared.host.fork(sys::fork_reparented) {
            Ok(Some(pid)) => {
                if start.channel.send(&Report::Forked { pid }).is_err() {
                    sys::exit_now(0);
                }
            }
            Ok(None) => become_worker(start, prepared, slot, generation, file),
            Err(why) => {
                let line = format!("cannot fork a worker: {why}");
                start.log.write(Level::Error, line.as_bytes());
                sys::exit_now(1);
            }
        }
    }
}

fn prepare(start: &TemplateStart, python: Python) -> Result<PreparedPython, WorkerError> {
    let config = &start.config;
    let mut prepared = python.prepare(config, &start.log)?;
    let named = config.preload_scripts.iter().chain(&config.import_scripts);
    let named = named.map(|script| Loaded {
        path: script.path.clone(),
        application_group: script.application_group.clone(),
        modified: None,
        callable: None,
    });
    // A script whose file was deleted is no error.
    let loaded = start.scripts.iter().filter(|script| script.path.is_file()).cloned();
    let warm_up = config.warm_up.iter().map(warm_up::script);
    let all: Vec<Loaded> = loaded.chain(named).chain(warm_up).collect();
    let survives = |group: &str| config.main_interpreter() || group.is_empty();
    let (here, later): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|script| survives(&script.application_group));
    for script in later {
        let line = format!(
            "preload: {} belongs to application group '{}', which is a sub-interpreter and cannot be \
             forked; each worker loads it itself",
            script.path.display(),
            script.application_group
        );
        start.log.write(Level::Info, line.as_bytes());
    }
    prepared.import(config, here);
    // With the first request the thread starts that looks for slow requests, and no thread survives a fork.
    if config.warm_up.as_ref().is_some_and(|it| survives(&it.application_group))
        && config.python.slow_requests.is_none()
    {
        prepared.warm_up(config, &start.log);
    }
    prepared.host.freeze();
    let threads = prepared.host.python_threads();
    if threads > 1 {
        let line = format!(
            "preload: importing has started {} threads, which workers will not have",
            threads - 1
        );
        start.log.write(Level::Warning, line.as_bytes());
    }
    Ok(prepared)
}

fn become_worker(
    start: TemplateStart,
    prepared: PreparedPython,
    slot: usize,
    generation: u64,
    channel: OwnedFd,
) -> ! {
    drop(start.channel);
    let mut channel = Channel::from_socket(channel);
    if start.config.log_records && !take_output(&mut channel) {
        sys::exit_now(1);
    }
    // The process between the template and this one has to exit first.
    let deadline = Instant::now() + REPARENT_TIMEOUT;
    while std::os::unix::process::parent_id() != start.manager {
        if Instant::now() > deadline {
            sys::exit_now(1);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let own = start.sockets.into_iter().nth(slot).flatten();
    life_cycle::run(
        WorkerStart {
            slot: SlotHandle { memory: start.memory, slot, generation },
            config: start.config,
            log: start.log,
            channel,
            sockets: own.into_iter().chain(start.shared).collect(),
            queue: start.queue,
            known: start.scripts,
            manager: start.manager,
        },
        Python::Prepared(Box::new(prepared)),
    )
}

/// Takes the worker's own pipe, which the manager has sent before it had the worker forked, in place of the template's;
/// whether it came.
fn take_output(channel: &mut Channel) -> bool {
    sys::wait_readable(&[channel.as_fd()], Some(REPARENT_TIMEOUT));
    let Ok((commands, Some(pipe))) = channel.receive_with_file::<Command>() else { return false };
    matches!(commands.first(), Some(Command::Output))
        && sys::replace_standard_output(pipe.as_fd()).is_ok()
}
