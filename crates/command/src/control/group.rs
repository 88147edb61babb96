//! A process group, as the name of its socket shows it.

use super::connection::{self, Reply, Unanswered};
use group_config::AdminSocketName;
use serde_json::Value;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// A process group that a server has, or has had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    /// What the name of the socket says. The group itself is not asked, because its user could say anything; but for a name
    /// that is too long for a socket (see [`full_name`](Self::full_name)).
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

    /// The name for which a hash stands, which the group is asked for; `None` where none comes that has this hash. A manager
    /// that takes no connection just now is not waited for.
    pub(super) fn full_name(&self, limit: Duration) -> Option<Vec<u8>> {
        let reply = self.ask_within("GET", "/-/status", Duration::ZERO, limit).ok()?;
        let status: Value = serde_json::from_str(&reply.body).unwrap_or(Value::Null);
        let name = status["name"].as_str().unwrap_or_default().as_bytes();
        let hash = AdminSocketName::hashed(name)?;
        (hash.as_bytes() == self.name.group).then(|| name.to_vec())
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
        self.ask_within(method, target, limit, limit)
    }

    /// The same; a manager that takes no connection just now is waited for as long as `wait` only.
    pub(super) fn ask_within(
        &self,
        method: &str,
        target: &str,
        wait: Duration,
        limit: Duration,
    ) -> Result<Reply, Unanswered> {
        connection::ask(&self.path, method, target, wait, limit)
    }
}
