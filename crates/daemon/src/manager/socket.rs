//! The listening socket of a daemon that is run by hand.
#![forbid(unsafe_code)]

use crate::config::GroupConfig;
use crate::posix;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Makes a socket file nobody but its owner can connect to, then gives it `mode`. It belongs to the user
/// the daemon runs as.
///
/// # Errors
/// A sentence, also when another process listens there.
pub(crate) fn create(path: &Path, mode: u32, config: &GroupConfig) -> Result<OwnedFd, String> {
    let failed = |why: io::Error| format!("cannot listen on {}: {why}", path.display());
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        if UnixStream::connect(path).is_ok() {
            return Err(format!("another process listens on {}", path.display()));
        }
        fs::remove_file(path).map_err(failed)?;
    }
    let listener = sys::bind_private(path).map_err(failed)?;
    posix::listen(listener.as_fd(), config.limits.listen_backlog).map_err(failed)?;
    if config.identity.uid.is_some() {
        chown(path, config.identity.uid, config.identity.gid).map_err(failed)?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
    Ok(listener.into())
}
