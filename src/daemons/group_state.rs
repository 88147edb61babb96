//! A process group in Apache's parent: what its children need of it, its manager, and the manager's failures. It
//! must never know the other groups.
#![forbid(unsafe_code)]

use super::daemon_program::{self, WorkerProgram};
use super::error::GroupError;
use super::generation;
use super::group_log::GroupLog;
use super::group_sockets::GroupSockets;
use super::installation::{Installation, Requirement};
use super::manager::{Launch, Manager};
use super::socket::Socket;
use crate::config::DaemonProcess;
use crate::groups::{Board, GroupCounters, GroupPlan, KnownCause, RequestCounters};
use crate::httpd::{Mpm, Server};
use crate::python_home::TimeBudget;
use group_config::GroupConfig;
use scoreboard::BackOff;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pauses before a manager is started again.
const BACK_OFF: BackOff =
    BackOff { free: 1, first: Duration::from_millis(400), longest: Duration::from_millis(12_800) };
/// A manager that exits sooner has failed to start.
const MIN_LIFETIME: Duration = Duration::from_secs(5);

/// Why a group takes no commands.
pub(super) struct AdminSocketError {
    pub(super) path: PathBuf,
    pub(super) why: io::Error,
    /// It took some before.
    pub(super) had: bool,
}

/// A group and its manager.
pub(super) struct GroupState {
    pub(super) definition: DaemonProcess,
    pub(super) sockets: GroupSockets,
    /// Where its manager takes commands; `None` where no socket could be made for that.
    pub(super) admin: Option<Socket>,
    pub(super) counters: Arc<GroupCounters>,
    pub(super) board: Arc<Board>,
    /// What became of its requests.
    requests: Arc<RequestCounters>,
    /// `Timeout` of the server.
    pub(super) timeout: Duration,
    /// What is to be examined before a manager is started.
    pub(super) requirement: Requirement,
    /// The program that runs the group's workers; `None` where the group's Python cannot be used.
    pub(super) program: Option<WorkerProgram>,
    /// Why there is no manager, for the children.
    known_cause: Arc<KnownCause>,
    /// The pipe of the log of its managers.
    pub(super) log: Arc<GroupLog>,
    /// The secret by which workers know requests of Apache's children; see [`new_secret`].
    secret: Arc<str>,
    /// The configuration for the manager, without descriptors and the secret.
    pub(super) config: GroupConfig,
    pub(super) manager: Option<Manager>,
    /// How often in a row the manager exited soon after its start, or could not be started.
    pub(super) start_failures: u32,
    /// When to try again to start a manager that could not be started.
    retry_at: Option<Instant>,
    /// The process id of the parent, whose manager and socket files these are.
    pub(super) owner: u32,
}

/// What a graceful restart changes of a group that stays, but for its manager.
pub(super) struct FormerState {
    definition: DaemonProcess,
    sockets: GroupSockets,
    counters: Arc<GroupCounters>,
    board: Arc<Board>,
    timeout: Duration,
    requirement: Requirement,
    program: Option<WorkerProgram>,
    config: GroupConfig,
}

impl GroupState {
    /// A group that has no sockets and no manager yet.
    ///
    /// # Errors
    /// [`GroupError::Memory`] and [`GroupError::Random`].
    pub(super) fn new(
        definition: &DaemonProcess,
        requirement: Requirement,
    ) -> Result<Self, GroupError> {
        Ok(Self {
            definition: definition.clone(),
            sockets: GroupSockets::default(),
            admin: None,
            counters: new_counters(definition)?,
            board: new_board(definition)?,
            requests: share("counters", definition, RequestCounters::with_file())?,
            timeout: Duration::ZERO,
            requirement,
            program: None,
            known_cause: share("the cause", definition, KnownCause::new())?,
            log: share("the log", definition, GroupLog::new(&definition.name))?,
            secret: new_secret()?,
            config: GroupConfig::default(),
            manager: None,
            start_failures: 0,
            retry_at: None,
            owner: std::process::id(),
        })
    }

    /// What became of its requests.
    pub(super) fn requests(&self) -> &RequestCounters {
        &self.requests
    }

    /// The words of log lines for the group.
    pub(super) fn title(&self) -> String {
        format!("daemon process group '{}'", String::from_utf8_lossy(&self.definition.name))
    }

