//! The socket of a connection to a worker, and how it is closed. It must never know what goes over it.
#![forbid(unsafe_code)]

use super::closer::Closer;
use super::open_streams::OpenStreams;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use sys::ClosedBy;

/// A connected socket. Descriptors that have come over it and have not been read are closed with it, which may take
/// long: that is left to the closer.
pub(super) struct WorkerStream {
    socket: Arc<Socket>,
}

type Socket = ClosedBy<Box<dyn FnMut(OwnedFd) + Send + Sync>>;

/// Those of this process, which never sees another configuration.
static OPEN: OpenStreams<Socket> = OpenStreams::new();

/// Ends all connections to workers, because httpd stops this process without grace.
pub(crate) fn end_all() {
    OPEN.end();
}

/// Whether all connections have been ended.
pub(super) fn have_ended() -> bool {
    OPEN.has_ended()
}

impl WorkerStream {
    /// Connects within `wait` to the worker at `path`, which runs as `uid`. Without `files` the kernel refuses
    /// descriptors, if it can.
    ///
    /// # Errors
    /// Those of connect(2), where another user than root or the worker's listens there, and where the socket is another one
    /// than was made by this name. A backlog that stays full is reported as too many waiting requests.
    pub(super) fn connect(
        path: &Path,
        uid: u32,
        wait: Duration,
        files: bool,
        closer: &Arc<Closer>,
    ) -> io::Result<Self> {
        let mut refuses = false;
        let prepare = |socket: BorrowedFd<'_>| refuses = !files && sys::refuse_descriptors(socket);
        let stream = sys::connect(path, wait, prepare).map_err(|why| match why.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "too many requests wait already")
            }
            _ => why,
        })?;
        // The name of a socket belongs to the owner of its directory. The parent has called listen(2), and a worker
        // may have done so again.
        let listener = sys::peer_uid(stream.as_fd())?;
        if listener != 0 && listener != uid {
            let user = sys::user_name(listener);
            return Err(io::Error::other(format!("{user} listens there, not this server")));
        }
        // Root has called it for all groups. So the name may lead to the socket of another one.
        if stream.peer_addr()?.as_pathname() != Some(path) {
            return Err(io::Error::other("the socket there was made by another name"));
        }
        let closer = Arc::clone(closer);
        let close = move |socket: OwnedFd| {
            if !refuses {
                // Nothing more can come, so what is here now is all.
                sys::shut_down(socket.as_fd());
                if sys::has_unread(socket.as_fd()) {
                    closer.close([socket]);
                }
            }
        };
        let socket = Arc::new(Socket::new(stream.into(), Box::new(close)));
        if !OPEN.add(Arc::downgrade(&socket)) {
            return Err(io::Error::other("httpd stops"));
        }
        Ok(Self { socket })
    }

    /// Sets how long each later read and write may take.
    pub(super) fn set_timeout(&self, limit: Duration) -> io::Result<()> {
        sys::set_timeouts(self.as_fd(), limit)
    }
}

impl AsFd for WorkerStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
