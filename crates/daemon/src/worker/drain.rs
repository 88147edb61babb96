//! How a worker stops: it accepts no more, waits for what it serves, and exits within shutdown-timeout.
#![forbid(unsafe_code)]

use crate::log::Log;
use crate::message::{Channel, Command, Reason, Report, Successor};
use crate::time_limit;
use crate::worker::oldest_request::OldestRequest;
use crate::worker::pool::Pool;
use crate::worker::stack_report;
use crate::worker::stop_report::{Awaited, StopProgress};
use crate::worker::supervise::{SIGNALS, Stop, report_hanging_requests};
use group_config::GroupConfig;
use scoreboard::{Field, now};
use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use sys::Signals;
use wsgi::Level;

/// How often connections are checked while draining.
const DRAIN_POLL: Duration = Duration::from_millis(100);
/// How long before its end a worker looks what keeps it from stopping.
const REPORT_LEAD: Duration = Duration::from_millis(500);
/// How long the end of a worker may take whose start has failed, where `shutdown-timeout` is off: nothing waits for it.
const FAILED_START_LIMIT: Duration = Duration::from_secs(10);

/// Accepts no more and waits for what is being served, at most for the time that `stop` says; whether all of it has
/// been served. `woken` is readable whenever that may have become so.
pub(super) fn drain(
    pool: &Arc<Pool>,
    signals: &Signals,
    channel: &mut Channel,
    mut woken: PipeReader,
    stop: &Stop,
) -> bool {
    let mut successor = stop.successor;
    pool.drain(successor);
    pool.manager.report(&Report::AcceptsNoMore);
    if successor == Successor::None {
        pool.close_sockets();
    }
    let mut deadline = time_limit::deadline(Instant::now(), stop.within);
    let mut has_manager = true;
    let mut oldest = OldestRequest::default();
    while !pool.is_drained() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            abandon(pool);
            return false;
        }
        if pool.has_only_overdue_requests() && give_overdue_up(pool) {
            return false;
        }
        let step = left.min(DRAIN_POLL);
        let mut descriptors = vec![woken.as_fd(), signals.as_fd()];
        descriptors.extend(has_manager.then(|| channel.as_fd()));
        let ready = sys::wait_readable(&descriptors, Some(step));
        signals.take(&SIGNALS);
        oldest.note(pool);
        pool.drain(successor);
        if ready.first() == Some(&true) {
            // One byte for each time the thread was to be woken; the number does not matter.
            let _ = woken.read(&mut [0; 64]);
        }
        if ready.get(2) == Some(&true) {
            match channel.receive() {
                Ok(commands) => {
                    for command in commands {
                        match command {
                            Command::Finish { within, successor: now, .. } => {
                                successor = now;
                                let new = time_limit::deadline(Instant::now(), within);
                                deadline = deadline.min(new);
                            }
                            Command::Stacks { question } => stack_report::start(pool, question),
                            _ => {}
                        }
                    }
                }
                Err(_) => {
                    has_manager = false;
                    successor = Successor::None;
                }
            }
        }
    }
    true
}

/// The time to drain is over: answers what is still being served with 503.
fn abandon(pool: &Arc<Pool>) {
    if let Some(open @ 1..) = pool.only_sockets() {
        // The event loop closes them.
        let line = format!("stopping; open WebSockets are closed (1012): {open}");
        return pool.log.write(Level::Info, line.as_bytes());
    }
    report_what_hangs(pool);
    log_what_is_left(pool);
    let why = "worker stopped before the application answered";
    pool.answer_outstanding(|_| true, 503, ("WSGI0245", "WS"), why);
}

/// Answers overdue requests with 504; whether nothing else is left then. Another request may have come on a connection
/// that was accepted before draining began, and is served first.
fn give_overdue_up(pool: &Arc<Pool>) -> bool {
    report_what_hangs(pool);
    let is_overdue = |since| pool.recycling.is_overdue(since);
    let why = "exceeded request-timeout; worker stopping";
    pool.answer_outstanding(is_overdue, 504, ("WSGI0244", "RT"), why);
    let is_rest = pool.has_only_overdue_requests();
    if is_rest {
        log_what_is_left(pool);
    }
    is_rest
}

fn report_what_hangs(pool: &Arc<Pool>) {
    pool.hang_report.wait();
    // Some may have become overdue since.
    report_hanging_requests(pool);
    pool.hang_report.wait();
}

fn log_what_is_left(pool: &Pool) {
    let line = match pool.record.requests().first() {
        Some((_, line)) => format!("stopping with {line} still running"),
        None => "stopping with a connection still open".to_owned(),
    };
    pool.log.write(Level::Warning, line.as_bytes());
}

/// Has this process exit after shutdown-timeout, whatever Python does. It is to be told what the worker waits for.
pub(super) fn arm_shutdown_watchdog(pool: &Arc<Pool>, reason: Reason) -> Arc<StopProgress> {
    let awaited = if pool.asgi.is_some() { Awaited::EventLoop } else { Awaited::Threads };
    let progress = Arc::new(StopProgress::begin(awaited));
    let Some(limit) = time_limit::enabled(pool.config.timers.shutdown_timeout) else {
        return progress;
    };
    let (own, stop) = (Arc::clone(pool), Arc::clone(&progress));
    // The manager kills a worker soon after the limit: what the line tells is found before that.
    let lead = REPORT_LEAD.min(limit / 4);
    exit_after(limit - lead, move || {
        let begun = Instant::now();
        let why = stop.describe(&own);
        thread::sleep(lead.saturating_sub(begun.elapsed()));
        let age = now().saturating_sub(own.record.get(Field::Started)) / 1_000_000;
        let line = format!(
            "WSGI0293: this worker ({age} s old) did not stop within shutdown-timeout; terminating it: {why}"
        );
        own.log.write(Level::Warning, line.as_bytes());
        own.host.report_end(reason.event_name());
    });
    progress
}

/// The same for a worker whose start has failed: with `shutdown-timeout=0` as well, or the manager would wait for its end
/// before it starts another one.
pub(super) fn arm_watchdog_of_failed_start(config: &GroupConfig, log: Log) {
    let limit = time_limit::enabled(config.timers.shutdown_timeout).unwrap_or(FAILED_START_LIMIT);
    exit_after(limit, move || {
        let line = format!(
            "this worker did not stop within {} s after its start has failed; terminating it",
            limit.as_secs_f32()
        );
        log.write(Level::Warning, line.as_bytes());
    });
}

/// Has this process exit, `last` being the last that it does.
fn exit_after(limit: Duration, last: impl FnOnce() + Send + 'static) {
    let exit = move || {
        thread::sleep(limit);
        last();
        sys::exit_now(1);
    };
    // Without the thread, the manager's SIGKILL still ends the process.
    let _ = thread::Builder::new().name("wsgi-shutdown".to_owned()).spawn(exit);
}