    /// What the children of this configuration need to know.
    pub(super) fn plan(&self) -> GroupPlan {
        GroupPlan {
            definition: self.definition.clone(),
            sockets: self.sockets.paths(),
            counters: Arc::clone(&self.counters),
            board: Arc::clone(&self.board),
            requests: Arc::clone(&self.requests),
            known_cause: Arc::clone(&self.known_cause),
            log_level: self.config.log_level,
            timeout: self.timeout,
            secret: Arc::clone(&self.secret),
            // Only root's daemons have a user of their own.
            worker_uid: self.config.identity.uid.unwrap_or_else(sys::effective_uid),
        }
    }

    /// Starts a manager, which waits for `delay` before it begins. After an error another try is due at
    /// [`is_retry_due`](Self::is_retry_due).
    pub(super) fn start(&mut self, delay: Duration) -> io::Result<u32> {
        self.retry_at = None;
        self.known_cause.set(None);
        // Before the start, since a manager that has started sets 0.
        self.board.set_start_failures(Some(self.start_failures));
        match self.try_start(delay) {
            Ok(manager) => Ok(self.manager.insert(manager).pid),
            Err(why) => {
                self.start_failures += 1;
                self.known_cause.set(Some(&format!("its manager cannot be started: {why}")));
                self.board.set_start_failures(None);
                self.retry_at = Some(Instant::now() + self.delay());
                Err(why)
            }
        }
    }

    fn try_start(&self, delay: Duration) -> io::Result<Manager> {
        let program = self.program.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let manager = daemon_program::manager_beside(program, &self.definition);
        let mut config = self.config.clone();
        config.secret = Some(self.secret.as_ref().to_owned());
        config.generation = generation::number();
        Manager::start(Launch {
            program,
            manager: manager.as_deref(),
            config,
            sockets: self.sockets.descriptors(),
            admin: self.admin.as_ref().map(AsRawFd::as_raw_fd),
            scoreboard: self.board.as_fd().as_raw_fd(),
            start_cause: self.board.cause_file().as_raw_fd(),
            request_counts: self.requests.file().map(|file| file.as_raw_fd()),
            sent_counts: self.counters.file().map(|file| file.as_raw_fd()),
            log: Arc::clone(&self.log),
            delay,
            shutdown_timeout: self
                .definition
                .config
                .timers
                .shutdown_timeout
                .unwrap_or(Duration::from_secs(60)),
        })
    }

    /// The state that the group is in.
    pub(super) fn state(&self) -> FormerState {
        FormerState {
            definition: self.definition.clone(),
            sockets: self.sockets.clone(),
            counters: Arc::clone(&self.counters),
            board: Arc::clone(&self.board),
            timeout: self.timeout,
            requirement: self.requirement.clone(),
            program: self.program.clone(),
            config: self.config.clone(),
        }
    }

    /// Puts the state back in which its manager was started, because there is no other manager.
    pub(super) fn restore(&mut self, former: FormerState) {
        let FormerState { definition, sockets, counters, board, .. } = former;
        (self.definition, self.sockets) = (definition, sockets);
        (self.counters, self.board) = (counters, board);
        (self.timeout, self.requirement) = (former.timeout, former.requirement);
        (self.program, self.config) = (former.program, former.config);
        (self.start_failures, self.retry_at) = (0, None);
    }

    /// Forgets the manager, if it is the process `pid`, which has exited.
    pub(super) fn forget_manager(&mut self, pid: u32) {
        self.manager.take_if(|manager| manager.pid == pid);
    }

    /// Records that the manager has exited; `how` is told where the manager has said no cause.
    pub(super) fn record_exit(&mut self, how: &str) {
        let lived = self.manager.take().map(|manager| manager.started.elapsed());
        let failed = lived.is_none_or(|lived| lived < MIN_LIFETIME);
        let cause = self.board.cause();
        if failed && cause.read().is_none() {
            cause.put(Some(&format!("it {how}")));
        }
        self.start_failures = if failed { self.start_failures + 1 } else { 0 };
    }

    /// How long to wait before the next manager begins.
    pub(super) fn delay(&self) -> Duration {
        BACK_OFF.pause(self.start_failures)
    }

