//! The listening socket of a daemon that is run without Apache.
#![forbid(unsafe_code)]

use group_config::{GroupConfig, Identity};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use sys::SocketFile;

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

/// How long a process that listens on the path may still take to exit.
const LEAVING: Duration = Duration::from_secs(1);

/// Makes a socket file of this `mode`. It belongs to the user that the daemon runs as, in whose directory it may be:
/// as root nothing is done to the name of the file once it is there, because that user can put another file in its place.
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
        if is_in_use(path) {
            return Err(SocketError::InUse(path.to_owned()));
        }
        fs::remove_file(path).map_err(failed)?;
    }
    let umask = sys::set_umask(0);
    let bound = sys::bind_with_mode(path, mode);
    sys::set_umask(umask);
    let listener = bound.map_err(failed)?;
    sys::set_backlog(listener.as_fd(), config.limits.listen_backlog).map_err(failed)?;
    if config.identity.uid.is_some() {
        give_to_user(&listener, path, &config.identity).map_err(failed)?;
    }
    Ok(listener.into())
}

/// Whether a process listens on the path, and goes on to. The last threads of one that was killed may still be on their
/// way out: then the connection ends with them.
fn is_in_use(path: &Path) -> bool {
    let end = Instant::now() + LEAVING;
    while let Ok(connection) = UnixStream::connect(path) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || !sys::is_readable(connection.as_fd(), left) {
            return true;
        }
    }
    false
}

/// Gives the file of the socket to the user of the daemon, if the file of that name is the one that was made.
fn give_to_user(listener: &UnixListener, path: &Path, identity: &Identity) -> io::Result<()> {
    let file = sys::open_path(path)?;
    if sys::socket_file(&file, listener)? != SocketFile::Own {
        let why = "the socket was replaced by another file";
        return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    }
    sys::chown_descriptor(file.as_fd(), identity.uid, identity.gid)
}
