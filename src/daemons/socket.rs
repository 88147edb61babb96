//! The listening sockets of the groups and their files: made as root in a directory that may be another
//! user's, so no path is trusted. It must never know a group or a process.
#![forbid(unsafe_code)]

use group_config::AdminSocketName;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use sys::SocketFile;

/// A listening socket and the file by which Apache's children find it.
pub(crate) struct Socket {
    listener: UnixListener,
    /// The file itself (`O_PATH`): its name may lead elsewhere by now.
    file: File,
    path: PathBuf,
    /// The process that made the file, and removes it.
    owner: u32,
}

/// How many names are tried for a socket.
const MAX_NAMES: u32 = 100;
/// How many commands may wait.
const COMMANDS_BACKLOG: u32 = 16;

impl Socket {
    /// A new socket, whose name begins with `prefix`, and that only `owner` can connect to.
    ///
    /// # Errors
    /// What went wrong, with the path of the socket.
    pub(crate) fn new(
        prefix: &Path,
        backlog: u32,
        owner: Option<u32>,
    ) -> Result<Self, (PathBuf, io::Error)> {
        Self::named(prefix, backlog, owner, |server, serial| format!(".{server}.{serial}.sock"))
    }

    /// The same for the commands of an administrator to the group of that name.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub(crate) fn for_commands(
        prefix: &Path,
        group: &[u8],
        owner: Option<u32>,
    ) -> Result<Self, (PathBuf, io::Error)> {
        Self::named(prefix, COMMANDS_BACKLOG, owner, |server, serial| {
            AdminSocketName { group: group.to_vec(), server, serial }.suffix()
        })
    }

    /// A socket whose name has an end made of the number of this process and one of its own.
    fn named(
        prefix: &Path,
        backlog: u32,
        owner: Option<u32>,
        end: impl Fn(u32, u64) -> String,
    ) -> Result<Self, (PathBuf, io::Error)> {
        /// No name is used twice: children know their group's sockets by name only.
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let mut tries = 0;
        loop {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let mut path = prefix.as_os_str().to_owned();
            path.push(end(std::process::id(), serial));
            let path = PathBuf::from(path);
            // A file of that name is left over from a process that had the same process id. Or it is another
            // user's, and cannot be removed: then the next name is tried.
            let _ = std::fs::remove_file(&path);
            tries += 1;
            match Self::at(path.clone(), backlog, owner) {
                Err(why) if why.kind() == io::ErrorKind::AddrInUse && tries < MAX_NAMES => {}
                made => return made.map_err(|why| (path, why)),
            }
        }
    }

    fn at(path: PathBuf, backlog: u32, owner: Option<u32>) -> io::Result<Self> {
        let listener = bind(&path)?;
        let file = sys::open_path(&path);
        let file = file
            .map_err(|why| if sys::is_out_of_descriptors(&why) { why } else { in_use_error() })?;
        let socket = Self { listener, file, path, owner: std::process::id() };
        socket.verify()?;
        socket.set_backlog_and_owner(backlog, owner)?;
        Ok(socket)
    }

    /// Verifies that the file that was opened is the one that was made.
    fn verify(&self) -> io::Result<()> {
        match sys::socket_file(&self.file, &self.listener)? {
            SocketFile::Own | SocketFile::Likely => Ok(()),
            SocketFile::Other => Err(in_use_error()),
        }
    }

    /// Sets the backlog and the owner.
    pub(crate) fn set_backlog_and_owner(&self, backlog: u32, owner: Option<u32>) -> io::Result<()> {
        sys::set_backlog(self.listener.as_fd(), backlog)?;
        owner.map_or(Ok(()), |owner| sys::chown_descriptor(self.file.as_fd(), Some(owner), None))
    }

    /// Whether its path still leads to it.
    pub(crate) fn has_file(&self) -> bool {
        let place = |found: Metadata| (found.dev(), found.ino());
        match (self.file.metadata(), std::fs::symlink_metadata(&self.path)) {
            (Ok(own), Ok(found)) => place(own) == place(found),
            _ => false,
        }
    }

    /// Whether a process that has inherited it has shut it down.
    pub(crate) fn is_shut_down(&self) -> bool {
        sys::is_shut_down(self.listener.as_fd())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A child only closes its copies, and the file may have been removed or replaced already.
        if std::process::id() == self.owner && self.has_file() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Binds to the path, or, where that is too long for an address, to the same place by a shorter one.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let (true, Some(folder), Some(name)) =
        (sys::is_too_long(path), path.parent(), path.file_name())
    else {
        return sys::bind_private(path);
    };
    let folder = sys::open_path(&folder.canonicalize()?)?;
    sys::bind_private(&Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

fn in_use_error() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "socket path was replaced by another file")
}

/// Removes the socket files of parents that were killed before they could.
pub(crate) fn remove_orphans(prefix: &Path) {
    // A prefix may end in a slash, and then names begin with what follows it.
    let prefix = prefix.as_os_str().as_bytes();
    let Some(slash) = prefix.iter().rposition(|byte| *byte == b'/') else { return };
    let (directory, name) = prefix.split_at(slash + 1);
    let Ok(entries) = std::fs::read_dir(OsStr::from_bytes(directory)) else { return };
    for entry in entries.flatten() {
        let file = entry.file_name();
        let Some(rest) = file.as_bytes().strip_prefix(name) else { continue };
        let Some(rest) = rest.strip_prefix(b".") else { continue };
        let mut parts = rest.split(|&byte| byte == b'.');
        let pid = parts.next().and_then(|part| std::str::from_utf8(part).ok()?.parse().ok());
        if let Some(pid) = pid
            && (rest.ends_with(b".sock") || AdminSocketName::parse(file.as_bytes()).is_some())
            && !sys::is_alive(pid)
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
