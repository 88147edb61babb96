//! What runs the workers of a group: the version of its Python decides (design decisions D2 and D9). And what of
//! Apache's environment a manager gets, and how its exit is described. It must never know a process that runs.
#![forbid(unsafe_code)]

use super::installed::{Installed, installed};
use crate::config::DaemonProcess;
use group_config::{Environment, PythonProgram};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What runs the workers of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerProgram {
    /// `wsgi-daemon-X.Y`, or the extension that `python` loads.
    pub(crate) file: PathBuf,
    /// The Python of the group, where that loads `file`.
    pub(crate) python: Option<PythonProgram>,
}

/// What a group needs is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoProgram {
    group: String,
    /// `X.Y` of the Python that the group needs.
    version: String,
    /// What is installed.
    installed: Vec<Installed>,
    /// Why the extension, which is installed, does not do.
    why: Option<&'static str>,
}

impl fmt::Display for NoProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, version, installed, why } = self;
        let of = |has: fn(&Installed) -> bool| {
            let versions = installed.iter().filter(|it| has(it)).map(|it| it.version.as_str());
            Some(versions.collect::<Vec<_>>().join(", ")).filter(|list| !list.is_empty())
        };
        if let Some(why) = why {
            let programs = of(|it| it.program.is_some());
            return write!(
                f,
                "WSGIDaemonProcess {group} needs wsgi-daemon-{version}, {why}, which is not installed beside the \
                 module (installed: {}); make daemon PYTHON=python{version} makes one",
                programs.as_deref().unwrap_or("none is installed"),
            );
        }
        write!(
            f,
            "WSGIDaemonProcess {group} needs the extension for Python {version}, which is not installed beside the \
             module (installed: {}); make build-python PYTHON=python{version} makes one",
            of(|_| true).as_deref().unwrap_or("none is installed"),
        )?;
        match installed.last() {
            Some(ours) => write!(
                f,
                ", or make the virtual environment of its python-home anew with python{} -m venv",
                ours.version
            ),
            None => Ok(()),
        }
    }
}

impl std::error::Error for NoProgram {}

impl NoProgram {
    /// Nothing is installed for Python `version`.
    fn new(group: &str, version: Option<&str>, installed: Vec<Installed>) -> Self {
        let version = version.or(default_version()).unwrap_or_default().to_owned();
        Self { group: group.to_owned(), version, installed, why: None }
    }
}

/// What is installed for Python `version` of group `group`; without a version, for that of the module's own Python.
///
/// # Errors
/// The version that is missing, and those that are installed.
pub(crate) fn find(group: &str, version: Option<&str>) -> Result<Installed, NoProgram> {
    let all = installed();
    let found = match version {
        Some(version) => all.iter().find(|it| it.version == version),
        None => all.iter().find(|it| default_version().is_none_or(|ours| it.version == ours)),
    };
    found.cloned().ok_or_else(|| NoProgram::new(group, version, all))
}

/// What runs the workers of `group`, of what is installed for the version of its Python: the extension, where that
/// Python is a program that its user can run, `executable`; or else the program that is linked to a library of Python,
/// which needs no other program.
///
/// # Errors
/// Where the extension cannot be used, and there is no such program.
pub(crate) fn choose(
    group: &DaemonProcess,
    found: &Installed,
    executable: Option<PathBuf>,
) -> Result<WorkerProgram, NoProgram> {
    let why = match (&found.extension, executable) {
        _ if group.config.identity.chroot.is_some() => "because of chroot=",
        (Some(extension), Some(executable)) => {
            let version = found.version.clone();
            let python = Some(PythonProgram { executable, version });
            let program = WorkerProgram { file: extension.clone(), python };
            if manager_beside(&program, group).is_some() {
                return Ok(program);
            }
            "because there is no wsgi-daemon-manager beside the module that all users can run"
        }
        _ => "because there is no bin/python that its user can run",
    };
    if let Some(program) = &found.program {
        return Ok(WorkerProgram { file: program.clone(), python: None });
    }
    let name = String::from_utf8_lossy(&group.name);
    let missing = NoProgram::new(&name, Some(&found.version), installed());
    Err(NoProgram { why: Some(why), ..missing })
}

