//! The process that writes what daemon processes say outside of requests to the error logs of their virtual hosts, as
//! `ErrorLog`, `ErrorLogFormat` and `LogLevel` have it. It is a copy of Apache's parent under the account of its
//! children: so it has the open logs and the configuration, and the parent, which must not wait for a log, need not
//! write. Each configuration has a process of its own. Where it cannot be made, the parent writes, now and then.
#![forbid(unsafe_code)]

use super::daemon_program;
use super::generation;
use super::group_log::{GroupLog, LogReader, MAX_READ};
use super::group_state::server_of;
use super::registry::{groups, retired, stopping};
use crate::apr::guard;
use crate::groups::Board;
use crate::httpd::{OtherChild, Server, ServerInfo, log_server};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wsgi::Level;

/// A process that exits sooner is not started again at once.
const MIN_LIFETIME: Duration = Duration::from_secs(1);
/// How long the process may take to give up what belongs to the parent.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the process may take to write what is left.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it waits for the end of a line.
const UNFINISHED: Duration = Duration::from_secs(1);

/// The process, as the parent sees it.
struct LogWriter {
    pid: u32,
    started: Instant,
    /// A byte in it ends the process; the end of the pipe says that the parent is gone.
    control: PipeWriter,
    /// The process id of the parent whose child it is.
    owner: u32,
}

/// Called by httpd when the process has exited.
struct ExitHandler;

/// The process of the configuration in force.
static WRITER: Mutex<Option<LogWriter>> = Mutex::new(None);

fn writer() -> MutexGuard<'static, Option<LogWriter>> {
    WRITER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the process for the configuration of `main`, and ends the one before. To be called when the groups of the
/// configuration are there, and their registry is not locked.
pub(super) fn renew(main: Server<'_>) {
    let old = writer().take();
    if let Err(why) = start(main) {
        let line = format!(
            "cannot start the process that writes the log of daemon processes: {why}; their lines come late"
        );
        log_server(main, Level::Error, line.as_bytes());
    }
    if let Some(old) = old {
        old.finish();
    }
}

/// Starts the process if it is missing, or writes what is here; called by the parent now and then.
pub(super) fn look_after(main: Server<'_>) {
    if writer().is_none() && start(main).is_err() {
        let mut buffer = vec![0; MAX_READ];
        for (reader, server) in &mut readers(main) {
            reader.pass_on(*server, &mut buffer);
            reader.finish(*server);
        }
    }
}

/// At the end of the parent, when the managers have exited: has the process write what is left, and waits for that.
pub(super) fn stop() {
    let Some(writer) = writer().take().filter(|it| it.owner == std::process::id()) else { return };
    let pid = writer.pid;
    writer.finish();
    if !sys::exits_before(pid, Instant::now() + STOP_TIMEOUT) {
        sys::kill(pid, libc::SIGKILL);
    }
}

/// In a child process of Apache's: the process is the parent's.
pub(super) fn forget() {
    *writer() = None;
}

impl LogWriter {
    /// Has the process write what is here and exit.
    fn finish(mut self) {
        // Where the byte cannot be written the process has exited.
        let _ = self.control.write_all(&[0]);
    }
}

impl OtherChild for ExitHandler {
    fn on_child_exit(pid: u32, number: i32) {
        let Some(exited) = writer().take_if(|writer| writer.pid == pid) else { return };
        let Some(main) = Server::main() else { return };
        let again = exited.started.elapsed() >= MIN_LIFETIME && start(main).is_ok();
        let next = if again { "; it is started again" } else { "" };
        let exit = daemon_program::exit_description(number);
        let line =
            format!("the process {pid} that writes the log of daemon processes {exit}{next}");
        log_server(main, Level::Error, line.as_bytes());
    }
}

