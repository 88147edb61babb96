//! A worker process from its start to its end: Python on the main thread, the threads that serve, and how both
//! stop. What the main thread does meanwhile is in `supervise` and `drain`.
#![forbid(unsafe_code)]

use crate::connection_queue::ConnectionQueue;
use crate::launch::{SlotHandle, WorkerStart};
use crate::log::Log;
use crate::message::{Channel, Command, Loaded, Reason, Report};
use crate::worker::asgi;
use crate::worker::drain::{arm_shutdown_watchdog, arm_watchdog_of_failed_start, drain};
use crate::worker::error::WorkerError;
use crate::worker::interface;
use crate::worker::pool::Pool;
use crate::worker::python::{PreparedPython, Python};
use crate::worker::resource_limits;
use crate::worker::service;
use crate::worker::signal_events::SignalEventThread;
use crate::worker::stop_report::Awaited;
use crate::worker::supervise::{SIGNALS, supervise};
use crate::worker::threads::{start_periodic, start_serving};
use crate::worker::warm_up;
use group_config::GroupConfig;
use scoreboard::{Field, PythonVersion, State};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use sys::{SIGCHLD, SIGKILL, SIGTERM, SIGWINCH, SIGXFSZ, Signals};
use wsgi::Level;

/// Arenas of malloc in a process whose Python runs under one lock.
const ARENAS: i32 = 2;
/// The number of the error code of an application that has not started.
const NOT_STARTED: u64 = 225;

/// Makes this process a worker. Ends the process.
pub(crate) fn run(start: WorkerStart, python: Python) -> ! {
    // Python may be stuck in an import when the manager exits.
    sys::set_death_signal(SIGKILL);
    if std::os::unix::process::parent_id() != start.manager {
        sys::exit_now(1);
    }
    let log = start.log;
    match run_worker(start, python) {
        Ok(()) => sys::exit_now(0),
        Err(why) => {
            log.write(Level::Critical, why.to_string().as_bytes());
            sys::exit_now(1)
        }
    }
}

fn run_worker(start: WorkerStart, python: Python) -> Result<(), WorkerError> {
    start.slot.record().set(Field::Pid, std::process::id().into());
    let is_free_threaded = host::PYTHON_VERSION.ends_with('t');
    if let Some(version) = PythonVersion::parse(host::running_version(), is_free_threaded) {
        start.slot.memory.board.set_python(version);
    }
    // Applications wait for their own children.
    sys::reset_signal(SIGCHLD);
    sys::reset_signal(SIGWINCH);
    // As in any Python program: a file beyond RLIMIT_FSIZE is an OSError.
    sys::ignore_signal(SIGXFSZ);
    resource_limits::apply(&start.config.limits, &start.config.timers, &start.log);
    if start.config.is_service() {
        SIGNALS.into_iter().for_each(sys::reset_signal);
        return service::run(&start.config, &start.log, start.channel, python);
    }
    let signals = Signals::watch(&SIGNALS).map_err(WorkerError::system("watch signals"))?;
    sys::close_marked_on_fork().map_err(WorkerError::system("watch forks"))?;
    let Some(mut serving) = begin(start, python)? else { return Ok(()) };

    let pool = &serving.pool;
    pool.host.report();
    let periodic = start_periodic(pool).map_err(WorkerError::system("start a thread"))?;
    let mut signal_events = SignalEventThread::new(pool);
    let stop = supervise(pool, &signals, &mut serving.channel, &mut signal_events);
    let reason = stop.reason;
    pool.host.report_stopping(reason.event_name());
    pool.record.set_own_state(std::process::id(), State::Leaving);
    let drained = drain(pool, &signals, &mut serving.channel, serving.woken, &stop);
    let progress = arm_shutdown_watchdog(pool, reason);
    drop(periodic);
    // An event loop ends what is left by itself.
    if drained || pool.asgi.is_some() {
        // The byte and not only the end of the pipe: a process that the application has forked may hold that open.
        let _ = serving.stop.write_all(&[0]);
        drop(serving.stop);
        pool.scheduler.shut_down();
        for thread in serving.threads {
            // A panic has been logged.
            let _ = thread.join();
        }
    }
    progress.wait_for(Awaited::Events);
    signal_events.finish();
    progress.wait_for(Awaited::Python);
    pool.host.stop(reason.event_name());
    Ok(())
}

/// A worker that serves.
struct Serving {
    pool: Arc<Pool>,
    channel: Channel,
    threads: Vec<JoinHandle<()>>,
    /// Stops the threads; they wait for the other end, `_stopped`, which has to stay open.
    stop: PipeWriter,
    _stopped: PipeReader,
    /// Readable whenever draining may be over.
    woken: PipeReader,
}