    /// Whether a manager that could not be started is to be tried again.
    pub(super) fn is_retry_due(&self) -> bool {
        self.retry_at.is_some_and(|when| when <= Instant::now())
    }

    /// Takes over what an inspection has found; whether anything is another than before.
    pub(super) fn set_installation(&mut self, found: Installation) -> bool {
        let Installation { home, program, .. } = found;
        let changed = self.program.as_ref() != Some(&program) || self.config.python.home != home;
        self.program = Some(program);
        self.config.python.home = home;
        changed
    }

    /// Leaves the group without a manager, because of `why`, which its children report. It is examined again when
    /// [`is_retry_due`](Self::is_retry_due).
    pub(super) fn block(&mut self, why: &GroupError) {
        self.program = None;
        self.known_cause.set(Some(&why.to_string()));
        self.start_failures += 1;
        self.board.set_start_failures(None);
        self.retry_at = Some(Instant::now() + self.delay());
    }

    /// Examines the installation again, if it could not be used; whether a manager can be started.
    pub(super) fn unblock(&mut self) -> bool {
        if self.program.is_some() {
            return true;
        }
        match self.requirement.examine(&mut TimeBudget::exhausted()) {
            Ok(found) => {
                self.set_installation(found);
                true
            }
            Err(why) => {
                self.block(&why);
                false
            }
        }
    }

    /// Makes the socket for commands where it is missing, or its file is; whether that has changed anything.
    ///
    /// # Errors
    /// Why there is none; the group serves without it.
    pub(super) fn renew_admin_socket(&mut self, prefix: &Path) -> Result<bool, AdminSocketError> {
        let is_usable = |socket: &Socket| socket.has_file() && !socket.is_shut_down();
        if self.admin.as_ref().is_some_and(is_usable) {
            return Ok(false);
        }
        let had = self.admin.take().is_some();
        let owner = sys::is_root().then_some(self.config.identity.uid).flatten();
        match Socket::for_commands(prefix, &self.definition.name, owner) {
            Ok(socket) => {
                self.admin = Some(socket);
                Ok(true)
            }
            Err((path, why)) => Err(AdminSocketError { path, why, had }),
        }
    }

    /// Does what a graceful restart is for a group that stays as it is.
    pub(super) fn refresh(&self) {
        if let Some(manager) = &self.manager {
            manager.refresh();
        }
    }
}

impl Drop for GroupState {
    fn drop(&mut self) {
        // A child only closes its copies.
        if std::process::id() == self.owner
            && let Some(manager) = &self.manager
        {
            manager.terminate();
        }
    }
}

/// The server a group was defined in.
pub(super) fn server_of<'s>(main: Server<'s>, definition: &DaemonProcess) -> Server<'s> {
    let at = &definition.server;
    main.and_following()
        .find(|server| at.is_virtual && server.defined_at() == at.defined_at)
        .unwrap_or(main)
}

/// How many workers a group may have.
pub(super) fn slots(definition: &DaemonProcess) -> usize {
    definition.config.processes.most as usize
}

/// Counters for the requests and responses of a group.
pub(super) fn new_counters(definition: &DaemonProcess) -> Result<Arc<GroupCounters>, GroupError> {
    let children = usize::try_from(Mpm::query().processes).unwrap_or(1);
    share("counters", definition, GroupCounters::new(slots(definition), children))
}

/// A scoreboard for a group's workers.
pub(super) fn new_board(definition: &DaemonProcess) -> Result<Arc<Board>, GroupError> {
    share(
        "the scoreboard",
        definition,
        Board::new(slots(definition), definition.config.capacity() as usize),
    )
}

fn share<T>(
    what: &'static str,
    definition: &DaemonProcess,
    made: io::Result<T>,
) -> Result<Arc<T>, GroupError> {
    let group = String::from_utf8_lossy(&definition.name);
    made.map(Arc::new).map_err(|why| GroupError::Memory { what, group: group.into_owned(), why })
}

/// 128 random bits. The user that Apache's children run as is often that of other programs too, and a worker
/// runs whatever script a request names: so a request has to name the secret as well. It is only in the memory of
/// the parent, its children and the group's own processes.
fn new_secret() -> Result<Arc<str>, GroupError> {
    let mut bytes = [0_u8; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(GroupError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}
