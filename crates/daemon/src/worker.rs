//! A worker process: Python on the main thread, others that serve, and how both end.
#![forbid(unsafe_code)]

use crate::companion::Companion;
use crate::config::{GroupConfig, WarmUp};
use crate::forks;
use crate::identity;
use crate::log::Log;
use crate::message::{Channel, Loaded, Order, Reason, Report};
use crate::pool::Pool;
use crate::posix::{
    self, SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGXCPU, Signals,
};
use crate::reloader::Reloader;
use crate::seat::Seat;
use crate::service;
use crate::signal_teller::SignalTeller;
use crate::target::modified;
use host::{Host, ScriptFile, Target};
use scoreboard::{Field, State, now};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use wsgi::Level;

const SIGNALS: [i32; 6] = [SIGTERM, SIGINT, SIGUSR1, SIGXCPU, SIGHUP, SIGUSR2];
/// How often limits on time are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often connections are looked at while draining.
const SWEEP: Duration = Duration::from_millis(100);

/// Python that has been started, and the scripts it has loaded.
pub(crate) struct Prepared {
    pub(crate) host: Host,
    scripts: Vec<Loaded>,
    failed: bool,
    warm: bool,
}

impl Prepared {
    /// Starts Python in this process.
    pub(crate) fn start(config: &GroupConfig, log: &Log) -> Result<Self, String> {
        let host = Host::start(config.host_options(), Arc::new(*log))
            .map_err(|why| format!("WSGI0036: Python cannot be started in this process: {why}"))?;
        Ok(Self { host, scripts: Vec::new(), failed: false, warm: false })
    }

    /// Whether a script did not load.
    pub(crate) const fn failed(&self) -> bool {
        self.failed
    }

    /// Has the application answer the request of `warm-up=`, once, if all scripts have loaded.
    pub(crate) fn warm_up(&mut self, config: &GroupConfig, log: &Log) {
        if self.warm || self.failed {
            return;
        }
        self.warm = true;
        if let Some(request) = &config.warm_up {
            request.run(&self.host, *log, config);
        }
    }

    /// Loads what the configuration and `scripts` say, and is not loaded already.
    pub(crate) fn import(&mut self, config: &GroupConfig, scripts: Vec<Loaded>) {
        for mut script in scripts {
            let same = |other: &Loaded| {
                other.path == script.path && other.application_group == script.application_group
            };
            if self.scripts.iter().any(same) {
                continue;
            }
            let now = modified(&script.path);
            // It is no fault of newer code if what has not changed does not load any more.
            let same = script.modified.is_some() && script.modified == now;
            script.modified = now;
            let loaded = self.host.preload(&Target {
                script: ScriptFile {
                    path: script.path.as_os_str().as_bytes(),
                    modified: script.modified,
                    reloading: false,
                    case_sensitive: config.python.case_sensitive,
                },
                callable: script.callable.as_deref().unwrap_or_default().as_bytes(),
                application_group: script.application_group.as_bytes(),
                main_interpreter: config.main_interpreter(),
            });
            self.failed |= !loaded && !same;
            if loaded {
                self.scripts.push(script);
            }
        }
    }
}

/// Lives a worker's life in this process, with Python `prepared` or still to be started.
pub(crate) fn run(seat: Seat, prepared: Option<Prepared>) -> ! {
    // Python may be stuck in an import when the manager dies.
    posix::die_with_parent(SIGKILL);
    if std::os::unix::process::parent_id() != seat.manager {
        posix::exit_now(1);
    }
    let log = seat.log;
    match live(seat, prepared) {
        Ok(()) => posix::exit_now(0),
        Err(why) => {
            log.write(Level::Critical, why.as_bytes());
            posix::exit_now(1)
        }
    }
}

