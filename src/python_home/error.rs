//! What is wrong with a Python installation. It must never know how that was found.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// What is wrong with a Python installation. `named` is how the administrator named it, a subject for the sentence.
#[derive(Debug)]
pub(crate) enum HomeError {
    /// The path cannot be examined.
    Inaccessible { named: String, home: PathBuf, why: io::Error },
    /// The file system did not answer in time.
    NoAnswer { named: String, home: PathBuf },
    /// The path is not that of a directory.
    NotADirectory { named: String, home: PathBuf },
    /// The directory is neither a virtual environment nor an installation of Python `version`.
    NoPython { named: String, home: PathBuf, version: String },
    /// `pyvenv.cfg` cannot be read.
    Settings { named: String, home: PathBuf, why: io::Error },
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
            Self::NoAnswer { named, home } => write!(
                f,
                "{named} names '{}', which cannot be looked at: its file system does not answer",
                home.display()
            ),
            Self::NotADirectory { named, home } => write!(
                f,
                "{named} names '{}', which is not a directory; it takes the directory of a virtual \
                 environment or the prefix of a Python installation",
                home.display()
            ),
            Self::NoPython { named, home, version } => write!(
                f,
                "{named} names '{}', which is neither a virtual environment (no pyvenv.cfg) nor the prefix of a \
                 Python {version} (no lib/python{version}/os.py)",
                home.display()
            ),
            Self::Settings { named, home, why } => {
                write!(
                    f,
                    "{named} names '{}', whose pyvenv.cfg cannot be read: {why}",
                    home.display()
                )
            }
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
