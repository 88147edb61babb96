//! The listening sockets of the groups and their files: made as root in a directory that may be another
//! user's, so nothing is believed of a path. Knows nothing of processes.
#![forbid(unsafe_code)]

use crate::posix;
use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A listening socket and the file by which Apache's children find it.
pub(crate) struct Socket {
    listener: UnixListener,
    /// The file itself, wherever its name leads by now (`O_PATH`).
    file: File,
    path: PathBuf,
    /// The process whose file it is.
    owner: u32,
}

/// How many names are tried for a socket.
const TRIES: u32 = 100;

impl Socket {
    /// A new one, whose name begins with `prefix`, that only `owner` can connect to. What goes wrong is told
    /// with its path. Called while there is one thread.
    pub(crate) fn new(
        prefix: &Path,
        backlog: u32,
        owner: Option<u32>,
    ) -> Result<Self, (PathBuf, io::Error)> {
        /// No name is used twice: children know their group's sockets by name only.
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let mut tries = 0;
        loop {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let mut path = prefix.as_os_str().to_owned();
            path.push(format!(".{}.{serial}.sock", std::process::id()));
            let path = PathBuf::from(path);
            // What stands there is of a process of our number that is long gone. Or somebody else's, who knew
            // the name and may keep it.
            let _ = std::fs::remove_file(&path);
            tries += 1;
            match Self::at(path.clone(), backlog, owner) {
                Err(why) if why.kind() == io::ErrorKind::AddrInUse && tries < TRIES => {}
                made => return made.map_err(|why| (path, why)),
            }
        }
    }

    fn at(path: PathBuf, backlog: u32, owner: Option<u32>) -> io::Result<Self> {
        let listener = posix::listen(&path)?;
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&path);
        let file = file.map_err(|why| if is_shortage(&why) { why } else { taken() })?;
        let socket = Self { listener, file, path, owner: std::process::id() };
        socket.prove()?;
        socket.renew(backlog, owner)?;
        Ok(socket)
    }

    /// Whoever may write to the directory may have put something else there since the file was made, such as
    /// a link. What was opened has to look as the file was made, and to lead to our end.
    fn prove(&self) -> io::Result<()> {
        let found = self.file.metadata()?;
        if !found.file_type().is_socket() || found.uid() != posix::account().0 || found.nlink() != 1
        {
            return Err(taken());
        }
        let name = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        match UnixStream::connect(name) {
            Ok(_there) => {
                self.listener.set_nonblocking(true)?;
                let came = self.listener.accept();
                self.listener.set_nonblocking(false)?;
                came.map(drop).map_err(|why| if is_shortage(&why) { why } else { taken() })
            }
            Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => Err(taken()),
            // Where there is no /proc, or no way into it, the looks have to do.
            Err(_) => Ok(()),
        }
    }

    /// Sets the backlog and the owner.
    pub(crate) fn renew(&self, backlog: u32, owner: Option<u32>) -> io::Result<()> {
        posix::set_backlog(self.listener.as_fd(), backlog)?;
        owner.map_or(Ok(()), |owner| posix::give(self.file.as_fd(), owner))
    }

    /// Whether its path still leads to it.
    pub(crate) fn is_there(&self) -> bool {
        let place = |found: Metadata| (found.dev(), found.ino());
        match (self.file.metadata(), std::fs::symlink_metadata(&self.path)) {
            (Ok(own), Ok(found)) => place(own) == place(found),
            _ => false,
        }
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
        // A child only closes its copies, and somebody may have tidied up already.
        if std::process::id() == self.owner && self.is_there() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether it is for want of descriptors, which has nothing to do with the path.
fn is_shortage(why: &io::Error) -> bool {
    matches!(why.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn taken() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "somebody has put something else there")
}

/// Removes sockets of parents that were killed and could not tidy up.
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
            && rest.ends_with(b".sock")
            && !posix::exists(pid)
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
