//! Whether the file of a name is that of the socket that has been bound to it. It must never know what the socket is for.
#![forbid(unsafe_code)]

use crate::users::effective_uid;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};

/// What a file is that was opened by the name of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketFile {
    /// The file of the socket: a connection to it has arrived there.
    Own,
    /// Another file.
    Other,
    /// It looks like the file of the socket. Without /proc, or access to it, no more can be said.
    Likely,
}

/// What `file` is (`O_PATH`), which was opened by the name that this process has just bound `listener` to: a user who may
/// write to the directory may have replaced it meanwhile, by a link for example.
///
/// # Errors
/// Those of fstat(2), and of accept(2) where this process has too many open files.
pub fn socket_file(file: &File, listener: &UnixListener) -> io::Result<SocketFile> {
    let found = file.metadata()?;
    if !found.file_type().is_socket() || found.uid() != effective_uid() || found.nlink() != 1 {
        return Ok(SocketFile::Other);
    }
    match UnixStream::connect(format!("/proc/self/fd/{}", file.as_raw_fd())) {
        Ok(_connected) => {
            listener.set_nonblocking(true)?;
            let accepted = listener.accept();
            listener.set_nonblocking(false)?;
            match accepted {
                Ok(_) => Ok(SocketFile::Own),
                Err(why) if crate::is_out_of_descriptors(&why) => Err(why),
                Err(_) => Ok(SocketFile::Other),
            }
        }
        Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => Ok(SocketFile::Other),
        Err(_) => Ok(SocketFile::Likely),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open_path;

    #[test]
    fn the_file_of_another_socket_and_no_socket_are_told_apart() {
        let directory = std::env::temp_dir().join(format!("socket-file-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let bind = |name| UnixListener::bind(directory.join(name)).unwrap();
        let (own, other) = (bind("own"), bind("other"));
        let of = |name, listener| {
            let file = open_path(&directory.join(name)).unwrap();
            socket_file(&file, listener).unwrap()
        };
        assert_eq!((of("own", &own), of("other", &other)), (SocketFile::Own, SocketFile::Own));
        assert_eq!(of("other", &own), SocketFile::Other);
        std::os::unix::fs::symlink("own", directory.join("link")).unwrap();
        std::fs::write(directory.join("plain"), "").unwrap();
        assert_eq!((of("link", &own), of("plain", &own)), (SocketFile::Other, SocketFile::Other));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