/// Starts Python, loads scripts, starts the threads and begins to accept. `None` where the manager has refused a
/// worker whose scripts did not all load.
fn begin(start: WorkerStart, python: Python) -> Result<Option<Serving>, WorkerError> {
    let WorkerStart { mut config, log, slot, mut channel, sockets, queue, known, manager: _ } =
        start;
    let mut prepared = python.prepare(&config, &log)?;
    // The scripts of workers before this one come first: their callables are known. A script whose file was
    // deleted is no error.
    prepared.import(&config, known.into_iter().filter(|it| it.path.is_file()).collect());
    prepared.import(&config, named_scripts(&config));
    let settled = interface::settle(&mut config, &prepared, &log);
    settled.inspect_err(|why| give_up_start(&slot, &prepared, &config, log, why))?;
    prepared.warm_up(&config, &log);
    let PreparedPython { host, scripts, failed, .. } = prepared;

    if host.is_serial() {
        // One thread at a time allocates for Python.
        sys::limit_arenas(ARENAS);
    }
    let sender =
        channel.sender().map_err(WorkerError::system("share the channel to the manager"))?;
    let queue = queue.map(ConnectionQueue::into_worker);
    let (pool, woken) = Pool::new(config, host, log, &slot, sockets, queue, sender)
        .map_err(WorkerError::system("make the pool of threads"))?;
    let pool = Arc::new(pool);
    scripts.into_iter().for_each(|loaded| {
        pool.recycling.loaded();
        pool.note_loaded(loaded);
    });
    let (stopped, mut stop) = io::pipe().map_err(WorkerError::system("make a pipe"))?;
    let mut threads = Vec::new();
    if pool.asgi.is_some() {
        let (event_loop, has_started) = asgi::start(&pool)?;
        threads.push(event_loop);
        if !has_started {
            pool.listen_for_stop(&stopped).map_err(WorkerError::system("listen"))?;
            refuse_to_serve(&pool, stop, threads);
            return Err(WorkerError::NotStarted);
        }
    }
    if failed {
        pool.manager.report(&Report::Ready { failed });
        if let Some(reason) = wait_for_go_ahead(&mut channel) {
            pool.listen_for_stop(&stopped).map_err(WorkerError::system("listen"))?;
            let _ = stop.write_all(&[0]);
            threads.into_iter().for_each(|thread| drop(thread.join()));
            pool.host.stop(reason.event_name());
            return Ok(None);
        }
    }
    if pool.asgi.is_none() {
        threads = start_serving(&pool).map_err(WorkerError::system("start a thread"))?;
    }
    // Before a request can come: a manager kills a worker that it takes for one that still starts.
    sys::set_death_signal(SIGTERM);
    pool.record.set_own_state(std::process::id(), State::Ready);
    if !failed {
        pool.manager.report(&Report::Ready { failed });
    }
    pool.listen(&stopped).map_err(WorkerError::system("listen"))?;
    Ok(Some(Serving { pool, channel, threads, stop, _stopped: stopped, woken }))
}

/// Stops Python in a worker whose applications cannot be served. As with an application that does not start, the manager
/// starts another worker after a pause, and keeps a worker that this one was to replace.
fn give_up_start(
    slot: &SlotHandle,
    prepared: &PreparedPython,
    config: &GroupConfig,
    log: Log,
    why: &WorkerError,
) {
    let code =
        if let WorkerError::NoInterface(code) = why { u64::from(*code) } else { NOT_STARTED };
    slot.record().set(Field::Unstarted, code);
    arm_watchdog_of_failed_start(config, log);
    prepared.host.stop(Reason::StartupTimeout.event_name());
}

/// Stops what has started of a worker one of whose applications has not: no request comes before that. The manager starts
/// another worker after a pause, and keeps a worker that this one was to replace.
fn refuse_to_serve(pool: &Arc<Pool>, mut stop: PipeWriter, threads: Vec<JoinHandle<()>>) {
    let reason = Reason::StartupTimeout;
    pool.record.set(Field::Unstarted, NOT_STARTED);
    arm_watchdog_of_failed_start(&pool.config, pool.log);
    let _ = stop.write_all(&[0]);
    // A panic has been logged.
    threads.into_iter().for_each(|thread| drop(thread.join()));
    pool.host.stop(reason.event_name());
}

/// Waits for the manager's decision about a worker whose scripts did not all load: the reason to stop, if it is to.
fn wait_for_go_ahead(channel: &mut Channel) -> Option<Reason> {
    loop {
        sys::wait_readable(&[channel.as_fd()], None);
        let Ok(commands) = channel.receive::<Command>() else { return Some(Reason::Signal) };
        let mut may_serve = false;
        for command in commands {
            match command {
                Command::Finish { reason, .. } => return Some(reason),
                Command::Serve => may_serve = true,
                Command::KeepCode { .. }
                | Command::Output
                | Command::Stacks { .. }
                | Command::Fork { .. } => {}
            }
        }
        if may_serve {
            return None;
        }
    }
}

/// The scripts that the configuration has every worker load.
fn named_scripts(config: &GroupConfig) -> Vec<Loaded> {
    let imports = config
        .import_scripts
        .iter()
        .map(|it| (it.path.clone(), it.application_group.clone(), it.callable.clone()));
    let fixed = config.application.iter().map(|application| {
        (application.script.clone(), String::new(), Some(application.callable.clone()))
    });
    let loaded = |(path, application_group, callable)| Loaded {
        path,
        application_group,
        modified: None,
        callable,
    };
    let warm_up = config.warm_up.iter().map(warm_up::script);
    imports.chain(fixed).map(loaded).chain(warm_up).collect()
}