/// The readers of all groups, and of those that have left the configuration and still stop, each with its log.
fn readers(main: Server<'_>) -> Vec<(LogReader, Server<'_>)> {
    let groups = groups();
    let retired = retired();
    let mut logs: Vec<(Arc<GroupLog>, Option<Arc<Board>>, Server<'_>)> = groups
        .iter()
        .chain(retired.iter().map(|it| &it.group))
        .map(|group| {
            let board = Some(Arc::clone(&group.board));
            (Arc::clone(&group.log), board, server_of(main, &group.definition))
        })
        .collect();
    for manager in stopping().iter() {
        if !logs.iter().any(|(log, ..)| Arc::ptr_eq(log, &manager.log)) {
            logs.push((Arc::clone(&manager.log), None, main));
        }
    }
    let readers =
        logs.into_iter().map(|(log, board, server)| Some((log.reader(board).ok()?, server)));
    readers.flatten().collect()
}

fn start(main: Server<'_>) -> io::Result<()> {
    let readers = readers(main);
    if readers.is_empty() {
        return Ok(());
    }
    let (commands, control) = io::pipe()?;
    let (mut started, ready) = io::pipe()?;
    let Some(pid) = sys::fork()? else {
        drop((control, started));
        // No panic may reach the parent's code, which would run on in this copy.
        guard((), || write_logs(readers, commands, ready));
        sys::exit_now(0);
    };
    drop(ready);
    // It takes a moment. A process that still had root's permissions or the sockets of the groups must not go on.
    let is_ready = sys::is_readable(started.as_fd(), START_TIMEOUT)
        && started.read(&mut [0]).is_ok_and(|count| count > 0);
    if !is_ready {
        sys::kill(pid, libc::SIGKILL);
        sys::wait_for_exit(pid);
        return Err(io::Error::other("it cannot take on the account of Apache's children"));
    }
    let pid = u32::try_from(pid).unwrap_or(0);
    let (started, owner) = (Instant::now(), std::process::id());
    *writer() = Some(LogWriter { pid, started, control, owner });
    ServerInfo::watch::<ExitHandler>(pid);
    Ok(())
}

/// In the new process: gives up what belongs to the parent, says so, and writes until it is told to end, or the parent
/// and all managers are gone.
fn write_logs(
    mut readers: Vec<(LogReader, Server<'_>)>,
    mut commands: PipeReader,
    mut ready: PipeWriter,
) {
    become_log_writer();
    if !drop_privileges() || ready.write_all(&[0]).is_err() {
        return;
    }
    drop(ready);
    let mut buffer = vec![0; MAX_READ];
    let mut has_parent = true;
    while has_parent || !readers.is_empty() {
        let mut descriptors: Vec<_> = readers.iter().map(|(reader, _)| reader.as_fd()).collect();
        descriptors.extend(has_parent.then(|| commands.as_fd()));
        let is_waiting = readers.iter().any(|(reader, _)| reader.has_unfinished_line());
        let ready = sys::wait_readable(&descriptors, is_waiting.then_some(UNFINISHED));
        let has_command = has_parent && ready.last() == Some(&true);
        if is_waiting && !ready.contains(&true) {
            readers.iter_mut().for_each(|(reader, server)| reader.finish(*server));
        }
        // After the command is known to be here: what managers wrote before it is read.
        readers.retain_mut(|(reader, server)| reader.pass_on(*server, &mut buffer));
        if has_command {
            if commands.read(&mut [0]).is_ok_and(|count| count > 0) {
                readers.iter_mut().for_each(|(reader, server)| reader.finish(*server));
                return;
            }
            has_parent = false;
        }
    }
}

/// Gives up what belongs to the parent, but for root's permissions.
fn become_log_writer() {
    sys::set_process_name(c"wsgi-log");
    // What signals say is said to the parent. A log that is a program may have exited.
    for signal in [
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGWINCH,
        libc::SIGPIPE,
    ] {
        sys::ignore_signal(signal);
    }
    sys::begin_session();
    ServerInfo::close_listeners();
    groups().clear();
    retired().clear();
    stopping().clear();
    // It is none of the children whose end is waited for.
    generation::forget();
    forget();
}

/// Takes on the account of Apache's children; whether that was possible.
fn drop_privileges() -> bool {
    let (uid, gid) = ServerInfo::account();
    !sys::is_root()
        || sys::set_groups(&[gid])
            .and_then(|()| sys::set_gid(gid))
            .and_then(|()| sys::set_uid(uid))
            .is_ok()
}
