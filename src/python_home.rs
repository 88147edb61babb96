//! Checks of a Python installation before a process is started with it, with the permissions of the user whose
//! processes read it. An error is one sentence at `apachectl configtest`, not a process that exits again and again
//! ("No module named 'encodings'"). This file must never know which process will use the installation.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The user that must be able to read the files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The supplementary groups, where they are not those that the system has for the user.
    pub(crate) groups: Option<&'a [u32]>,
}

/// The home to start Python with: `…/bin/python` stands for the directory that contains `bin`.
pub(crate) fn normalised(home: &Path) -> PathBuf {
    let is_program = home.is_file()
        && home.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python"));
    match home.parent() {
        Some(bin) if is_program && bin.ends_with("bin") => bin.parent().unwrap_or(home).to_owned(),
        _ => home.to_owned(),
    }
}

/// The settings that make a directory a virtual environment (`pyvenv.cfg`). The paths in it need not be UTF-8.
pub(crate) fn settings_of(home: &Path) -> io::Result<String> {
    let settings = std::fs::read(home.join("pyvenv.cfg"))?;
    Ok(String::from_utf8_lossy(&settings).into_owned())
}

/// What is wrong with a Python installation. `named` is how the administrator named it, a subject for the sentence.
#[derive(Debug)]
pub(crate) enum HomeError {
    /// The path cannot be examined.
    Inaccessible { named: String, home: PathBuf, why: io::Error },
    /// The path is not that of a directory.
    NotADirectory { named: String, home: PathBuf },
    /// The directory is neither a virtual environment nor an installation of Python `version`.
    NoPython { named: String, home: PathBuf, version: String },
    /// The virtual environment is for another Python than `version`.
    OtherVersion { named: String, home: PathBuf, theirs: String, version: String },
    /// The user cannot enter `path`, at or above `directory`.
    Unreadable { named: String, directory: PathBuf, user: String, path: PathBuf, mode: u32 },
}

impl fmt::Display for HomeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inaccessible { named, home, why } => {
                write!(f, "{named} names '{}', which cannot be looked at: {why}", home.display())
            }
            Self::NotADirectory { named, home } => write!(
                f,
                "{named} names '{}', which is not a directory; it takes the directory of a virtual \
                 environment or the prefix of a Python installation",
                home.display()
            ),
            Self::NoPython { named, home, version } => write!(
                f,
                "{named} names '{}', which is neither a virtual environment (no pyvenv.cfg) nor the prefix of a \
                 Python {version} (no lib/python{version})",
                home.display()
            ),
            Self::OtherVersion { named, home, theirs, version } => write!(
                f,
                "{named} names '{}', a virtual environment for Python {theirs}, but this module was \
                 built for Python {version}: make it anew with python{version} -m venv, or build the module \
                 with PYTHON=python{theirs}",
                home.display()
            ),
            Self::Unreadable { named, directory, user, path, mode } => write!(
                f,
                "{named} lies in '{}', which {user} cannot read: '{}' has mode {mode:04o}",
                directory.display(),
                path.display()
            ),
        }
    }
}

impl std::error::Error for HomeError {}

/// Checks `home` for Python `version` (such as `3.11`). `named` is how the administrator named it.
///
/// # Errors
/// The path and what is wrong with it.
pub(crate) fn check(
    named: &str,
    home: &Path,
    version: &str,
    reader: Reader<'_>,
) -> Result<(), HomeError> {
    let (name, path) = (|| named.to_owned(), || home.to_owned());
    let metadata = home.metadata().map_err(|why| HomeError::Inaccessible {
        named: name(),
        home: path(),
        why,
    })?;
    if !metadata.is_dir() {
        return Err(HomeError::NotADirectory { named: name(), home: path() });
    }
    readable(named, home, reader)?;
    match settings_of(home) {
        Ok(settings) => check_venv(named, home, &settings, version, reader),
        Err(_) => check_prefix(named, home, version),
    }
}

/// Checks the installation that the module was built for, which is used where the configuration names no other.
pub(crate) fn check_default(
    program: &Path,
    version: &str,
    reader: Reader<'_>,
) -> Result<(), HomeError> {
    let named = format!("the module was built for Python {version}, which");
    match program.parent().and_then(Path::parent) {
        Some(prefix) if program.is_file() => readable(&named, prefix, reader),
        _ => Ok(()),
    }
}

fn check_venv(
    named: &str,
    home: &Path,
    settings: &str,
    version: &str,
    reader: Reader<'_>,
) -> Result<(), HomeError> {
    let shown = home.display();
    if let Some(theirs) = venv_version(home, settings).filter(|theirs| theirs != version) {
        let (named, home, version) = (named.to_owned(), home.to_owned(), version.to_owned());
        return Err(HomeError::OtherVersion { named, home, theirs, version });
    }
    if let Some(base) = setting(settings, "home") {
        let named = format!("{named} names '{shown}', a virtual environment of a Python that");
        readable(&named, Path::new(base), reader)?;
    }
    Ok(())
}

