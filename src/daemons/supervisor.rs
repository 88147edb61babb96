//! In the Apache parent: one manager for each process group of the configuration, at start and at each restart. The
//! sockets belong to the parent and outlive restarts, so that a request always finds a listening socket (design
//! decisions D2, D8). It must never know a request.
#![forbid(unsafe_code)]

use super::check::is_group_error;
use super::daemon_program::WorkerProgram;
use super::error::GroupError;
use super::generation::ChildrenEnd;
use super::group_config::{Applications, configure};
use super::group_state::{AdminSocketError, GroupState, new_board, new_counters, server_of, slots};
use super::installation::{Installation, Requirement};
use super::log_writer;
use super::manager::Manager;
use super::monitor::start_unlogged;
use super::registry::{examined, groups, retired, stopping};
use super::retired::RetiredGroup;
use super::socket;
use crate::apr::Pool;
use crate::config::{DaemonProcess, ProcessOptions};
use crate::groups::{Board, GroupPlan};
use crate::httpd::{Server, ServerInfo, log_server};
use crate::python_home::TimeBudget;
use group_config::{GroupConfig, Identity};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    /// The end of the children of the configuration before.
    children: ChildrenEnd,
}

/// Brings the running groups in line with the configuration: starts new ones, gives changed ones a new
/// manager behind the same sockets, or new sockets too, replaces the workers of the others one by one, ends what has
/// left.
///
/// # Errors
/// What is wrong with a group. Where the server restarts there is none: such a group goes on as it was, and a new one is
/// left out.
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
    let children = match ChildrenEnd::of_previous().map_err(GroupError::Children) {
        Err(why) if has_started() => {
            let line =
                format!("{why}; sockets of groups that change stay open until a later restart");
            log_server(main, Level::Error, line.as_bytes());
            ChildrenEnd::of_current()
        }
        of_previous => of_previous?,
    };
    let reconciliation = Reconciliation { main, options, prefix: &prefix, applications, children };
    let mut kept = Vec::new();
    for definition in &options.daemon_processes {
        kept.extend(reconciliation.group(definition, &mut running)?);
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
    /// The group of `definition`: that of `running`, or a new one; `None` where a server that runs cannot have it.
    fn group(
        &self,
        definition: &DaemonProcess,
        running: &mut Vec<GroupState>,
    ) -> Result<Option<GroupState>, GroupError> {
        let at = running.iter().position(|group| group.definition.name == definition.name);
        let old = at.map(|at| running.swap_remove(at));
        let requirement = Requirement::new(definition, self.options);
        let examined = examined().remove(&definition.name);
        let installation =
            examined.unwrap_or_else(|| requirement.examine(&mut TimeBudget::exhausted()));
        let applications = (self.applications)(definition);
        match (applications, installation, old) {
            // Its manager has all it needs for what it was started with.
            (Err(why), _, Some(old)) | (_, Err(why), Some(old))
                if has_started() && old.manager.is_some() =>
            {
                Ok(Some(self.unchanged(old, &why)))
            }
            (Err(why), ..) if !has_started() => Err(why),
            (_, Err(why), _) if !has_started() && !is_group_error(definition) => Err(why),
            (Err(why), _, old) => self.blocked(definition, requirement, old, None, &why),
            (Ok(applications), Err(why), old) => {
                let config = self.configuration(definition, &applications, None);
                self.blocked(definition, requirement, old, Some(config), &why)
            }
            (Ok(applications), Ok(installation), old) => {
                let home = installation.home.clone();
                let config = self.configuration(definition, &applications, home);
                self.started(definition, requirement, old, config, installation)
            }
        }
    }

    fn configuration(
        &self,
        definition: &DaemonProcess,
        applications: &Applications<'_>,
        home: Option<PathBuf>,
    ) -> GroupConfig {
        let level = server_of(self.main, definition).log_level();
        configure(definition, self.options, applications, home, level, self.main.timeout())
    }

    /// A group that is started, or goes on with what has changed.
    fn started(
        &self,
        definition: &DaemonProcess,
        requirement: Requirement,
        mut old: Option<GroupState>,
        config: GroupConfig,
        installation: Installation,
    ) -> Result<Option<GroupState>, GroupError> {
        let replaced =
            old.take_if(|old| self.gets_successor(old, &config, Some(&installation.program)));
        let mut group = match group_or_new(old, definition, &requirement) {
            Ok(group) => group,
            Err(why) => return self.kept(replaced, why),
        };
        let former = group.state();
        let (sockets_changed, board) = match self.renew_sockets(&mut group, definition) {
            Ok(renewed) => renewed,
            // No reason to end a server: the group goes on as it was, if it was.
            Err(why) => return self.kept(replaced.or(Some(group)), why),
        };
        let mut changed = sockets_changed || group.config != config;
        self.set_configuration(&mut group, definition, requirement, config);
        changed |= group.set_installation(installation);
        let admin_changed = self.renew_admin_socket(&mut group);
        changed |= admin_changed;
        if !changed && group.manager.as_ref().is_some_and(Manager::has_begun) {
            group.refresh();
        } else if let Err(why) = replace_manager(&mut group, board) {
            if replaced.as_ref().is_some_and(|replaced| replaced.manager.is_some()) {
                return self.kept(replaced, why);
            }
            if group.manager.is_some() {
                group.restore(former);
                // Its manager knows nothing of another socket for commands.
                group.admin.take_if(|_| admin_changed);
                return self.kept(Some(group), why);
            }
            // It is tried again.
            log_server(self.main, Level::Alert, why.to_string().as_bytes());
        }
        self.retire(replaced);
        Ok(Some(group))
    }

    /// A group that cannot be started, because of `why`, until that is mended.
    fn blocked(
        &self,
        definition: &DaemonProcess,
        requirement: Requirement,
        mut old: Option<GroupState>,
        config: Option<GroupConfig>,
        why: &GroupError,
    ) -> Result<Option<GroupState>, GroupError> {
        let replaced = old
            .take_if(|old| self.gets_successor(old, config.as_ref().unwrap_or(&old.config), None));
        let mut group = match group_or_new(old, definition, &requirement) {
            Ok(group) => group,
            Err(why) => return self.kept(replaced, why),
        };
        match self.renew_sockets(&mut group, definition) {
            Ok((_, board)) => group.board = board,
            Err(why) => return self.kept(replaced.or(Some(group)), why),
        }
        let config = config.unwrap_or_else(|| group.config.clone());
        self.set_configuration(&mut group, definition, requirement, config);
        // Without a manager nothing answers there, until there is one.
        self.renew_admin_socket(&mut group);
        group.start_failures = 0;
        group.block(why);
        self.retire(replaced);
        Ok(Some(group))
    }

    /// Whether another group is to take the place of `old`, with sockets and a secret of its own.
    fn gets_successor(
        &self,
        old: &GroupState,
        config: &GroupConfig,
        program: Option<&WorkerProgram>,
    ) -> bool {
        self.options.socket_rotation || has_other_identity(old, config, program)
    }

    /// Has the children of the configuration before go on with a group that has a successor.
    fn retire(&self, replaced: Option<GroupState>) {
        let Some(mut group) = replaced else { return };
        // Its name is that of its successor.
        group.admin = None;
        retired().push(RetiredGroup { group, children: self.children.clone() });
    }

    /// Gives the group a socket for commands where it can have one; whether there is another than before. It is no reason
    /// to refuse anything.
    fn renew_admin_socket(&self, group: &mut GroupState) -> bool {
        group.renew_admin_socket(self.prefix).unwrap_or_else(|refused| {
            let AdminSocketError { path, why, had } = refused;
            let line = format!(
                "{} takes no commands of mod_wsgi_rs: cannot make the socket '{}': {why}",
                group.title(),
                path.display()
            );
            log_server(self.main, Level::Info, line.as_bytes());
            had
        })
    }

    fn set_configuration(
        &self,
        group: &mut GroupState,
        definition: &DaemonProcess,
        requirement: Requirement,
        config: GroupConfig,
    ) {
        group.definition = definition.clone();
        group.requirement = requirement;
        group.timeout = self.main.timeout();
        group.config = config;
    }

    /// Gives the group the sockets that it needs; whether there are other ones than before. With a scoreboard for another
    /// manager: the sizes may be others, and for a while there are two managers.
    ///
    /// # Errors
    /// Then nothing of the group has changed.
    fn renew_sockets(
        &self,
        group: &mut GroupState,
        definition: &DaemonProcess,
    ) -> Result<(bool, Arc<Board>), GroupError> {
        let had = group.sockets.len();
        let board = new_board(definition)?;
        let counters = (had != slots(definition)).then(|| new_counters(definition)).transpose()?;
        let changed = group.sockets.renew(self.main, self.prefix, definition, slots(definition))?;
        if let Some(counters) = counters {
            group.counters = counters;
        }
        Ok((changed || had != group.sockets.len(), board))
    }

    /// Where a running server cannot have a group as it is configured: the group as it was, if it was.
    fn kept(
        &self,
        group: Option<GroupState>,
        why: GroupError,
    ) -> Result<Option<GroupState>, GroupError> {
        if !has_started() {
            return Err(why);
        }
        // One that has just been made has none.
        let group = group.filter(|group| group.sockets.len() > 0);
        if group.is_none() {
            let line = format!("{why}; its requests are refused until a restart can set it up");
            log_server(self.main, Level::Error, line.as_bytes());
        }
        Ok(group.map(|group| self.unchanged(group, &why)))
    }

    /// A group that goes on as it was, because of `why`, which is logged.
    fn unchanged(&self, group: GroupState, why: &GroupError) -> GroupState {
        let line = format!("{why}; {} goes on as it was", group.title());
        log_server(self.main, Level::Error, line.as_bytes());
        let of_installation = matches!(why, GroupError::Home(_) | GroupError::Program(_));
        // Another worker could not start Python.
        if !of_installation || group.config.python.home.is_none() {
            group.refresh();
        }
        group
    }
}

