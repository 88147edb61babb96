//! In the Apache parent: one `wsgi-daemon` for each process group, its sockets, its end. The sockets belong
//! to the parent and outlive restarts, so that no request finds the door missing (design decisions D2, D8).
#![forbid(unsafe_code)]

use super::daemon_program;
use super::group_config::{Applications, configure};
use super::socket::{self, Socket};
use crate::apr::Pool;
use crate::config::{DaemonProcess, ProcessOptions};
use crate::groups::{Board, GroupPlan, InFlight};
use crate::httpd::{Monitor, Mpm, OtherChild, Server, ServerInfo, log_server};
use crate::posix;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wsgi::Level;

/// The groups that are running. They outlive configurations, and hold nothing of any pool.
static GROUPS: Mutex<Vec<Running>> = Mutex::new(Vec::new());

/// Managers that finish what they serve: their group is gone from the configuration, or has another one.
static DEPARTING: Mutex<Vec<Departing>> = Mutex::new(Vec::new());

/// A manager that ends sooner most likely will again.
const YOUNG: Duration = Duration::from_secs(5);

/// A group and its manager.
struct Running {
    definition: DaemonProcess,
    sockets: Vec<Socket>,
    in_flight: Arc<InFlight>,
    board: Arc<Board>,
    timeout: Duration,
    /// Or why there is none.
    program: Result<PathBuf, String>,
    /// What workers know Apache's requests by; see [`new_secret`].
    secret: Arc<str>,
    /// What the manager is told, without descriptors and the secret.
    told: Value,
    manager: Option<Manager>,
    /// How often in a row it died soon after its start, or could not be started.
    start_failures: u32,
    /// When to try again to start one, if it could not be done.
    again: Option<Instant>,
    /// The parent process, whose files these are.
    owner: u32,
}

struct Manager {
    pid: u32,
    /// When it begins, after the pause that it makes first.
    started: Instant,
    /// Closed when the parent goes, however it goes: then the manager leaves.
    lifeline: UnixStream,
    /// How long it may take to end: it kills its workers after twice `shutdown-timeout` and a second.
    patience: Duration,
}

struct Departing {
    pid: u32,
    patience: Duration,
    /// The parent process, whose child it is.
    owner: u32,
}

impl Manager {
    /// What it serves it may finish, within `graceful-timeout`; or as long as httpd goes on.
    fn depart(&self) {
        // One that has not begun serves nothing, and hears nothing of what is said to those that do.
        let begun = self.started <= Instant::now();
        posix::signal(self.pid, if begun { libc::SIGWINCH } else { libc::SIGTERM });
        let (pid, patience, owner) = (self.pid, self.patience, std::process::id());
        departing().push(Departing { pid, patience, owner });
    }

    /// Gives it another file to write its log to.
    fn hand_over(&self, log: BorrowedFd<'_>) {
        // If it cannot be told it has been told too much, or is gone, and then it is started anew.
        let _ = posix::send_descriptor(self.lifeline.as_fd(), log);
    }
}

