//! What httpd tells the parent while it runs: that a manager has exited, that it is time to look after those that
//! could not be started, that the parent ends. It must never know a configuration.
#![forbid(unsafe_code)]

use super::daemon_program;
use super::error::GroupError;
use super::group_state::GroupState;
use super::log_writer;
use super::registry::{groups, retired, stopping};
use crate::groups::{RequestCounters, ServerCounters};
use crate::httpd::{Monitor, OtherChild, Server, ServerInfo, log_server};
use std::time::{Duration, Instant};
use wsgi::Level;

/// Called by httpd when a child process of the parent has exited.
pub(super) struct ChildExitHandler;

/// Called by httpd in the parent, every ten seconds or so.
pub(crate) struct MonitorHook;

/// Ends every group when it is dropped, at the end of the parent.
pub(crate) struct ParentExitGuard;

/// Starts a manager for `group`, which waits for `delay` before it begins; whether it could be started. A failure is
/// logged and tried again: by [`MonitorHook`], or, if the manager exits, by [`ChildExitHandler`].
pub(super) fn start(group: &mut GroupState, main: Server<'_>, delay: Duration) -> bool {
    let started = start_unlogged(group, delay);
    if let Err(why) = &started {
        log_server(main, Level::Alert, why.to_string().as_bytes());
    }
    started.is_ok()
}

/// As [`start`], without a line of the log.
///
/// # Errors
/// [`GroupError::Manager`].
pub(super) fn start_unlogged(group: &mut GroupState, delay: Duration) -> Result<(), GroupError> {
    let pid = group.start(delay).map_err(|why| {
        let group = String::from_utf8_lossy(&group.definition.name).into_owned();
        GroupError::Manager { group, why }
    })?;
    ServerInfo::watch::<ChildExitHandler>(pid);
    Ok(())
}

impl OtherChild for ChildExitHandler {
    fn on_child_exit(pid: u32, number: i32) {
        let mut groups = groups();
        let is_manager =
            |group: &&mut GroupState| group.manager.as_ref().is_some_and(|it| it.pid == pid);
        let Some(group) = groups.iter_mut().find(is_manager) else {
            retired().iter_mut().for_each(|it| it.group.forget_manager(pid));
            stopping().retain(|it| it.pid != pid);
            return;
        };
        let exit = daemon_program::exit_description(number);
        group.record_exit(&exit);
        let Some(main) = Server::main() else { return };
        let delay = group.delay();
        let next = if start(group, main, delay) { "; it is started again" } else { "" };
        let line = format!("{}: its manager {pid} {exit}{next}", group.title());
        log_server(main, Level::Error, line.as_bytes());
    }
}

impl Monitor for MonitorHook {
    fn monitor(main: Server<'_>) {
        stop_unused();
        log_writer::look_after(main);
        take_copies();
        for group in groups().iter_mut().filter(|group| group.is_retry_due()) {
            let failures = group.start_failures;
            if !group.unblock() {
                continue;
            }
            if start(group, main, Duration::ZERO) {
                let title = group.title();
                let line = format!("{title}: manager started after {failures} failed attempts");
                log_server(main, Level::Notice, line.as_bytes());
            }
        }
    }
}

/// Has the status know what has become of requests in the last minute.
fn take_copies() {
    let groups = groups();
    let own = ServerCounters::get().map(|it| &it.embedded);
    groups.iter().map(GroupState::requests).chain(own).for_each(RequestCounters::take_copy);
}

/// Stops the retired groups that no child uses any more, and closes their sockets.
fn stop_unused() {
    for mut it in retired().extract_if(.., |it| it.children.has_come()) {
        if let Some(manager) = it.group.manager.take() {
            stopping().push(manager.stop());
        }
    }
}

impl Drop for ParentExitGuard {
    /// Waits for the groups to end, because what started httpd takes httpd's end for theirs (systemd kills what is
    /// left then), and has their last lines written.
    fn drop(&mut self) {
        let mut groups = groups();
        let mut retired = retired();
        let mut stopping = stopping();
        let mut ends = Vec::new();
        let all = groups.iter().chain(retired.iter().map(|it| &it.group));
        let own = all.filter(|group| group.owner == std::process::id());
        let managers = own.filter_map(|group| group.manager.as_ref());
        ends.extend(managers.map(|manager| (manager.pid, manager.stop_timeout())));
        groups.clear();
        retired.clear();
        for it in stopping.drain(..).filter(|it| it.owner == std::process::id()) {
            sys::kill(it.pid, libc::SIGTERM);
            ends.push((it.pid, it.stop_timeout));
        }
        let now = Instant::now();
        for (pid, stop_timeout) in ends {
            if !sys::exits_before(pid, now + stop_timeout) {
                sys::kill_session(pid);
            }
        }
        log_writer::stop();
    }
}
