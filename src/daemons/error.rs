//! Why a process group cannot be run as it is configured. It must never know what becomes of the server then.
#![forbid(unsafe_code)]

use super::daemon_program::NoProgram;
use super::warm_up::WarmUpError;
use crate::python_home::HomeError;
use group_config::Invalid;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// What is wrong with a group, in one sentence for the error log.
#[derive(Debug)]
pub(crate) enum GroupError {
    /// The program that the group needs is not installed.
    Program(NoProgram),
    /// The group's Python installation cannot be used.
    Home(HomeError),
    /// No application answers the request of `warm-up=`.
    WarmUp(WarmUpError),
    /// The options of the group contradict each other, or the rest of the configuration.
    Options { group: String, why: Invalid },
    /// The system gives no random bytes for the group's secret.
    Random(io::Error),
    /// The system gives no shared memory.
    Memory { what: &'static str, group: String, why: io::Error },
    /// There is no pipe that shows the end of Apache's children.
    Children(io::Error),
    /// A listening socket cannot be made.
    Socket { path: PathBuf, group: String, why: io::Error },
    /// A manager cannot be started.
    Manager { group: String, why: io::Error },
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(why) => why.fmt(f),
            Self::Home(why) => why.fmt(f),
            Self::WarmUp(why) => why.fmt(f),
            Self::Options { group, why } => write!(f, "WSGIDaemonProcess {group}: {why}"),
            Self::Random(why) => {
                write!(f, "WSGI0013: cannot read /dev/urandom: {why}{}", descriptors_hint(why))
            }
            Self::Children(why) => {
                write!(f, "WSGI0013: cannot make a pipe: {why}{}", descriptors_hint(why))
            }
            Self::Manager { group, why } => {
                write!(f, "WSGI0024: cannot start daemon process group '{group}': {why}")
            }
            Self::Memory { what, group, why } => write!(
                f,
                "WSGI0013: no memory for {what} of daemon process group '{group}': {why}{}",
                descriptors_hint(why)
            ),
            Self::Socket { path, group, why } => {
                let hint = match descriptors_hint(why) {
                    "" => " (WSGISocketPrefix says where sockets go)",
                    hint => hint,
                };
                let path = path.display();
                write!(
                    f,
                    "WSGI0013: cannot make the socket '{path}' of daemon process group '{group}': {why}{hint}"
                )
            }
        }
    }
}

/// What to do where descriptors are short.
fn descriptors_hint(why: &io::Error) -> &'static str {
    match why.raw_os_error() {
        Some(libc::EMFILE) => " (ulimit -n: two for each process of each group, and some more)",
        _ => "",
    }
}

impl std::error::Error for GroupError {}

impl From<NoProgram> for GroupError {
    fn from(why: NoProgram) -> Self {
        Self::Program(why)
    }
}

impl From<HomeError> for GroupError {
    fn from(why: HomeError) -> Self {
        Self::Home(why)
    }
}

impl From<WarmUpError> for GroupError {
    fn from(why: WarmUpError) -> Self {
        Self::WarmUp(why)
    }
}