/// Brings the running groups in line with the configuration: starts new ones, gives changed ones a new
/// manager behind the same sockets, replaces the workers of the others one by one, ends what is gone.
///
/// # Errors
/// One sentence that names the group and what is wrong. Where sockets cannot be made it is logged instead if
/// the server restarts.
pub(crate) fn reconcile<'a>(
    configuration: Pool<'_>,
    main: Server<'_>,
    options: &ProcessOptions,
    applications: &dyn Fn(&DaemonProcess) -> Result<Applications<'a>, String>,
) -> Result<(), String> {
    let restarts = has_started();
    let mut groups = lock();
    let prefix = options.socket_prefix.as_deref().map_or_else(
        || ServerInfo::runtime_file(configuration, c"wsgi"),
        |prefix| PathBuf::from(OsStr::from_bytes(prefix)),
    );
    if groups.is_empty() {
        socket::remove_orphans(&prefix);
    }
    posix::make_room_for_descriptors(descriptors(&options.daemon_processes));
    let mut kept = Vec::new();
    for definition in &options.daemon_processes {
        let at = groups.iter().position(|group| group.definition.name == definition.name);
        let home = server_of(main, definition);
        let program = daemon_program::find(definition, options);
        if let (Err(why), true, Some(at)) = (&program, restarts, at) {
            // Its workers are forked from a manager that is there: it goes on as it was.
            log_server(main, Level::Error, why.as_bytes());
            let running = groups.swap_remove(at);
            running.refresh(home.log_descriptor());
            kept.push(running);
            continue;
        }
        let program = match program {
            Err(why) if !restarts => Err(daemon_program::concerns_it_alone(definition, why)?),
            found => found,
        };
        let told = configure(definition, options, &applications(definition)?, home.log_level());
        let mut running = match at {
            Some(at) => groups.swap_remove(at),
            None => Running {
                definition: definition.clone(),
                sockets: Vec::new(),
                in_flight: new_in_flight(definition)?,
                board: new_board(definition)?,
                timeout: main.timeout(),
                program: program.clone(),
                secret: new_secret()?,
                told: Value::Null,
                manager: None,
                start_failures: 0,
                again: None,
                owner: std::process::id(),
            },
        };
        let resized = running.sockets.len() != slots(definition) && at.is_some();
        let others = match running.renew_sockets(main, &prefix, definition) {
            Ok(others) => others,
            // No reason to end a server: the group goes on as it was, if it was.
            Err(why) if restarts => {
                log_server(main, Level::Error, why.as_bytes());
                running.refresh(home.log_descriptor());
                kept.push(running);
                continue;
            }
            Err(why) => return Err(why),
        };
        if resized {
            running.in_flight = new_in_flight(definition)?;
        }
        let unchanged = !others && running.told == told && running.program == program;
        running.definition = definition.clone();
        running.timeout = main.timeout();
        running.told = told;
        running.program = program;
        if unchanged && running.manager.is_some() {
            running.refresh(home.log_descriptor());
        } else {
            let old = running.manager.take();
            // What was in its way may be gone.
            running.start_failures = 0;
            // Its sizes may be others, and for a while there are two managers.
            running.board = new_board(definition)?;
            running.start(main, Duration::ZERO);
            if let Some(old) = old {
                old.depart();
            }
        }
        kept.push(running);
    }
    for manager in groups.iter_mut().filter_map(|group| group.manager.take()) {
        manager.depart();
    }
    *groups = kept;
    STARTED.store(true, Ordering::Relaxed);
    Ok(())
}

/// The server has started before this.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Whether the server runs already: from then on nothing of what is looked at ends it.
pub(crate) fn has_started() -> bool {
    STARTED.load(Ordering::Relaxed)
}

/// What the children of this configuration need to know of the groups.
pub(crate) fn plans() -> Vec<GroupPlan> {
    lock()
        .iter()
        .map(|group| GroupPlan {
            definition: group.definition.clone(),
            sockets: group.sockets.iter().map(|socket| socket.path().to_owned()).collect(),
            in_flight: Arc::clone(&group.in_flight),
            board: Arc::clone(&group.board),
            log_level: group.told["log_level"].as_u64().map_or(0, |it| it.try_into().unwrap_or(0)),
            timeout: group.timeout,
            secret: Arc::clone(&group.secret),
        })
        .collect()
}

/// In a child process: closes what belongs to the parent.
pub(crate) fn leave_to_parent() {
    lock().clear();
    departing().clear();
    posix::restore_descriptor_limit();
}

/// Ends every group, at the end of the parent.
pub(crate) struct EndOfParent;

impl Drop for EndOfParent {
    /// Waits for the groups to end: whoever started httpd takes its end for theirs (systemd kills what is
    /// left then).
    fn drop(&mut self) {
        let mut groups = lock();
        let mut departing = departing();
        let mut ends = Vec::new();
        let own = groups.iter().filter(|group| group.owner == std::process::id());
        let managers = own.filter_map(|group| group.manager.as_ref());
        ends.extend(managers.map(|manager| (manager.pid, manager.patience)));
        groups.clear();
        for it in departing.drain(..).filter(|it| it.owner == std::process::id()) {
            posix::signal(it.pid, libc::SIGTERM);
            ends.push((it.pid, it.patience));
        }
        let now = Instant::now();
        for (pid, patience) in ends {
            if !posix::ends(pid, now + patience) {
                posix::end_session(pid);
            }
        }
    }
}

/// A process of ours has died; called by httpd in the parent.
pub(crate) struct Deaths;

