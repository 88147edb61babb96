//! The listening sockets of one group, by slot. It must never know a process.
#![forbid(unsafe_code)]

use super::error::GroupError;
use super::socket::Socket;
use crate::config::DaemonProcess;
use crate::httpd::{Server, ServerInfo, log_server};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wsgi::Level;

/// A socket for each worker. A copy has the same sockets, which are closed with the last one.
#[derive(Clone, Default)]
pub(super) struct GroupSockets {
    sockets: Vec<Arc<Socket>>,
}

impl GroupSockets {
    pub(super) const fn len(&self) -> usize {
        self.sockets.len()
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.sockets.iter().map(|socket| socket.path().to_owned()).collect()
    }

    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        self.sockets.iter().map(|socket| socket.as_raw_fd()).collect()
    }

    /// Makes the sockets that are missing, of `slots`; whether there were any. Those that exist stay, so that
    /// children of the configuration before still reach them, except for those whose file has been removed, and
    /// those that a process of the group has shut down.
    ///
    /// # Errors
    /// [`GroupError::Socket`]; then all sockets stay as they were.
    pub(super) fn renew(
        &mut self,
        main: Server<'_>,
        prefix: &Path,
        definition: &DaemonProcess,
        slots: usize,
    ) -> Result<bool, GroupError> {
        let owner = definition.forwarding.socket_user.unwrap_or_else(|| ServerInfo::account().0);
        let owner = sys::is_root().then_some(owner);
        let backlog = definition.config.limits.listen_backlog;
        let group = String::from_utf8_lossy(&definition.name);
        let refuse = |path: &Path, why: io::Error| {
            let (path, group) = (path.to_owned(), group.clone().into_owned());
            GroupError::Socket { path, group, why }
        };
        let mut made = Vec::new();
        for slot in 0..slots {
            let old = self.sockets.get(slot);
            if let Some(socket) = old.filter(|socket| socket.has_file() && !socket.is_shut_down()) {
                socket
                    .set_backlog_and_owner(backlog, owner)
                    .map_err(|why| refuse(socket.path(), why))?;
                continue;
            }
            let new =
                Socket::new(prefix, backlog, owner).map_err(|(path, why)| refuse(&path, why))?;
            if let Some(old) = old {
                let what = if old.has_file() { "shut down" } else { "removed" };
                let line = format!(
                    "daemon process group '{group}': its socket '{}' has been {what}; '{}' takes its \
                     place, with new processes",
                    old.path().display(),
                    new.path().display()
                );
                log_server(main, Level::Warning, line.as_bytes());
            }
            made.push((slot, Arc::new(new)));
        }
        let changed = !made.is_empty();
        self.sockets.truncate(slots);
        for (slot, new) in made {
            match self.sockets.get_mut(slot) {
                Some(old) => *old = new,
                None => self.sockets.push(new),
            }
        }
        Ok(changed)
    }
}
