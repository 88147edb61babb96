//! The listening socket of a daemon that is run without Apache.
#![forbid(unsafe_code)]

use group_config::GroupConfig;
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Why there is no listening socket.
#[derive(Debug)]
pub(crate) enum SocketError {
    /// Another process listens on the path.
    InUse(PathBuf),
    /// A system call has failed.
    System(PathBuf, io::Error),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(f, "another process listens on {}", path.display()),
            Self::System(path, why) => write!(f, "cannot listen on {}: {why}", path.display()),
        }
    }
}

/// Makes a socket file that only its owner can connect to, then gives it `mode`. It belongs to the user that the
/// daemon runs as.
///
/// # Errors
/// When another process listens there, or the file cannot be made.
pub(crate) fn create_socket(
    path: &Path,
    mode: u32,
    config: &GroupConfig,
) -> Result<OwnedFd, SocketError> {
    let failed = |why: io::Error| SocketError::System(path.to_owned(), why);
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        if UnixStream::connect(path).is_ok() {
            return Err(SocketError::InUse(path.to_owned()));
        }
        fs::remove_file(path).map_err(failed)?;
    }
    let listener = sys::bind_private(path).map_err(failed)?;
    sys::set_backlog(listener.as_fd(), config.limits.listen_backlog).map_err(failed)?;
    if config.identity.uid.is_some() {
        chown(path, config.identity.uid, config.identity.gid).map_err(failed)?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
    Ok(listener.into())
}