fn live(seat: Seat, prepared: Option<Prepared>) -> Result<(), String> {
    let Seat { config, log, place, mut channel, sockets, known, manager: _ } = seat;
    let record = place.record();
    record.set(Field::Pid, std::process::id().into());
    let failed = |what: &'static str| move |why: io::Error| format!("cannot {what}: {why}");
    // Applications wait for their own children.
    posix::unwatch(SIGCHLD);
    posix::unwatch(SIGWINCH);
    identity::limit(&config.limits, &config.timers, &log);
    if config.is_service() {
        SIGNALS.into_iter().for_each(posix::unwatch);
        return service::run(&config, &log, channel);
    }
    let signals = Signals::watch(&SIGNALS).map_err(failed("watch signals"))?;
    forks::watch().map_err(failed("watch forks"))?;
    let mut prepared = match prepared {
        Some(prepared) => prepared,
        None => Prepared::start(&config, &log)?,
    };
    // Predecessors' first: of them it is known what requests call in them. Nobody has to hear of one that
    // was deleted.
    prepared.import(&config, known.into_iter().filter(|it| it.path.is_file()).collect());
    prepared.import(&config, named_scripts(&config));
    prepared.warm_up(&config, &log);
    let Prepared { host, scripts, failed: imports_failed, warm: _ } = prepared;

    let listeners = sockets.into_iter().map(UnixListener::from).collect();
    let sender = channel.sender().map_err(failed("share the channel to the manager"))?;
    let (pool, nudged) = Pool::new(config, host, log, record, listeners, sender)
        .map_err(failed("make the pool of threads"))?;
    let pool = Arc::new(pool);
    scripts.into_iter().for_each(|loaded| {
        pool.recycling.loaded();
        pool.note_loaded(loaded);
    });
    if imports_failed {
        pool.tell(&Report::Ready { failed: true });
        if let Some(reason) = refused(&mut channel) {
            pool.host.stop(reason.word());
            return Ok(());
        }
    }
    let (stop, mut go_on) = io::pipe().map_err(failed("make a pipe"))?;
    let threads = start_threads(&pool).map_err(failed("start a thread"))?;
    pool.listen(&stop).map_err(failed("listen"))?;
    pool.record.set_own_state(std::process::id(), State::Ready);
    if !imports_failed {
        pool.tell(&Report::Ready { failed: false });
    }
    posix::die_with_parent(SIGTERM);

    pool.host.report();
    let companions = companions(&pool).map_err(failed("start a thread"))?;
    let mut teller = SignalTeller::new(&pool);
    let (seconds, reason) = watch(&pool, &signals, &mut channel, &mut teller);
    pool.host.report_stopping(reason.word());
    pool.record.set_own_state(std::process::id(), State::Leaving);
    let drained = drain(&pool, &signals, &mut channel, nudged, seconds);
    fear(&pool, reason);
    drop(companions);
    if drained {
        // Its end alone would not show as long as a process that the application has forked has it too.
        let _ = go_on.write_all(&[0]);
        drop(go_on);
        pool.crew.dismiss();
        for thread in threads {
            // Its panic has been told.
            let _ = thread.join();
        }
    }
    teller.finish();
    pool.host.stop(reason.word());
    Ok(())
}

/// Waits for the manager's word on a worker whose scripts did not all load: why it is to leave, if it is.
fn refused(channel: &mut Channel) -> Option<Reason> {
    loop {
        posix::wait_readable(&[channel.as_fd()], None);
        let Ok(orders) = channel.receive::<Order>() else { return Some(Reason::Signal) };
        let mut admitted = false;
        for order in orders {
            match order {
                Order::Finish { reason, .. } => return Some(reason),
                Order::Serve => admitted = true,
                Order::Fork { .. } => {}
            }
        }
        if admitted {
            return None;
        }
    }
}

/// What the configuration has every worker load.
fn named_scripts(config: &GroupConfig) -> Vec<Loaded> {
    let imports = config
        .import_scripts
        .iter()
        .map(|script| (script.path.clone(), script.application_group.clone(), None));
    let fixed = config.application.iter().map(|application| {
        (application.script.clone(), String::new(), Some(application.callable.clone()))
    });
    let loaded = |(path, application_group, callable)| Loaded {
        path,
        application_group,
        modified: None,
        callable,
    };
    let warm_up = config.warm_up.iter().map(WarmUp::script);
    imports.chain(fixed).map(loaded).chain(warm_up).collect()
}

