//! A worker process: Python on the main thread, others that serve, and how both end.
#![forbid(unsafe_code)]

use crate::config::GroupConfig;
use crate::identity;
use crate::log::Log;
use crate::message::{Channel, Loaded, Order, Reason, Report};
use crate::pool::Pool;
use crate::posix::{
    self, SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGXCPU, Signals,
};
use crate::signal_teller::SignalTeller;
use crate::target::modified;
use host::{Host, ScriptFile, Target};
use scoreboard::{Field, Record, State, now};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use wsgi::Level;

/// What a worker starts with.
pub(crate) struct Seat {
    pub(crate) config: GroupConfig,
    pub(crate) log: Log,
    pub(crate) record: Record<'static>,
    pub(crate) channel: Channel,
    pub(crate) sockets: Vec<OwnedFd>,
    /// Scripts its predecessors had loaded.
    pub(crate) warm_up: Vec<Loaded>,
    /// The manager's pid.
    pub(crate) manager: u32,
}

const SIGNALS: [i32; 6] = [SIGTERM, SIGINT, SIGUSR1, SIGXCPU, SIGHUP, SIGUSR2];
/// How often limits on time are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often connections are looked at while draining.
const SWEEP: Duration = Duration::from_millis(100);

/// Lives a worker's life in this process.
pub(crate) fn run(seat: Seat) -> ! {
    // Python may be stuck in an import when the manager dies.
    posix::die_with_parent(SIGKILL);
    if std::os::unix::process::parent_id() != seat.manager {
        posix::exit_now(1);
    }
    let log = seat.log.clone();
    match live(seat) {
        Ok(()) => posix::exit_now(0),
        Err(why) => {
            log.write(Level::Critical, why.as_bytes());
            posix::exit_now(1)
        }
    }
}

fn live(seat: Seat) -> Result<(), String> {
    let Seat { config, log, record, mut channel, sockets, warm_up, manager: _ } = seat;
    record.set(Field::Pid, std::process::id().into());
    let failed = |what: &'static str| move |why: io::Error| format!("cannot {what}: {why}");
    let signals = Signals::watch(&SIGNALS).map_err(failed("watch signals"))?;
    // Applications wait for their own children.
    posix::unwatch(SIGCHLD);
    posix::unwatch(SIGWINCH);
    identity::limit(&config.limits, &config.timers, &log);
    let host = Host::start(config.host_options(), Arc::new(log.clone()))
        .map_err(|why| format!("WSGI0036: Python cannot be started in this process: {why}"))?;
    log.forget_failures();
    let scripts = import_all(&host, &config, warm_up);
    let imports_failed = log.has_failures();

    let listeners = sockets.into_iter().map(UnixListener::from).collect();
    let sender = channel.sender().map_err(failed("share the channel to the manager"))?;
    let (pool, nudged) = Pool::new(config, host, log, record, listeners, sender)
        .map_err(failed("make the pool of threads"))?;
    let pool = Arc::new(pool);
    if !imports_failed {
        scripts.into_iter().for_each(|loaded| {
            pool.recycling.loaded();
            pool.note_loaded(loaded);
        });
    }
    let (stop, go_on) = io::pipe().map_err(failed("make a pipe"))?;
    let threads = start_threads(&pool).map_err(failed("start a thread"))?;
    pool.listen(&stop).map_err(failed("listen"))?;
    pool.record.set_own_state(std::process::id(), State::Ready);
    pool.tell(&Report::Ready { failed: imports_failed });
    posix::die_with_parent(SIGTERM);

    let mut teller = SignalTeller::new(&pool);
    let (seconds, reason) = watch(&pool, &signals, &mut channel, &mut teller);
    pool.record.set_own_state(std::process::id(), State::Leaving);
    let drained = drain(&pool, &signals, &mut channel, nudged, seconds);
    fear(&pool);
    if drained {
        drop(go_on);
        for thread in threads {
            // Its panic has been told.
            let _ = thread.join();
        }
    }
    teller.finish();
    pool.host.stop(reason.word());
    Ok(())
}

/// Loads what the configuration and the predecessors say; gives what was loaded.
fn import_all(host: &Host, config: &GroupConfig, warm_up: Vec<Loaded>) -> Vec<Loaded> {
    let imports =
        config.import_scripts.iter().map(|script| (&script.path, &script.application_group));
    let none = String::new();
    let fixed = config.application.iter().map(|application| (&application.script, &none));
    let mut scripts: Vec<_> = imports
        .chain(fixed)
        .map(|(path, group)| Loaded {
            path: path.clone(),
            application_group: group.clone(),
            modified: None,
        })
        .collect();
    for loaded in warm_up {
        let same = |other: &Loaded| {
            other.path == loaded.path && other.application_group == loaded.application_group
        };
        // Nobody has to hear of a script that was deleted.
        if loaded.path.is_file() && !scripts.iter().any(same) {
            scripts.push(loaded);
        }
    }
    for script in &mut scripts {
        script.modified = modified(&script.path);
        host.preload(&Target {
            script: ScriptFile {
                path: script.path.as_os_str().as_bytes(),
                modified: script.modified,
                reloading: false,
                case_sensitive: config.python.case_sensitive,
            },
            callable: b"application",
            application_group: script.application_group.as_bytes(),
            main_interpreter: config.main_interpreter(),
        });
    }
    scripts
}

fn start_threads(pool: &Arc<Pool>) -> io::Result<Vec<JoinHandle<()>>> {
    let start = |number: u32| {
        let pool = Arc::clone(pool);
        let mut builder = thread::Builder::new().name(format!("wsgi-{number}"));
        if let Some(bytes) = pool.config.limits.stack_size {
            builder = builder.stack_size(bytes);
        }
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
    (0..pool.config.threads).map(start).collect()
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
        if tick.is_some()
            && let Some((reason, detail)) = pool.recycling.by_the_clock(&pool.record)
        {
            pool.retire(reason, detail);
        }
    }
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
                    for Order::Finish { seconds, .. } in orders {
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
fn fear(pool: &Arc<Pool>) {
    let Some(seconds) = pool.config.timers.shutdown_timeout.filter(|seconds| *seconds > 0.0) else {
        return;
    };
    let log = pool.log.clone();
    let record = pool.record;
    let end = move || {
        thread::sleep(Duration::from_secs_f64(seconds));
        let age = now().saturating_sub(record.get(Field::Started)) / 1_000_000;
        let line =
            format!("this worker ({age} s old) did not stop within shutdown-timeout; it is ended");
        log.write(Level::Warning, line.as_bytes());
        posix::exit_now(1);
    };
    // Without it only the manager's SIGKILL is left.
    let _ = thread::Builder::new().name("wsgi-reaper".to_owned()).spawn(end);
}
