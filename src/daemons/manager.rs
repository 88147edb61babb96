//! The manager of one group, as a process of Apache's parent: how it is started, told something, and ended. It must
//! never know why.
#![forbid(unsafe_code)]

use super::daemon_program::{self, WorkerProgram};
use super::group_log::GroupLog;
use group_config::{Descriptors, GroupConfig};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A manager that runs.
pub(super) struct Manager {
    pub(super) pid: u32,
    /// When it begins, after the pause that it makes first.
    pub(super) started: Instant,
    /// Closed when the parent exits, in whatever way: then the manager stops.
    _lifeline: UnixStream,
    /// The pipe of the group's log.
    log: Arc<GroupLog>,
    /// How long it may take to stop: it kills its workers after twice `shutdown-timeout` and a second.
    stop_timeout: Duration,
}

/// A manager that finishes what it serves, and has no group any more.
pub(super) struct StoppingManager {
    pub(super) pid: u32,
    pub(super) stop_timeout: Duration,
    /// The pipe of its log.
    pub(super) log: Arc<GroupLog>,
    /// The process id of the parent whose child it is.
    pub(super) owner: u32,
}

/// What a manager is started with.
pub(super) struct Launch<'a> {
    /// What runs the workers.
    pub(super) program: &'a WorkerProgram,
    /// The program that manages, where that is another one.
    pub(super) manager: Option<&'a Path>,
    /// The configuration of the group, without descriptors.
    pub(super) config: GroupConfig,
    /// The listening sockets, by slot.
    pub(super) sockets: Vec<RawFd>,
    /// The socket for commands, where there is one.
    pub(super) admin: Option<RawFd>,
    pub(super) scoreboard: RawFd,
    /// Where the manager says why a start has failed.
    pub(super) start_cause: RawFd,
    /// Where the manager reads what becomes of requests, and how many are under way.
    pub(super) request_counts: Option<RawFd>,
    pub(super) sent_counts: Option<RawFd>,
    /// The pipe of the group's log, which the manager writes to.
    pub(super) log: Arc<GroupLog>,
    /// How long the manager waits before it begins.
    pub(super) delay: Duration,
    /// `shutdown-timeout` of the group.
    pub(super) shutdown_timeout: Duration,
}

impl Manager {
    /// Starts a manager.
    ///
    /// # Errors
    /// Those of the system, with the path of the program where it cannot be run.
    pub(super) fn start(launch: Launch<'_>) -> io::Result<Self> {
        let Launch { program, manager, config, sockets, admin, scoreboard, log, delay, .. } =
            launch;
        let (request_counts, sent_counts) = (launch.request_counts, launch.sent_counts);
        let start_cause = launch.start_cause;
        let (theirs, lifeline) = UnixStream::pair()?;
        let config = GroupConfig {
            delay,
            descriptors: Descriptors {
                worker_sockets: sockets.clone(),
                admin,
                parent: Some(theirs.as_raw_fd()),
                scoreboard: Some(scoreboard),
                start_cause: Some(start_cause),
                request_counts,
                sent_counts,
                ..Descriptors::default()
            },
            log_records: true,
            program: manager.map(|_| program.file.clone()),
            python_program: manager.and(program.python.clone()),
            ..config
        };
        let config = sys::memory_file(&serde_json::to_vec(&config)?)?;
        let mut inherited = sockets;
        inherited.extend([admin, request_counts, sent_counts].into_iter().flatten());
        inherited.extend([theirs.as_raw_fd(), scoreboard, start_cause, config.as_raw_fd()]);
        let number = config.as_raw_fd().to_string();
        let environment = daemon_program::environment();
        let program = manager.unwrap_or(&program.file);
        let spawned =
            sys::spawn(program, &["--config-fd", &number], &environment, &inherited, log.writer());
        let pid = spawned
            .map_err(|why| io::Error::new(why.kind(), format!("{}: {why}", program.display())))?;
        let stop_timeout = launch.shutdown_timeout * 2 + Duration::from_secs(3);
        Ok(Self { pid, started: Instant::now() + delay, _lifeline: lifeline, log, stop_timeout })
    }

    /// How long the manager may take to stop.
    pub(super) const fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }

    /// Has the manager finish what it serves, within `graceful-timeout`, or as long as httpd goes on.
    pub(super) fn stop(&self) -> StoppingManager {
        // One that has not begun serves nothing, and does not know the signal of those that do.
        sys::kill(self.pid, if self.has_begun() { libc::SIGWINCH } else { libc::SIGTERM });
        let (pid, stop_timeout, log) = (self.pid, self.stop_timeout, Arc::clone(&self.log));
        StoppingManager { pid, stop_timeout, log, owner: std::process::id() }
    }

    /// Has the manager end now.
    pub(super) fn terminate(&self) {
        sys::kill(self.pid, libc::SIGTERM);
    }

    /// Whether the manager has begun, after the pause that it makes first.
    pub(super) fn has_begun(&self) -> bool {
        self.started <= Instant::now()
    }

    /// Does what a graceful restart is for a manager that stays: new workers.
    pub(super) fn refresh(&self) {
        sys::kill(self.pid, libc::SIGUSR1);
    }
}