/// The threads that watch Python, where the configuration wants them.
fn companions(pool: &Arc<Pool>) -> io::Result<Vec<Companion>> {
    let mut companions = Vec::new();
    if let Some(tick) = pool.deadlock_tick() {
        let watched = Arc::clone(pool);
        companions.push(Companion::start("wsgi-watchdog", tick, move || watched.take_turn())?);
    }
    if let Some(limit) = pool.recycling.request_limit()
        && pool.config.timers.is_interrupting()
        && let Ok(limit) = Duration::try_from_secs_f64(limit)
    {
        let tick = (limit / 10).clamp(Duration::from_millis(50), TICK);
        let watched = Arc::clone(pool);
        let act = move || watched.host.interrupt_requests(limit);
        companions.push(Companion::start("wsgi-interrupter", tick, act)?);
    }
    if pool.config.reload {
        let watched = Arc::clone(pool);
        let mut reloader = Reloader::default();
        let act = move || {
            for changed in reloader.look(watched.host.module_files()) {
                watched.tell(&Report::Stale(changed));
            }
        };
        companions.push(Companion::start("wsgi-reloader", TICK, act)?);
    }
    Ok(companions)
}

fn start_threads(pool: &Arc<Pool>) -> io::Result<Vec<JoinHandle<()>>> {
    let start = |number: u32| {
        let pool = Arc::clone(pool);
        // As C programs have it; Rust's own default is a quarter of that, too little for deep recursions.
        let stack = pool.config.limits.stack_size.unwrap_or_else(posix::stack_size);
        let builder = thread::Builder::new().name(format!("wsgi-{number}")).stack_size(stack);
        let work = move || {
            // The one place under a thread that contains a panic.
            #[allow(clippy::disallowed_methods, reason = "see clippy.toml")]
            while std::panic::catch_unwind(AssertUnwindSafe(|| pool.serve(number as usize)))
                .is_err()
            {
                pool.log.write(Level::Critical, b"a panic ended a request; the thread goes on");
            }
        };
        builder.spawn(work)
    };
    let mut threads = (0..pool.config.threads).map(start).collect::<io::Result<Vec<_>>>()?;
    if pool.crew.wants_foreman() {
        let pool = Arc::clone(pool);
        let foreman = thread::Builder::new().name("wsgi-foreman".to_owned());
        threads.push(foreman.spawn(move || pool.crew.oversee())?);
    }
    Ok(threads)
}

/// Waits until this worker is to leave; for how long it may go on with what it has, and why it leaves.
fn watch(
    pool: &Pool,
    signals: &Signals,
    channel: &mut Channel,
    teller: &mut SignalTeller,
) -> (f64, Reason) {
    let timers = &pool.config.timers;
    let ticks = [
        timers.request_timeout,
        timers.inactivity_timeout,
        timers.restart_interval,
        timers.startup_timeout,
    ];
    let tick = ticks.iter().flatten().any(|seconds| *seconds > 0.0).then_some(TICK);
    let tick = tick.into_iter().chain(pool.deadlock_tick()).min();
    loop {
        let ready = posix::wait_readable(&[signals.as_fd(), channel.as_fd()], tick);
        for signal in signals.take(&SIGNALS) {
            let (reason, detail) = match signal {
                SIGHUP | SIGUSR2 => {
                    teller.tell(signal);
                    continue;
                }
                SIGUSR1 => (Reason::Eviction, "it got SIGUSR1"),
                SIGXCPU => (Reason::CpuTimeLimit, "it has used its cpu-time-limit"),
                SIGINT => (Reason::Signal, "it got SIGINT"),
                _ => (Reason::Signal, "it got SIGTERM"),
            };
            pool.retire(reason, detail.to_owned());
        }
        if ready.get(1) == Some(&true) {
            match channel.receive() {
                Ok(orders) => {
                    if let Some(Order::Finish { seconds, reason }) = orders.into_iter().next() {
                        return (seconds, reason);
                    }
                }
                Err(_) => {
                    pool.log.write(Level::Notice, b"the manager is gone; this worker leaves");
                    return (timers.graceful_timeout, Reason::Signal);
                }
            }
        }
        if pool.is_deadlocked() {
            end_deadlocked(pool);
        }
        if tick.is_some()
            && let Some((reason, detail)) = pool.recycling.by_the_clock(&pool.record)
        {
            pool.retire(reason, detail);
        }
    }
}

