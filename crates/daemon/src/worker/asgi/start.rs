//! The thread of an event loop, from its start to its end.
#![forbid(unsafe_code)]

use crate::time_limit;
use crate::worker::asgi::slots::Start;
use crate::worker::asgi::source::LoopSource;
use crate::worker::error::WorkerError;
use crate::worker::pool::Pool;
use group_config::{EventLoop, GroupConfig, Lifespan};
use host::{AsgiSettings, EventLoopKind, LifespanMode, StartupApplication};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use wsgi::Level;

/// How long an application may take to start, where `startup-timeout` says nothing.
const STARTUP_LIMIT: Duration = Duration::from_secs(60);

/// Starts the event loop of a worker and waits until its applications have started; the thread, and whether all of
/// them have.
///
/// # Errors
/// When there is no event loop; the log has the reason.
pub(crate) fn start(pool: &Arc<Pool>) -> Result<(JoinHandle<()>, bool), WorkerError> {
    let (Some(source), Some(slots)) = (LoopSource::new(pool), &pool.asgi) else {
        return Err(WorkerError::NoEventLoop);
    };
    let settings = settings(&pool.config);
    let own = Arc::clone(pool);
    let stack = pool.config.limits.stack_size.unwrap_or_else(sys::stack_size);
    let builder = thread::Builder::new().name("wsgi-asgi".to_owned()).stack_size(stack);
    let serve = move || {
        let has_run = own.host.run_event_loop(Arc::new(source), settings);
        own.host.release_thread();
        if !has_run {
            give_up(&own);
        }
    };
    let thread = builder.spawn(serve).map_err(WorkerError::system("start a thread"))?;
    pool.stacks.note_event_loop(&thread);
    match slots.wait_for_start() {
        Start::Done => Ok((thread, true)),
        Start::Failed => Ok((thread, false)),
        Start::NoLoop => Err(WorkerError::NoEventLoop),
    }
}

/// There is no event loop, or none any more.
fn give_up(pool: &Pool) {
    let Some(slots) = &pool.asgi else { return };
    if !slots.has_started() {
        return slots.set_start(Start::NoLoop);
    }
    pool.log.write(Level::Critical, b"the event loop of this worker has ended; terminating it");
    sys::exit_now(1);
}

fn settings(config: &GroupConfig) -> AsgiSettings {
    let timers = &config.timers;
    let script = |path: &std::path::Path, callable: &str| StartupApplication {
        script: path.as_os_str().as_bytes().to_vec(),
        callable: callable.as_bytes().to_vec(),
    };
    let imported = config.import_scripts.iter().map(|it| {
        let callable = it.callable.as_deref().unwrap_or("application");
        script(&it.path, callable)
    });
    let fixed = config.application.iter().map(|it| script(&it.script, &it.callable));
    AsgiSettings {
        lifespan: match config.asgi.lifespan {
            Lifespan::Auto => LifespanMode::Auto,
            Lifespan::On => LifespanMode::On,
            Lifespan::Off => LifespanMode::Off,
        },
        event_loop: match config.asgi.event_loop {
            EventLoop::Auto => EventLoopKind::Auto,
            EventLoop::Asyncio => EventLoopKind::Asyncio,
            EventLoop::Uvloop => EventLoopKind::Uvloop,
        },
        concurrency: config.capacity(),
        threads: config.threads,
        // Before the manager gives the worker up, which knows no reason.
        startup_limit: time_limit::enabled(timers.startup_timeout)
            .map_or(STARTUP_LIMIT, |limit| limit * 4 / 5),
        grace: timers.graceful_timeout,
        shutdown_limit: time_limit::enabled(timers.shutdown_timeout),
        applications: imported.chain(fixed).collect(),
    }
}
