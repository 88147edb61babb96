//! What the main thread of a worker does while the worker serves: it reacts to signals, to commands of the manager
//! and to limits on time. It never enters Python, so it can always act.
#![forbid(unsafe_code)]

use crate::message::{Channel, Command, Reason, Successor};
use crate::time_limit;
use crate::worker::oldest_request::{INTERVAL, OldestRequest};
use crate::worker::pool::Pool;
use crate::worker::signal_events::SignalEventThread;
use crate::worker::stack_report;
use scoreboard::Field;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use sys::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, Signals};
use wsgi::Level;

/// The signals that a worker reacts to.
pub(super) const SIGNALS: [i32; 6] = [SIGTERM, SIGINT, SIGUSR1, SIGXCPU, SIGHUP, SIGUSR2];

/// How a worker is to stop.
pub(super) struct Stop {
    /// How long it may go on with what it has.
    pub(super) within: Duration,
    pub(super) reason: Reason,
    pub(super) successor: Successor,
}

impl Stop {
    /// This stop where another one had been ordered `before`: the sooner end counts, for the reason that came first.
    fn after(self, before: Option<Self>) -> Self {
        match before {
            Some(before) => Self {
                within: self.within.min(before.within),
                reason: before.reason,
                successor: self.successor,
            },
            None => self,
        }
    }
}

/// Waits until this worker is to stop.
pub(super) fn supervise(
    pool: &Arc<Pool>,
    signals: &Signals,
    channel: &mut Channel,
    signal_events: &mut SignalEventThread,
) -> Stop {
    let limits = check_interval(pool);
    let mut oldest = OldestRequest::default();
    loop {
        let own = (pool.config.threads > 0).then(|| OldestRequest::interval(pool));
        let interval = limits.into_iter().chain(own).min();
        let ready = sys::wait_readable(&[signals.as_fd(), channel.as_fd()], interval);
        for signal in signals.take(&SIGNALS) {
            match signal {
                SIGHUP | SIGUSR2 => signal_events.publish(signal),
                _ => {
                    let (reason, detail) = reason_of(signal);
                    pool.manager.request_replacement(reason, detail.to_owned());
                }
            }
        }
        if ready.get(1) == Some(&true) {
            match channel.receive() {
                Ok(commands) => {
                    if let Some(stop) = obey(pool, commands) {
                        return stop;
                    }
                }
                Err(_) => {
                    pool.log.write(Level::Notice, b"manager process has exited; worker stopping");
                    pool.give_up_socket();
                    let within = pool.config.timers.graceful_timeout;
                    return Stop { within, reason: Reason::Signal, successor: Successor::None };
                }
            }
        }
        if let Some(limit) = pool.gil_probe.exceeded() {
            exit_deadlocked(pool, limit);
        }
        oldest.note(pool);
        if limits.is_some()
            && let Some((reason, detail)) =
                pool.recycling.check_timers(&pool.record, pool.has_open_sockets())
        {
            if reason == Reason::RequestTimeout {
                report_hanging_requests(pool);
            }
            pool.manager.request_replacement(reason, detail);
        }
    }
}

/// Does what the manager has told; gives how the worker is to stop, if it is to.
fn obey(pool: &Arc<Pool>, commands: Vec<Command>) -> Option<Stop> {
    let mut stop = None;
    for command in commands {
        match command {
            Command::Finish { within, reason, successor } => {
                stop = Some(Stop { within, reason, successor }.after(stop));
            }
            Command::KeepCode { refused } => pool.keep_code(refused.as_ref()),
            Command::Stacks { question } => stack_report::start(pool, question),
            Command::Serve | Command::Output | Command::Fork { .. } => {}
        }
    }
    stop
}

/// Has the requests for which this worker is given up logged, each once, with the place where its thread is.
pub(super) fn report_hanging_requests(pool: &Arc<Pool>) {
    let Some(limit) = pool.recycling.last_limit() else { return };
    let own = Arc::clone(pool);
    pool.hang_report.start(move || own.host.report_hanging_requests(limit));
}

/// How often limits have to be checked; `None` where no limit on time is on.
fn check_interval(pool: &Pool) -> Option<Duration> {
    let timers = &pool.config.timers;
    let limits = [
        timers.request_timeout,
        timers.inactivity_timeout,
        timers.restart_interval,
        timers.startup_timeout,
    ];
    let has_limit = limits.into_iter().any(|limit| time_limit::enabled(limit).is_some());
    has_limit.then_some(INTERVAL).into_iter().chain(pool.gil_probe.interval()).min()
}

const fn reason_of(signal: i32) -> (Reason, &'static str) {
    match signal {
        SIGUSR1 => (Reason::Eviction, "received SIGUSR1"),
        SIGXCPU => (Reason::CpuTimeLimit, "it has used its cpu-time-limit"),
        SIGINT => (Reason::Signal, "received SIGINT"),
        _ => (Reason::Signal, "received SIGTERM"),
    }
}

/// Ends the process: nothing of Python can be waited for any more. The manager starts another worker, and Apache
/// sends requests of which nothing has been answered to another one.
fn exit_deadlocked(pool: &Pool, limit: Duration) -> ! {
    let requests: Vec<_> = pool.record.requests().into_iter().map(|(_, line)| line).collect();
    let serving = match requests.as_slice() {
        [] => String::new(),
        lines => format!("; it serves {}", lines.join(", ")),
    };
    let line = format!(
        "no thread of this worker gets Python's lock, and has not for {} s (deadlock-timeout); \
         terminating it{serving}",
        limit.as_secs_f64()
    );
    pool.log.write(Level::Error, line.as_bytes());
    pool.record.set(Field::TimeLimit, 1);
    sys::exit_now(1)
}