/// Nothing of Python can be waited for any more. The manager starts another worker, and requests of which
/// nothing has been answered can be sent there.
fn end_deadlocked(pool: &Pool) -> ! {
    let limit = pool.deadlock_timeout().unwrap_or_default();
    let requests: Vec<_> = pool.record.requests().into_iter().map(|(_, line)| line).collect();
    let serving = match requests.as_slice() {
        [] => String::new(),
        lines => format!("; it serves {}", lines.join(", ")),
    };
    let line = format!(
        "no thread of this worker gets Python's lock, and has not for {limit} s (deadlock-timeout); it is \
         ended{serving}"
    );
    pool.log.write(Level::Error, line.as_bytes());
    posix::exit_now(1)
}

/// Accepts no more and waits for what is being served; whether all of it has been.
fn drain(
    pool: &Pool,
    signals: &Signals,
    channel: &mut Channel,
    mut nudged: io::PipeReader,
    seconds: f64,
) -> bool {
    pool.drain();
    let mut deadline = Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 1e9));
    let mut has_manager = true;
    while !pool.is_drained() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || pool.recycling.is_stuck(&pool.record) {
            let line = match pool.record.requests().first() {
                Some((_, line)) => format!("leaving although {line} is still being served"),
                None => "leaving although a connection is open".to_owned(),
            };
            pool.log.write(Level::Warning, line.as_bytes());
            let (status, why) = if left.is_zero() {
                (503, "the worker had to leave before it was served")
            } else {
                (504, "it took longer than request-timeout; its worker leaves")
            };
            pool.give_up(status, why);
            return false;
        }
        let step = left.min(SWEEP);
        let mut places = vec![nudged.as_fd(), signals.as_fd()];
        places.extend(has_manager.then(|| channel.as_fd()));
        let ready = posix::wait_readable(&places, Some(step));
        signals.take(&SIGNALS);
        pool.drain();
        if ready.first() == Some(&true) {
            // A byte is a nudge; how many does not matter.
            let _ = nudged.read(&mut [0; 64]);
        }
        if ready.get(2) == Some(&true) {
            match channel.receive() {
                Ok(orders) => {
                    for order in orders {
                        let Order::Finish { seconds, .. } = order else { continue };
                        let sooner =
                            Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 1e9));
                        deadline = deadline.min(sooner);
                    }
                }
                Err(_) => has_manager = false,
            }
        }
    }
    true
}

/// From here on this process has shutdown-timeout to be gone, whatever Python does.
fn fear(pool: &Arc<Pool>, reason: Reason) {
    let Some(seconds) = pool.config.timers.shutdown_timeout.filter(|seconds| *seconds > 0.0) else {
        return;
    };
    let log = pool.log;
    let record = pool.record;
    let doomed = Arc::clone(pool);
    let end = move || {
        thread::sleep(Duration::from_secs_f64(seconds));
        let age = now().saturating_sub(record.get(Field::Started)) / 1_000_000;
        let line =
            format!("this worker ({age} s old) did not stop within shutdown-timeout; it is ended");
        log.write(Level::Warning, line.as_bytes());
        doomed.host.report_end(reason.word());
        posix::exit_now(1);
    };
    // Without it only the manager's SIGKILL is left.
    let _ = thread::Builder::new().name("wsgi-reaper".to_owned()).spawn(end);
}
