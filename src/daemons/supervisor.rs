//! In the Apache parent: one manager for each process group of the configuration, at start and at each restart. The
//! sockets belong to the parent and outlive restarts, so that a request always finds a listening socket (design
//! decisions D2, D8). It must never know a request.
#![forbid(unsafe_code)]

use super::check::is_group_error;
use super::daemon_program;
use super::error::GroupError;
use super::group_config::{Applications, configure};
use super::group_state::{GroupState, new_board, new_in_flight, server_of, slots};
use super::log_writer;
use super::monitor::start;
use super::registry::{groups, stopping};
use super::socket;
use crate::apr::Pool;
use crate::config::{DaemonProcess, ProcessOptions};
use crate::groups::GroupPlan;
use crate::httpd::{Server, ServerInfo, log_server};
use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wsgi::Level;

/// What the configuration puts into a group.
type ApplicationsOf<'f, 'a> = &'f dyn Fn(&DaemonProcess) -> Result<Applications<'a>, GroupError>;

/// The configuration that the groups are brought in line with.
struct Reconciliation<'r, 'a> {
    main: Server<'r>,
    options: &'r ProcessOptions,
    /// How the paths of sockets begin.
    prefix: &'r Path,
    applications: ApplicationsOf<'r, 'a>,
}

/// Brings the running groups in line with the configuration: starts new ones, gives changed ones a new
/// manager behind the same sockets, replaces the workers of the others one by one, ends what has left.
///
/// # Errors
/// What is wrong with a group. Where the server restarts, sockets that cannot be made and programs that are missing are
/// logged instead.
pub(crate) fn reconcile<'a>(
    configuration: Pool<'_>,
    main: Server<'_>,
    options: &ProcessOptions,
    applications: ApplicationsOf<'_, 'a>,
) -> Result<(), GroupError> {
    let mut running = groups();
    let prefix = options.socket_prefix.as_deref().map_or_else(
        || ServerInfo::runtime_file(configuration, c"wsgi"),
        |prefix| PathBuf::from(OsStr::from_bytes(prefix)),
    );
    if running.is_empty() {
        socket::remove_orphans(&prefix);
    }
    sys::raise_descriptor_limit(descriptors(&options.daemon_processes));
    let reconciliation = Reconciliation { main, options, prefix: &prefix, applications };
    let mut kept = Vec::new();
    for definition in &options.daemon_processes {
        kept.push(reconciliation.group(definition, &mut running)?);
    }
    for manager in running.iter_mut().filter_map(|group| group.manager.take()) {
        stopping().push(manager.stop());
    }
    *running = kept;
    drop(running);
    log_writer::renew(main);
    STARTED.store(true, Ordering::Relaxed);
    Ok(())
}

impl Reconciliation<'_, '_> {
    /// The group of `definition`: that of `running`, or a new one.
    fn group(
        &self,
        definition: &DaemonProcess,
        running: &mut Vec<GroupState>,
    ) -> Result<GroupState, GroupError> {
        let at = running.iter().position(|group| group.definition.name == definition.name);
        let program = daemon_program::find(definition, self.options);
        match (&program, at) {
            // Its workers are forked from a manager that runs: the group goes on as it was.
            (Err(why), Some(at)) if has_started() => {
                return Ok(self.unchanged(running.swap_remove(at), why));
            }
            (Err(why), _) if !has_started() && !is_group_error(definition) => {
                return Err(why.clone().into());
            }
            _ => {}
        }
        let home = server_of(self.main, definition);
        let applications = (self.applications)(definition)?;
        let config = configure(
            definition,
            self.options,
            &applications,
            home.log_level(),
            self.main.timeout(),
        );
        let mut group = match at {
            Some(at) => running.swap_remove(at),
            None => GroupState::new(definition, program.clone())?,
        };
        let resized = group.sockets.len() != slots(definition) && at.is_some();
        let changed = group.sockets.renew(self.main, self.prefix, definition, slots(definition));
        let sockets_changed = match changed {
            Ok(changed) => changed,
            // No reason to end a server: the group goes on as it was, if it was.
            Err(why) if has_started() => return Ok(self.unchanged(group, &why)),
            Err(why) => return Err(why),
        };
        if resized {
            group.in_flight = new_in_flight(definition)?;
        }
        let changed = sockets_changed || group.config != config || group.program != program;
        group.definition = definition.clone();
        group.timeout = self.main.timeout();
        group.config = config;
        group.program = program;
        if !changed && group.manager.is_some() {
            group.refresh();
        } else {
            self.replace_manager(&mut group)?;
        }
        Ok(group)
    }

    /// A group that goes on as it was, because of `why`, which is logged.
    fn unchanged(&self, group: GroupState, why: &dyn Display) -> GroupState {
        log_server(self.main, Level::Error, why.to_string().as_bytes());
        group.refresh();
        group
    }

    /// Starts a manager, and then stops the one before.
    fn replace_manager(&self, group: &mut GroupState) -> Result<(), GroupError> {
        let old = group.manager.take();
        // What kept the manager from starting may be gone.
        group.start_failures = 0;
        // The sizes may be others, and for a while there are two managers.
        group.board = new_board(&group.definition)?;
        start(group, self.main, Duration::ZERO);
        if let Some(old) = old {
            stopping().push(old.stop());
        }
        Ok(())
    }
}

/// Whether the server has been started: after that nothing that is checked ends it.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Whether the server runs already: from then on nothing that is checked ends it.
pub(crate) fn has_started() -> bool {
    STARTED.load(Ordering::Relaxed)
}

/// What the children of this configuration need to know of the groups.
pub(crate) fn plans() -> Vec<GroupPlan> {
    groups().iter().map(GroupState::plan).collect()
}

/// In a child process: closes what belongs to the parent.
pub(crate) fn forget_in_child() {
    groups().clear();
    stopping().clear();
    log_writer::forget();
    sys::restore_descriptor_limit();
}

/// How many descriptors groups need in the parent: for each worker a socket and its file; for the group a
/// lifeline, a scoreboard, the two ends of a pipe, and while a manager starts or is replaced as many again. And what httpd itself opens.
fn descriptors(groups: &[DaemonProcess]) -> usize {
    groups.iter().map(|group| 2 * slots(group) + 8).sum::<usize>() + 128
}
