//! The listening sockets of a daemon that is run without Apache.
#![forbid(unsafe_code)]

use crate::listen_address::ListenAddress;
use group_config::{GroupConfig, Identity};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};
use sys::SocketFile;

/// Why there is no listening socket.
#[derive(Debug)]
pub(crate) enum SocketError {
    /// Another process listens on the address.
    InUse(ListenAddress),
    /// A system call has failed.
    System(ListenAddress, io::Error),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(address) => write!(f, "another process listens on {address}"),
            Self::System(address, why) => write!(f, "cannot listen on {address}: {why}"),
        }
    }
}

/// How long a process that listens on the path may still take to exit.
const LEAVING: Duration = Duration::from_secs(1);

/// Makes a socket at this address; the file of a Unix socket has this `mode`.
///
/// # Errors
/// When another process listens there, or the socket cannot be made.
pub(crate) fn create_socket(
    address: &ListenAddress,
    mode: u32,
    config: &GroupConfig,
) -> Result<OwnedFd, SocketError> {
    let failed = |why| SocketError::System(address.clone(), why);
    match address {
        ListenAddress::Unix(path) if is_in_use(path) => Err(SocketError::InUse(address.clone())),
        ListenAddress::Unix(path) => create_socket_file(path, mode, config).map_err(failed),
        ListenAddress::Tcp(at) => {
            sys::listen_tcp(*at, config.limits.listen_backlog).map_err(|why| match why.kind() {
                io::ErrorKind::AddrInUse => SocketError::InUse(address.clone()),
                _ => failed(why),
            })
        }
    }
}

/// Makes a socket file of this `mode`. It belongs to the user that the daemon runs as, in whose directory it may be:
/// as root nothing is done to the name of the file once it is there, because that user can put another file in its place.
fn create_socket_file(path: &Path, mode: u32, config: &GroupConfig) -> io::Result<OwnedFd> {
    if is_socket(path) {
        fs::remove_file(path)?;
    }
    let umask = sys::set_umask(0);
    let bound = sys::bind_with_mode(path, mode);
    sys::set_umask(umask);
    let listener = bound?;
    sys::set_backlog(listener.as_fd(), config.limits.listen_backlog)?;
    if config.identity.uid.is_some() {
        give_to_user(&listener, path, &config.identity)?;
    }
    Ok(listener.into())
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Whether a process listens on the path, and goes on to. The last threads of one that was killed may still be on their
/// way out: then the connection ends with them.
fn is_in_use(path: &Path) -> bool {
    if !is_socket(path) {
        return false;
    }
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
