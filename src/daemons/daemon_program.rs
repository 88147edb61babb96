//! Which `wsgi-daemon-X.Y` runs a group: the version of its Python decides (design decision D2). And what of Apache's
//! environment it gets, and how its exit is described. It must never know a process that runs.
#![forbid(unsafe_code)]

use crate::config::DaemonProcess;
use group_config::Environment;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The program that a group needs is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoProgram {
    group: String,
    /// `X.Y` of the Python that the group needs.
    version: String,
    /// The versions that are installed.
    installed: Vec<String>,
}

impl fmt::Display for NoProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, version, installed } = self;
        let none = ["none is installed".to_owned()];
        let installed = if installed.is_empty() { &none[..] } else { installed };
        write!(
            f,
            "WSGIDaemonProcess {group} needs wsgi-daemon-{version}, which is not installed beside the module \
             (installed: {}); make build PYTHON=python{version} makes one",
            installed.join(", ")
        )?;
        match self.installed.last() {
            Some(ours) => write!(
                f,
                ", or make the virtual environment of its python-home anew with python{ours} -m venv"
            ),
            None => Ok(()),
        }
    }
}

impl std::error::Error for NoProgram {}

/// The program for Python `version` of group `group`; without a version, that of the module's own Python.
///
/// # Errors
/// The version that is missing, and those that are installed.
pub(crate) fn find(group: &str, version: Option<&str>) -> Result<PathBuf, NoProgram> {
    let installed = installed();
    let found = match version {
        Some(version) => installed.iter().find(|(it, _)| it == version),
        None => installed.iter().find(|(it, _)| default_version().is_none_or(|ours| it == ours)),
    };
    if let Some((_, program)) = found {
        return Ok(program.clone());
    }
    let installed = installed.into_iter().map(|(version, _)| version).collect();
    let version = version.or(default_version()).unwrap_or_default().to_owned();
    Err(NoProgram { group: group.to_owned(), version, installed })
}

/// The manager without Python, which runs `program` for its workers and spares the memory that Python's library
/// takes in each process; `None` where `program` has to manage as well: there is no manager beside it, one of the two
/// is not readable and executable for all users, or it could not be found again after `chroot`.
pub(crate) fn manager_beside(program: &Path, group: &DaemonProcess) -> Option<PathBuf> {
    let manager = program.with_file_name("wsgi-daemon-manager");
    let is_open_to_all = |path: &Path| path.metadata().is_ok_and(|it| it.mode() & 0o005 == 0o005);
    let fits = group.config.identity.chroot.is_none()
        && is_open_to_all(program)
        && is_open_to_all(&manager);
    fits.then_some(manager)
}

/// The programs that are installed, by version.
pub(crate) fn installed() -> Vec<(String, PathBuf)> {
    let anchor: fn(&str, Option<&str>) -> Result<PathBuf, NoProgram> = find;
    let beside =
        sys::loaded_from(anchor as *const ()).and_then(|file| Some(file.parent()?.to_owned()));
    let folders = beside.into_iter().chain(
        ["/usr/libexec/mod_wsgi_rs", "/usr/lib/mod_wsgi_rs", "/usr/local/libexec/mod_wsgi_rs"]
            .map(PathBuf::from),
    );
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix("wsgi-daemon-"));
            if let Some(version) = version
                && version.starts_with(|first: char| first.is_ascii_digit())
                && is_program(&entry.path())
                && !found.iter().any(|(known, _)| known == version)
            {
                found.push((version.to_owned(), entry.path()));
            }
        }
    }
    found.sort();
    found
}

/// Whether a file can be run, unlike what an interrupted installation left behind.
fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
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
    use super::exit_description;

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
