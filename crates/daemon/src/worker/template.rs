//! `preload=On`: a process that has imported the applications and serves nobody. Workers are forked from
//! it, and share its memory. Only the main interpreter survives a fork, so only what belongs there is
//! imported; a worker loads the rest itself.
#![forbid(unsafe_code)]

use crate::config::WarmUp;
use crate::launch::{Place, Seat, TemplateSeat};
use crate::message::{Channel, Loaded, Order, Report};
use crate::posix::{self, SIGCHLD, SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGWINCH};
use crate::worker::life_cycle;
use crate::worker::python::Prepared;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use wsgi::Level;

/// How long a new worker waits to become the manager's child.
const ADOPTION: Duration = Duration::from_secs(2);

/// Lives a template's life in this process; or a worker's, in one forked from it.
pub(crate) fn run(mut seat: TemplateSeat) -> ! {
    posix::die_with_parent(SIGKILL);
    if std::os::unix::process::parent_id() != seat.manager {
        posix::exit_now(1);
    }
    [SIGTERM, SIGINT, SIGUSR1, SIGWINCH, SIGCHLD].into_iter().for_each(posix::unwatch);
    let prepared = match prepare(&seat) {
        Ok(prepared) => prepared,
        Err(why) => {
            seat.log.write(Level::Critical, why.as_bytes());
            posix::exit_now(1)
        }
    };
    if seat.channel.send(&Report::Ready { failed: prepared.failed() }).is_err() {
        posix::exit_now(0);
    }
    loop {
        posix::wait_readable(&[seat.channel.as_fd()], None);
        // The end of the channel is the end of the template.
        let Ok((orders, file)) = seat.channel.receive_with_file::<Order>() else {
            posix::exit_now(0)
        };
        let (Some(Order::Fork { slot, generation }), Some(file)) =
            (orders.into_iter().next(), file)
        else {
            continue;
        };
        match prepared.host.fork(posix::fork_away) {
            Ok(Some(pid)) => {
                if seat.channel.send(&Report::Forked { pid }).is_err() {
                    posix::exit_now(0);
                }
            }
            Ok(None) => become_worker(seat, prepared, slot, generation, file),
            Err(why) => {
                let line = format!("cannot fork a worker: {why}");
                seat.log.write(Level::Error, line.as_bytes());
                posix::exit_now(1);
            }
        }
    }
}

fn prepare(seat: &TemplateSeat) -> Result<Prepared, String> {
    let config = &seat.config;
    let mut prepared = Prepared::start(config, &seat.log)?;
    let named = config.preload_scripts.iter().chain(&config.import_scripts);
    let named = named.map(|script| Loaded {
        path: script.path.clone(),
        application_group: script.application_group.clone(),
        modified: None,
        callable: None,
    });
    // Nobody has to hear of a script that was deleted.
    let loaded = seat.scripts.iter().filter(|script| script.path.is_file()).cloned();
    let warm_up = config.warm_up.iter().map(WarmUp::script);
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
        seat.log.write(Level::Info, line.as_bytes());
    }
    prepared.import(config, here);
    // A thread that looks for slow requests would begin with it, and not survive.
    if config.warm_up.as_ref().is_some_and(|it| survives(&it.application_group))
        && config.python.slow_requests.is_none()
    {
        prepared.warm_up(config, &seat.log);
    }
    prepared.host.freeze();
    let threads = prepared.host.python_threads();
    if threads > 1 {
        let line = format!(
            "preload: importing has started {} threads, which workers will not have",
            threads - 1
        );
        seat.log.write(Level::Warning, line.as_bytes());
    }
    Ok(prepared)
}

fn become_worker(
    seat: TemplateSeat,
    prepared: Prepared,
    slot: usize,
    generation: u64,
    channel: OwnedFd,
) -> ! {
    drop(seat.channel);
    // The process in between has to be gone first.
    let patience = Instant::now() + ADOPTION;
    while std::os::unix::process::parent_id() != seat.manager {
        if Instant::now() > patience {
            posix::exit_now(1);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let own = seat.sockets.into_iter().nth(slot).flatten();
    life_cycle::run(
        Seat {
            place: Place { memory: seat.memory, slot, generation },
            config: seat.config,
            log: seat.log,
            channel: Channel::of(channel),
            sockets: own.into_iter().chain(seat.shared).collect(),
            known: seat.scripts,
            manager: seat.manager,
        },
        Some(prepared),
    )
}