/// A group that runs, or a new one.
fn group_or_new(
    old: Option<GroupState>,
    definition: &DaemonProcess,
    requirement: &Requirement,
) -> Result<GroupState, GroupError> {
    old.map_or_else(|| GroupState::new(definition, requirement.clone()), Ok)
}

/// Starts a manager, and then stops the one before, which otherwise goes on with the scoreboard that it has.
fn replace_manager(group: &mut GroupState, board: Arc<Board>) -> Result<(), GroupError> {
    let old = group.manager.take();
    // What kept the manager from starting may be gone.
    group.start_failures = 0;
    group.board = board;
    if let Err(why) = start_unlogged(group, Duration::ZERO) {
        group.manager = old;
        return Err(why);
    }
    if let Some(old) = old {
        stopping().push(old.stop());
    }
    Ok(())
}

/// Whether the processes of the group were other users' than those of `config`, or another program's; one that is not
/// known yet is another one. What they had, their successors must not have: a process that was left behind may hold a
/// socket, and knows the secret.
fn has_other_identity(
    group: &GroupState,
    config: &GroupConfig,
    program: Option<&WorkerProgram>,
) -> bool {
    let is_other_program = group.program.as_ref().is_some_and(|before| Some(before) != program);
    let is_other_user = !is_same_identity(&group.config.identity, &config.identity);
    group.sockets.len() > 0 && (is_other_program || is_other_user)
}

