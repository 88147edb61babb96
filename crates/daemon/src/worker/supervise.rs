//! What the main thread of a worker does while the worker serves: signals, orders of the manager, limits on
//! time. It never enters Python, so it can always act.
#![forbid(unsafe_code)]

use crate::message::{Channel, Order, Reason};
use crate::posix::{self, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, Signals};
use crate::worker::pool::Pool;
use crate::worker::signal_events::SignalTeller;
use std::os::fd::AsFd;
use std::time::Duration;
use wsgi::Level;

pub(super) const SIGNALS: [i32; 6] = [SIGTERM, SIGINT, SIGUSR1, SIGXCPU, SIGHUP, SIGUSR2];
/// How often limits on time are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Waits until this worker is to leave; for how long it may go on with what it has, and why it leaves.
pub(super) fn watch(
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
