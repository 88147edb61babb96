//! A worker process: Python on the main thread, others that serve, and how both end.
#![forbid(unsafe_code)]

use crate::config::{GroupConfig, WarmUp};
use crate::launch::Seat;
use crate::message::{Channel, Loaded, Order, Reason, Report};
use crate::posix::{self, SIGCHLD, SIGKILL, SIGTERM, SIGWINCH, Signals};
use crate::worker::drain::{drain, fear};
use crate::worker::forks;
use crate::worker::pool::Pool;
use crate::worker::python::Prepared;
use crate::worker::resource_limits;
use crate::worker::service;
use crate::worker::signal_events::SignalTeller;
use crate::worker::supervise::{SIGNALS, watch};
use crate::worker::threads::{companions, start_threads};
use scoreboard::{Field, State};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use wsgi::Level;

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
    resource_limits::limit(&config.limits, &config.timers, &log);
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
