//! How a worker leaves: it accepts no more, waits for what it serves, and is gone within shutdown-timeout.
#![forbid(unsafe_code)]

use crate::message::{Channel, Order, Reason};
use crate::posix::{self, Signals};
use crate::worker::pool::Pool;
use crate::worker::supervise::SIGNALS;
use scoreboard::{Field, now};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use wsgi::Level;

/// How often connections are looked at while draining.
const SWEEP: Duration = Duration::from_millis(100);

/// Accepts no more and waits for what is being served; whether all of it has been.
pub(super) fn drain(
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
pub(super) fn fear(pool: &Arc<Pool>, reason: Reason) {
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
