//! The Python of a group: where it is to be, who reads it, and what is found there. It must never know a process that
//! runs.
#![forbid(unsafe_code)]

use super::daemon_program::{self, WorkerProgram};
use super::error::GroupError;
use super::installed::installed;
use crate::config::{DaemonProcess, ProcessOptions};
use crate::httpd::ServerInfo;
use crate::python_home::{Inspection, Reader, TimeBudget};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is to be examined before a group is started.
#[derive(Clone, Debug)]
pub(crate) struct Requirement {
    group: DaemonProcess,
    /// How the administrator named the home.
    named: String,
    /// The group's `python-home`, else `WSGIPythonHome`.
    home: Option<PathBuf>,
    reader: Reader,
    /// The directories of `python-path=`.
    path: Vec<PathBuf>,
    /// That of `home=`.
    directory: Option<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    /// The directory that workers start Python with.
    pub(crate) home: Option<PathBuf>,
    /// What runs its workers.
    pub(crate) program: WorkerProgram,
    /// What may be a mistake, in sentences.
    pub(crate) warnings: Vec<String>,
}

impl Requirement {
    /// What the configuration asks for.
    pub(crate) fn new(group: &DaemonProcess, options: &ProcessOptions) -> Self {
        let own = &group.config.identity;
        let (uid, gid) = if sys::is_root() {
            let (uid, gid) = ServerInfo::account();
            (own.uid.unwrap_or(uid), own.gid.unwrap_or(gid))
        } else {
            (sys::effective_uid(), sys::effective_gid())
        };
        let name = String::from_utf8_lossy(&group.name).into_owned();
        let python = &group.config.python;
        let of_server = || options.python_home.as_deref().map(OsStr::from_bytes).map(PathBuf::from);
        Self {
            named: if python.home.is_some() {
                format!("WSGIDaemonProcess {name} python-home")
            } else {
                "WSGIPythonHome".to_owned()
            },
            group: group.clone(),
            home: python.home.clone().or_else(of_server),
            reader: Reader {
                uid,
                gid,
                groups: own.supplementary_groups.clone(),
                chroot: own.chroot.clone(),
            },
            path: python.path.clone(),
            directory: own.home.clone(),
        }
    }

    /// Examines the installation, with the permissions of the group's user.
    ///
    /// # Errors
    /// [`GroupError::Program`] and [`GroupError::Home`].
    pub(crate) fn examine(&self, budget: &mut TimeBudget) -> Result<Installation, GroupError> {
        budget.spend(|limit| match &self.home {
            Some(home) => self.examine_home(home, limit),
            None => self.examine_default(limit),
        })
    }

    /// The installation that the group, or the server, names.
    fn examine_home(&self, home: &Path, limit: Duration) -> Result<Installation, GroupError> {
        let mut inspection = Inspection::start(&self.named, home, &self.reader, limit)?;
        let installed = installed();
        let mut known: Vec<&str> = daemon_program::default_version().into_iter().collect();
        known.extend(installed.iter().rev().map(|it| it.version.as_str()));
        let found = inspection.find(&known)?;
        let programs = daemon_program::find(&self.name(), found.version.as_deref())?;
        let version = found.version.as_deref().or(daemon_program::default_version());
        let is_linked = programs.program.is_some();
        let own = inspection.check(&found, version.unwrap_or_default(), &[]);
        // The environment's own Python needs its own library; only a linked program knows another one.
        let (warning, python) = match own {
            Ok(warning) => (warning, inspection.program(&found, &programs.version, !is_linked)),
            Err(why) if !is_linked => return Err(why.into()),
            Err(_) => {
                let prefixes = daemon_program::prefixes(version);
                let prefixes: Vec<&Path> = prefixes.iter().map(PathBuf::as_path).collect();
                (inspection.check(&found, version.unwrap_or_default(), &prefixes)?, None)
            }
        };
        let program = daemon_program::choose(&self.group, &programs, python)?;
        let mut warnings: Vec<String> = warning.into_iter().collect();
        warnings.extend(self.directory_warnings(&mut inspection));
        Ok(Installation { home: Some(found.home), program, warnings })
    }

    /// The Python of the module, which is the administrator's.
    fn examine_default(&self, limit: Duration) -> Result<Installation, GroupError> {
        let programs = daemon_program::find(&self.name(), None)?;
        let python = daemon_program::default_python(&programs.version);
        // Without another program the question has no answer that would help.
        let is_known = programs.program.is_none()
            || python.as_deref().is_none_or(daemon_program::may_be_run_by_all);
        let mut inspection = match (is_known, &self.path[..], &self.directory) {
            (true, [], None) => None,
            _ => Inspection::start(&self.named, Path::new("/"), &self.reader, limit).ok(),
        };
        let python = python.filter(|python| {
            is_known || inspection.as_mut().is_some_and(|it| it.may_execute(python))
        });
        let program = daemon_program::choose(&self.group, &programs, python)?;
        let warnings = inspection.as_mut().map(|it| self.directory_warnings(it));
        Ok(Installation { home: None, program, warnings: warnings.unwrap_or_default() })
    }

    fn name(&self) -> String {
        String::from_utf8_lossy(&self.group.name).into_owned()
    }

    /// Those of `python-path=` and `home=` that are not there.
    fn directory_warnings(&self, inspection: &mut Inspection<'_>) -> Vec<String> {
        let named = |option| format!("WSGIDaemonProcess {} {option}", self.name());
        let mut warnings = missing_directories(&named("python-path"), &self.path, inspection);
        warnings.extend(missing_directories(&named("home"), self.directory.as_slice(), inspection));
        warnings
    }
}

/// A sentence for each of `paths` that does not exist. A relative path depends on where a process runs.
pub(crate) fn missing_directories(
    named: &str,
    paths: &[PathBuf],
    inspection: &mut Inspection<'_>,
) -> Vec<String> {
    let absolute: Vec<PathBuf> = paths.iter().filter(|path| path.is_absolute()).cloned().collect();
    let missing = inspection.missing(&absolute);
    missing
        .iter()
        .map(|path| format!("{named} names '{}', which does not exist", path.display()))
        .collect()
}