fn check_prefix(named: &str, home: &Path, version: &str) -> Result<(), HomeError> {
    let library = format!("python{version}");
    let found = ["lib", "lib64"].iter().any(|lib| home.join(lib).join(&library).is_dir());
    if found {
        return Ok(());
    }
    let (named, home, version) = (named.to_owned(), home.to_owned(), version.to_owned());
    Err(HomeError::NoPython { named, home, version })
}

/// Checks that the reader can enter the directory and each above it.
fn readable(named: &str, directory: &Path, reader: Reader<'_>) -> Result<(), HomeError> {
    let mut above: Vec<&Path> = directory.ancestors().collect();
    above.reverse();
    for path in above {
        let Ok(metadata) = path.metadata() else { continue };
        let bits = if reader.uid == 0 {
            0o7
        } else if metadata.uid() == reader.uid {
            metadata.mode() >> 6
        } else if metadata.gid() == reader.gid {
            metadata.mode() >> 3
        } else {
            metadata.mode()
        };
        // The mode does not decide alone: there are supplementary groups, and access control lists.
        let closed = bits & 0o1 == 0;
        if closed
            && !(sys::is_root()
                && sys::has_search_permission(path, reader.uid, reader.gid, reader.groups))
        {
            return Err(HomeError::Unreadable {
                named: named.to_owned(),
                directory: directory.to_owned(),
                user: sys::user_name(reader.uid),
                path: path.to_owned(),
                mode: metadata.mode() & 0o7777,
            });
        }
    }
    Ok(())
}

/// The version of a virtual environment with these settings, such as `3.11` or `3.14t`.
pub(crate) fn venv_version(home: &Path, settings: &str) -> Option<String> {
    let whole = setting(settings, "version").or_else(|| setting(settings, "version_info"))?;
    let version = whole.split('.').take(2).collect::<Vec<_>>().join(".");
    // A free-threaded Python shows in the name of the library's directory, not in the settings.
    let free_threaded = home.join(format!("lib/python{version}t")).is_dir();
    Some(if free_threaded { version + "t" } else { version })
}

fn setting<'a>(settings: &'a str, name: &str) -> Option<&'a str> {
    settings.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const NOBODY: Reader<'_> = Reader { uid: 65534, gid: 65534, groups: None };

    /// A scratch directory that everybody can enter.
    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mod_wsgi_rs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_home_is_a_virtual_environment_of_our_version_or_a_prefix() {
        let home = scratch("home");
        let check = |home: &Path| check("WSGIPythonHome", home, "3.11", NOBODY);
        let refusal = |home: &Path| check(home).unwrap_err().to_string();
        assert!(refusal(&home).contains("neither a virtual environment"));
        fs::create_dir_all(home.join("lib/python3.11")).unwrap();
        assert!(check(&home).is_ok());
        fs::write(home.join("pyvenv.cfg"), "home = /usr/bin\nversion = 3.11.2\n").unwrap();
        assert!(check(&home).is_ok());
        fs::write(home.join("pyvenv.cfg"), "home = /usr/bin\nversion = 3.13.0\n").unwrap();
        assert!(
            refusal(&home).contains("for Python 3.13, but this module was built for Python 3.11")
        );
        fs::create_dir_all(home.join("lib/python3.11t")).unwrap();
        fs::write(home.join("pyvenv.cfg"), "home = /usr/bin\nversion_info = 3.11.2\n").unwrap();
        assert!(refusal(&home).contains("for Python 3.11t, but this module"));
        assert!(refusal(&home.join("none")).contains("cannot be looked at"));
        assert!(refusal(&home.join("pyvenv.cfg")).contains("is not a directory"));
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn a_home_must_be_open_to_the_user_apache_runs_as() {
        let home = scratch("closed");
        let inner = home.join("venv");
        fs::create_dir_all(inner.join("lib/python3.11")).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        let why = check("WSGIPythonHome", &inner, "3.11", NOBODY).unwrap_err().to_string();
        assert!(why.contains("cannot read") && why.contains("0700"), "{why}");
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn a_program_stands_for_its_installation() {
        let home = scratch("program");
        fs::create_dir_all(home.join("bin")).unwrap();
        fs::write(home.join("bin/python3"), "").unwrap();
        assert_eq!(normalised(&home.join("bin/python3")), home);
        assert_eq!(normalised(&home), home);
        fs::remove_dir_all(home).unwrap();
    }
}