/// The manager without Python, which runs `program` for its workers and spares the memory that Python's library
/// takes in each process; `None` where `program` has to manage as well: there is no manager beside it, one of the two
/// is not readable and executable for all users, or it could not be found again after `chroot`.
pub(crate) fn manager_beside(program: &WorkerProgram, group: &DaemonProcess) -> Option<PathBuf> {
    let manager = program.file.with_file_name("wsgi-daemon-manager");
    let has = |path: &Path, bits| path.metadata().is_ok_and(|it| it.mode() & bits == bits);
    let fits = group.config.identity.chroot.is_none()
        && has(&program.file, if program.python.is_some() { 0o004 } else { 0o005 })
        && has(&manager, 0o005);
    fits.then_some(manager)
}

/// The Python that the module is built for, or, of another version, one in the usual places.
pub(crate) fn default_python(version: &str) -> Option<PathBuf> {
    #[cfg(feature = "embedded")]
    if Some(version) == default_version() {
        return Some(PathBuf::from(host::BUILT_FOR)).filter(|path| path.is_file());
    }
    let folders = ["/usr/bin", "/usr/local/bin"].map(Path::new);
    let mut programs = folders.iter().map(|folder| folder.join(format!("python{version}")));
    programs.find(|path| path.is_file())
}

/// Whether the modes of a program, and of all directories above it, let every user run it: for most servers that is
/// known without a process of the group's user.
pub(crate) fn may_be_run_by_all(program: &Path) -> bool {
    let Ok(real) = program.canonicalize() else { return false };
    let both = program.ancestors().chain(real.ancestors());
    both.into_iter().all(|path| path.metadata().is_ok_and(|it| it.mode() & 0o001 != 0))
}

/// The version the module itself was built for; `None` where it has no Python in it.
pub(crate) fn default_version() -> Option<&'static str> {
    #[cfg(feature = "embedded")]
    return Some(host::PYTHON_VERSION);
    #[cfg(not(feature = "embedded"))]
    None
}

/// Where the program of Python `version` may find its library if a virtual environment does not lead to one: that of
/// the module's own Python is known, of others there are the usual places.
pub(crate) fn prefixes(version: Option<&str>) -> Vec<PathBuf> {
    #[cfg(feature = "embedded")]
    if version == default_version() {
        let prefix = Path::new(host::BUILT_FOR).parent().and_then(Path::parent);
        return prefix.into_iter().map(Path::to_owned).collect();
    }
    let _ = version;
    ["/usr", "/usr/local"].map(PathBuf::from).to_vec()
}

/// How a manager has exited, by the number that httpd has ([`crate::httpd::OtherChild`]): completes "its manager N …".
pub(crate) fn exit_description(number: i32) -> String {
    match number {
        // Its own exit codes, those of an exec that failed and of a panic. It ignores signal 1 and handles signal 2.
        0..=2 | 32..=127 => format!("ended with exit status {number}"),
        // A core dump sets bit 7.
        3..=31 | 131..=159 => format!("was killed by signal {}", number & 0x7f),
        256.. => format!("ended with exit status {}", number >> 8),
        _ => "is gone".to_owned(),
    }
}

/// The environment that a manager starts with, as root: nothing in it says what is loaded from where. What the
/// processes of its group inherit beside it is in their configuration.
pub(crate) fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| Environment::is_needed(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::{exit_description, may_be_run_by_all};
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_program_is_known_to_run_for_all_by_the_modes_above_it() {
        let root = std::env::temp_dir().join(format!("run-by-all-{}", std::process::id()));
        let closed = root.join("closed");
        std::fs::create_dir_all(&closed).unwrap();
        let program = closed.join("python");
        std::fs::write(&program, "").unwrap();
        symlink(&program, root.join("link")).unwrap();
        let chmod = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        chmod(&root, 0o755);
        let known = [(0o755, 0o755), (0o700, 0o755), (0o755, 0o644)].map(|(above, itself)| {
            chmod(&closed, above);
            chmod(&program, itself);
            may_be_run_by_all(&root.join("link"))
        });
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(known, [true, false, false]);
        assert!(!may_be_run_by_all(&root));
    }

    #[test]
    fn the_exit_of_a_manager_is_described_by_the_number_of_apr_or_of_the_kernel() {
        for (number, described) in [
            (0, "ended with exit status 0"),
            (1, "ended with exit status 1"),
            (101, "ended with exit status 101"),
            (127, "ended with exit status 127"),
            (9, "was killed by signal 9"),
            (11, "was killed by signal 11"),
            (11 | 0x80, "was killed by signal 11"),
            (1 << 8, "ended with exit status 1"),
            (127 << 8, "ended with exit status 127"),
            (-1, "is gone"),
        ] {
            assert_eq!(exit_description(number), described, "{number}");
        }
    }
}