impl OtherChild for Deaths {
    fn on_child_exit(pid: u32, number: i32) {
        let mut groups = lock();
        let mine = |group: &&mut Running| group.manager.as_ref().is_some_and(|it| it.pid == pid);
        let Some(group) = groups.iter_mut().find(mine) else {
            departing().retain(|it| it.pid != pid);
            return;
        };
        let lived = group.manager.take().map(|manager| manager.started.elapsed());
        let young = lived.is_none_or(|lived| lived < YOUNG);
        group.start_failures = if young { group.start_failures + 1 } else { 0 };
        let Some(main) = Server::main() else { return };
        let began = group.start(main, group.delay());
        let next = if began { "; it is started again" } else { "" };
        let ending = daemon_program::ending(number);
        let line = format!("{}: its manager {pid} {ending}{next}", group.title());
        log_server(main, Level::Error, line.as_bytes());
    }
}

/// Managers that could not be started are tried again; called by httpd in the parent, every ten seconds or so.
pub(crate) struct Rounds;

impl Monitor for Rounds {
    fn monitor(main: Server<'_>) {
        let due = |group: &&mut Running| group.again.is_some_and(|when| when <= Instant::now());
        for group in lock().iter_mut().filter(due) {
            if group.start(main, Duration::ZERO) {
                let line = group.title() + ": its manager is started after all";
                log_server(main, Level::Notice, line.as_bytes());
            }
        }
    }
}

impl Running {
    fn title(&self) -> String {
        format!("daemon process group '{}'", String::from_utf8_lossy(&self.definition.name))
    }

    /// How long to wait before the next manager starts.
    fn delay(&self) -> Duration {
        match self.start_failures {
            0 | 1 => Duration::ZERO,
            n => Duration::from_millis(100 << n.min(7)),
        }
    }

    /// Starts a manager; tells whether it could. What goes wrong is logged and tried again: by [`Rounds`], or,
    /// since httpd tells us when a manager dies, by [`Deaths`].
    fn start(&mut self, main: Server<'_>, delay: Duration) -> bool {
        let log = server_of(main, &self.definition).log_descriptor();
        self.again = None;
        // Before it starts: one that gets as far as managing takes it back.
        self.board.set_start_failures(Some(self.start_failures));
        match self.try_start(log, delay) {
            Ok(manager) => {
                ServerInfo::watch::<Deaths>(manager.pid);
                self.manager = Some(manager);
            }
            Err(why) => {
                self.start_failures += 1;
                self.board.set_start_failures(None);
                self.again = Some(Instant::now() + self.delay());
                let line = format!("WSGI0024: cannot start {}: {why}", self.title());
                log_server(main, Level::Alert, line.as_bytes());
            }
        }
        self.manager.is_some()
    }

    fn try_start(&self, log: Option<BorrowedFd<'_>>, delay: Duration) -> std::io::Result<Manager> {
        let (theirs, lifeline) = UnixStream::pair()?;
        let sockets: Vec<RawFd> = self.sockets.iter().map(AsRawFd::as_raw_fd).collect();
        let mut config = self.told.clone();
        config["delay"] = json!(delay.as_secs_f64());
        config["secret"] = json!(*self.secret);
        let board = self.board.as_fd().as_raw_fd();
        config["descriptors"] = json!({
            "worker_sockets": sockets,
            "parent": theirs.as_raw_fd(),
            "scoreboard": board,
        });
        let program = self.program.as_ref().map_err(|why| std::io::Error::other(why.clone()))?;
        let manager = daemon_program::manager_of(program, &self.definition);
        if manager.is_some() {
            let path = program.as_os_str().as_bytes();
            config["program"] = json!(path.iter().map(|&it| char::from(it)).collect::<String>());
        }
        let config = posix::memory_file(config.to_string().as_bytes())?;
        let mut inherited = sockets;
        inherited.extend([theirs.as_raw_fd(), board, config.as_raw_fd()]);
        let number = config.as_raw_fd().to_string();
        let arguments = ["--config-fd", &number];
        let environment = daemon_program::environment();
        let program = manager.as_ref().unwrap_or(program);
        let spawned = posix::spawn(program, &arguments, &environment, &inherited, log);
        let pid = spawned.map_err(|why| {
            std::io::Error::new(why.kind(), format!("{}: {why}", program.display()))
        })?;
        let patience = self.definition.shutdown_timeout.unwrap_or(Duration::from_secs(60));
        let patience = patience * 2 + Duration::from_secs(3);
        Ok(Manager { pid, started: Instant::now() + delay, lifeline, patience })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A child only closes its copies.
        if std::process::id() != self.owner {
            return;
        }
        if let Some(manager) = &self.manager {
            posix::signal(manager.pid, libc::SIGTERM);
        }
    }
}

