//! The Python of a group: where it is to be, who reads it, and what is found there. It must never know a process that
//! runs.
#![forbid(unsafe_code)]

use super::daemon_program::{self, NoProgram};
use super::error::GroupError;
use crate::config::{DaemonProcess, ProcessOptions};
use crate::httpd::ServerInfo;
use crate::python_home::{Inspection, Reader, TimeBudget};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is to be examined before a group is started.
#[derive(Clone, Debug)]
pub(crate) struct Requirement {
    group: String,
    /// How the administrator named the home.
    named: String,
    /// The group's `python-home`, else `WSGIPythonHome`.
    home: Option<PathBuf>,
    reader: Reader,
    /// The directories of `python-path=`.
    path: Vec<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    /// The directory that workers start Python with.
    pub(crate) home: Option<PathBuf>,
    /// `wsgi-daemon-X.Y` for it.
    pub(crate) program: PathBuf,
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
            group: name,
            home: python.home.clone().or_else(of_server),
            reader: Reader {
                uid,
                gid,
                groups: own.supplementary_groups.clone(),
                chroot: own.chroot.clone(),
            },
            path: python.path.clone(),
        }
    }

    /// Examines the installation, with the permissions of the group's user.
    ///
    /// # Errors
    /// [`GroupError::Program`] and [`GroupError::Home`].
    pub(crate) fn examine(&self, budget: &mut TimeBudget) -> Result<Installation, GroupError> {
        let Some(home) = &self.home else {
            let program = self.program(None)?;
            let warnings = budget.spend(|limit| match self.path[..] {
                [] => Vec::new(),
                _ => Inspection::start(&self.named, Path::new("/"), &self.reader, limit)
                    .map(|mut inspection| self.path_warnings(&mut inspection))
                    .unwrap_or_default(),
            });
            return Ok(Installation { home: None, program, warnings });
        };
        budget.spend(|limit| {
            let mut inspection = Inspection::start(&self.named, home, &self.reader, limit)?;
            let installed = daemon_program::installed();
            let mut known: Vec<&str> = daemon_program::default_version().into_iter().collect();
            known.extend(installed.iter().rev().map(|(version, _)| version.as_str()));
            let found = inspection.find(&known)?;
            let program = self.program(found.version.as_deref())?;
            let version = found.version.as_deref().or(daemon_program::default_version());
            let prefixes = daemon_program::prefixes(version);
            let prefixes: Vec<&Path> = prefixes.iter().map(PathBuf::as_path).collect();
            let warning = inspection.check(&found, version.unwrap_or_default(), &prefixes)?;
            let mut warnings: Vec<String> = warning.into_iter().collect();
            warnings.extend(self.path_warnings(&mut inspection));
            Ok(Installation { home: Some(found.home), program, warnings })
        })
    }

    fn program(&self, version: Option<&str>) -> Result<PathBuf, NoProgram> {
        daemon_program::find(&self.group, version)
    }

    fn path_warnings(&self, inspection: &mut Inspection<'_>) -> Vec<String> {
        let named = format!("WSGIDaemonProcess {} python-path", self.group);
        missing_directories(&named, &self.path, inspection)
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
