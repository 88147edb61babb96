//! The threads of a worker: those that serve, the scheduler thread, and those that check something of Python from
//! time to time.
#![forbid(unsafe_code)]

use crate::message::Report;
use crate::worker::periodic_thread::PeriodicThread;
use crate::worker::pool::Pool;
use crate::worker::reloader::Reloader;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use wsgi::Level;

/// How often source files are checked for changes.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest and the longest time between two checks for requests that are to be interrupted.
const INTERRUPT_INTERVAL: (Duration, Duration) =
    (Duration::from_millis(50), Duration::from_secs(1));

/// Starts the threads that check something of Python from time to time, as far as the configuration asks for them.
pub(super) fn start_periodic(pool: &Arc<Pool>) -> io::Result<Vec<PeriodicThread>> {
    let mut threads = Vec::new();
    if let Some(interval) = pool.gil_probe.interval() {
        let pool = Arc::clone(pool);
        let probe = move || pool.gil_probe.probe(&pool.host, pool.board.counters());
        threads.push(PeriodicThread::start("wsgi-watchdog", interval, probe)?);
    }
    if let Some(limit) = pool.recycling.request_limit()
        && pool.config.timers.is_interrupting()
    {
        let (shortest, longest) = INTERRUPT_INTERVAL;
        let interval = (limit / 10).clamp(shortest, longest);
        let pool = Arc::clone(pool);
        let interrupt = move || pool.host.interrupt_requests(limit);
        threads.push(PeriodicThread::start("wsgi-interrupter", interval, interrupt)?);
    }
    if pool.config.reload {
        let pool = Arc::clone(pool);
        let mut reloader = Reloader::default();
        let check = move || {
            for changed in
                reloader.check_files(pool.host.module_files(), |file| host::imported_version(file))
            {
                pool.manager.report(&Report::Stale(changed));
            }
        };
        threads.push(PeriodicThread::start("wsgi-reloader", RELOAD_INTERVAL, check)?);
    }
    Ok(threads)
}

/// Starts the threads that serve, and the scheduler thread where one is needed.
pub(super) fn start_serving(pool: &Arc<Pool>) -> io::Result<Vec<JoinHandle<()>>> {
    let start = |number: u32| {
        let pool = Arc::clone(pool);
        // The size that C programs have; Rust's own default is a quarter of it, too little for deep recursion.
        let stack = pool.config.limits.stack_size.unwrap_or_else(sys::stack_size);
        let builder = thread::Builder::new().name(format!("wsgi-{number}")).stack_size(stack);
        let serve = move || {
            // The one place under a thread that contains a panic.
            #[allow(clippy::disallowed_methods, reason = "see clippy.toml")]
            while std::panic::catch_unwind(AssertUnwindSafe(|| pool.serve(number as usize)))
                .is_err()
            {
                let line = b"request aborted by an internal error (panic); thread continues";
                pool.log.write(Level::Critical, line);
            }
        };
        builder.spawn(serve)
    };
    let mut threads = (0..pool.config.threads).map(start).collect::<io::Result<Vec<_>>>()?;
    pool.stacks.note_serving(&threads);
    if pool.scheduler.needs_thread() {
        let pool = Arc::clone(pool);
        let scheduler_thread = thread::Builder::new().name("wsgi-scheduler".to_owned());
        threads.push(scheduler_thread.spawn(move || {
            pool.scheduler.run(|| pool.connections.has_event());
        })?);
    }
    Ok(threads)
}