/// Whether processes with the one may do what those with the other may.
fn is_same_identity(one: &Identity, other: &Identity) -> bool {
    let permissions =
        |it: &Identity| (it.uid, it.gid, it.supplementary_groups.clone(), it.chroot.clone());
    permissions(one) == permissions(other)
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
    retired().clear();
    stopping().clear();
    log_writer::forget();
    sys::restore_descriptor_limit();
}

/// How many descriptors groups need in the parent: for each worker a socket and its file; for the group a
/// lifeline, the socket for commands and its file, a scoreboard, the cause of a failed start, what its manager reads, the two ends of a pipe, and while a manager starts or is replaced as many again. And what httpd itself opens.
fn descriptors(groups: &[DaemonProcess]) -> usize {
    groups.iter().map(|group| 2 * slots(group) + 15).sum::<usize>() + 128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_groups_and_chroot_make_the_identity() {
        let own = Identity { uid: Some(1), gid: Some(2), ..Identity::default() };
        let others = [
            Identity { uid: Some(3), ..own.clone() },
            Identity { gid: Some(3), ..own.clone() },
            Identity { supplementary_groups: Some(vec![3]), ..own.clone() },
            Identity { chroot: Some("/srv".into()), ..own.clone() },
        ];
        for other in &others {
            assert!(!is_same_identity(&own, other), "{other:?}");
        }
        let home = Identity { home: Some("/srv".into()), umask: Some(0o77), ..own.clone() };
        assert!(is_same_identity(&own, &home));
    }
}
