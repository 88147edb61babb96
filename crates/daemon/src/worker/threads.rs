//! The threads of a worker: those that serve, and those that look after Python from time to time.
#![forbid(unsafe_code)]

use crate::message::Report;
use crate::posix;
use crate::worker::periodic_thread::Companion;
use crate::worker::pool::Pool;
use crate::worker::reloader::Reloader;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use wsgi::Level;

/// How often source files are looked at, and the longest time between two looks for requests to interrupt.
const TICK: Duration = Duration::from_secs(1);

/// The threads that watch Python, where the configuration wants them.
pub(super) fn companions(pool: &Arc<Pool>) -> io::Result<Vec<Companion>> {
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

pub(super) fn start_threads(pool: &Arc<Pool>) -> io::Result<Vec<JoinHandle<()>>> {
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
