//! A process group, as the name of its socket shows it.

use super::connection::{self, Reply, Unanswered};
use group_config::AdminSocketName;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// A process group that a server has, or has had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    /// What the name of the socket says. The group itself is not asked, because its user could say anything.
    pub(crate) name: AdminSocketName,
    /// The socket.
    pub(crate) path: PathBuf,
}

impl Group {
    /// That of a file; `None` where it is no socket for commands.
    pub(crate) fn of_file(path: PathBuf) -> Option<Self> {
        let name = AdminSocketName::parse(path.file_name()?.as_bytes())?;
        Some(Self { name, path })
    }

    /// The name for people.
    pub(crate) fn name(&self) -> String {
        String::from_utf8_lossy(&self.name.group).into_owned()
    }

    /// Sends a request, as in `GET /-/status`, and gives the answer.
    pub(crate) fn ask(
        &self,
        method: &str,
        target: &str,
        limit: Duration,
    ) -> Result<Reply, Unanswered> {
        connection::ask(&self.path, method, target, limit)
    }
}