/// 128 bits at random. The user that Apache's children run as is often that of other programs too, and a worker
/// runs whatever script a request names: so a request has to name this as well. It is only in the memory of the
/// parent, its children and the group's own processes.
fn new_secret() -> Result<Arc<str>, String> {
    let mut bytes = [0_u8; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|why| format!("WSGI0013: there is nothing random in /dev/urandom: {why}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

/// How many descriptors groups need in the parent: for each worker a socket and its file; for the group a
/// lifeline, a scoreboard, and while a manager starts or is replaced as much again. And what httpd itself opens.
fn descriptors(groups: &[DaemonProcess]) -> usize {
    groups.iter().map(|group| 2 * slots(group) + 4).sum::<usize>() + 128
}

fn slots(definition: &DaemonProcess) -> usize {
    definition.processes.most as usize
}

fn new_in_flight(definition: &DaemonProcess) -> Result<Arc<InFlight>, String> {
    let children = usize::try_from(Mpm::query().processes).unwrap_or(1);
    share("counters", definition, InFlight::new(slots(definition), children))
}

fn new_board(definition: &DaemonProcess) -> Result<Arc<Board>, String> {
    share("the scoreboard", definition, Board::new(slots(definition), definition.threads as usize))
}

fn share<T>(
    what: &str,
    definition: &DaemonProcess,
    made: std::io::Result<T>,
) -> Result<Arc<T>, String> {
    let name = String::from_utf8_lossy(&definition.name);
    made.map(Arc::new).map_err(|why| {
        format!("WSGI0013: no memory for {what} of daemon process group '{name}': {why}")
    })
}

impl Running {
    /// A socket for each worker: those there are stay, so that children of the configuration before still
    /// reach them, but for those whose file somebody has removed. Tells whether there are new ones. Where it
    /// fails, all stay.
    fn renew_sockets(
        &mut self,
        main: Server<'_>,
        prefix: &Path,
        definition: &DaemonProcess,
    ) -> Result<bool, String> {
        let owner =
            definition.socket_user.as_ref().map_or_else(|| ServerInfo::account().0, |it| it.id);
        let owner = posix::is_root().then_some(owner);
        let backlog = definition.listen_backlog;
        let name = String::from_utf8_lossy(&definition.name);
        let refuse = |path: &Path, why: std::io::Error| {
            let hint = match why.raw_os_error() {
                Some(libc::EMFILE) => {
                    "ulimit -n: two for each process of each group, and some more"
                }
                _ => "WSGISocketPrefix says where sockets go",
            };
            format!(
                "WSGI0013: cannot make the socket '{}' of daemon process group '{name}': {why} ({hint})",
                path.display()
            )
        };
        let mut made = Vec::new();
        for slot in 0..slots(definition) {
            let old = self.sockets.get(slot);
            if let Some(socket) = old.filter(|socket| socket.is_there()) {
                socket.renew(backlog, owner).map_err(|why| refuse(socket.path(), why))?;
                continue;
            }
            let new =
                Socket::new(prefix, backlog, owner).map_err(|(path, why)| refuse(&path, why))?;
            if let Some(old) = old {
                let line = format!(
                    "daemon process group '{name}': somebody has removed its socket '{}'; '{}' \
                     takes its place, with new processes",
                    old.path().display(),
                    new.path().display()
                );
                log_server(main, Level::Warning, line.as_bytes());
            }
            made.push((slot, new));
        }
        let others = !made.is_empty();
        self.sockets.truncate(slots(definition));
        for (slot, new) in made {
            match self.sockets.get_mut(slot) {
                Some(old) => *old = new,
                None => self.sockets.push(new),
            }
        }
        Ok(others)
    }

    /// What a graceful restart is for a manager that stays: other log files, new workers.
    fn refresh(&self, log: Option<BorrowedFd<'_>>) {
        if let Some(manager) = &self.manager {
            let stderr = std::io::stderr();
            manager.hand_over(log.unwrap_or(stderr.as_fd()));
            posix::signal(manager.pid, libc::SIGUSR1);
        }
    }
}

/// The server a group was defined in.
fn server_of<'s>(main: Server<'s>, definition: &DaemonProcess) -> Server<'s> {
    let at = &definition.server;
    main.and_following()
        .find(|server| at.is_virtual && server.defined_at() == at.defined_at)
        .unwrap_or(main)
}

fn lock() -> MutexGuard<'static, Vec<Running>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn departing() -> MutexGuard<'static, Vec<Departing>> {
    DEPARTING.lock().unwrap_or_else(PoisonError::into_inner)
}
