//! How a worker accepts connections: from which sockets, whose, and what it does when descriptors run out.
#![forbid(unsafe_code)]

use crate::log::Log;
use crate::log_limit::LogLimit;
use crate::time_limit;
use crate::worker::connection::Connection;
use crate::worker::connections::Connections;
use crate::worker::fd_limit::{self, FdLimit};
use group_config::GroupConfig;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;
use wsgi::Level;

/// The listening sockets of a worker.
pub(super) struct Acceptor {
    listeners: Vec<Listener>,
    /// Connections may come over TCP.
    has_tcp: bool,
    fd_limit: FdLimit,
    /// Lines about peers that may not connect.
    refusals: LogLimit,
}

/// One of the sockets.
struct Listener {
    socket: OwnedFd,
    is_tcp: bool,
}

/// What has come of a look at a listening socket.
pub(super) enum Accepted {
    Connection(Box<Connection>),
    /// One less waits, or one more descriptor is free: another attempt may find a connection.
    Retry,
    /// Nothing waits, or nothing can be accepted.
    Nothing,
}

impl Accepted {
    /// The connection, where there is one.
    pub(super) fn connection(self) -> Option<Box<Connection>> {
        match self {
            Self::Connection(connection) => Some(connection),
            Self::Retry | Self::Nothing => None,
        }
    }
}

/// The other end of an accepted connection.
enum Peer {
    /// A process of this machine, at a Unix socket.
    Local,
    /// A machine of this address; `None` where the kernel has not told it.
    Remote(Option<IpAddr>),
    /// A machine that another worker has admitted.
    Admitted,
}

/// After an error: `accept` would fail again at once. Nothing waits meanwhile but the listeners.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

impl Acceptor {
    pub(super) fn new(listeners: Vec<OwnedFd>) -> Self {
        let listener = |socket: OwnedFd| Listener { is_tcp: sys::is_tcp(socket.as_fd()), socket };
        let listeners: Vec<_> = listeners.into_iter().map(listener).collect();
        let has_tcp = listeners.iter().any(|listener| listener.is_tcp);
        Self { listeners, has_tcp, fd_limit: FdLimit::new(), refusals: LogLimit::default() }
    }

    /// How many listening sockets there are.
    pub(super) fn count(&self) -> usize {
        self.listeners.len()
    }

    /// Begins to accept.
    pub(super) fn listen(&self, connections: &Connections) -> io::Result<()> {
        for (index, listener) in self.listeners.iter().enumerate() {
            sys::set_nonblocking(listener.socket.as_fd())?;
            connections.watch_listener(listener.socket.as_fd(), index)?;
        }
        match connections.queue() {
            Some(queue) => connections.watch_listener(queue.as_fd(), self.listeners.len()),
            None => Ok(()),
        }
    }

    /// Accepts again after a pause.
    pub(super) fn resume(&self, connections: &Connections) {
        let sockets = self.listeners.iter().map(|listener| listener.socket.as_fd());
        let queue = connections.queue().map(AsFd::as_fd);
        for (index, socket) in sockets.chain(queue).enumerate() {
            // One that has not paused is watched as before. It fails while draining.
            let _ = connections.rewatch_listener(socket, index);
        }
    }

    /// Accepts no more.
    pub(super) fn stop(&self, connections: &Connections) {
        let listeners = self.listeners.iter();
        listeners.for_each(|listener| connections.unwatch_listener(listener.socket.as_fd()));
        if let Some(queue) = connections.queue() {
            connections.unwatch_listener(queue.as_fd());
        }
    }

    /// Lets nothing connect any more, whatever process accepts.
    pub(super) fn shut_down(&self) {
        self.listeners.iter().for_each(|listener| sys::shut_down(listener.socket.as_fd()));
    }

    /// Accepts a connection at the listener of this index, or takes one that another worker has given.
    pub(super) fn accept(
        &self,
        index: usize,
        connections: &Connections,
        config: &GroupConfig,
        log: &Log,
    ) -> Accepted {
        let (accepted, watched) = match self.listeners.get(index) {
            Some(listener) => {
                let accepted = sys::accept(listener.socket.as_fd());
                let peer =
                    |address| if listener.is_tcp { Peer::Remote(address) } else { Peer::Local };
                let accepted = accepted.map(|(stream, address)| (stream, peer(address)));
                (accepted, listener.socket.as_fd())
            }
            None => {
                let Some(queue) = connections.queue() else { return Accepted::Nothing };
                (queue.pop().map(|stream| self.of_another_worker(stream)), queue.as_fd())
            }
        };
        let is_paused = match &accepted {
            Err(why) if !no_connection_waits(why) => {
                // One idle connection less is enough to go on.
                let freed = fd_limit::is_fd_exhaustion(why) && connections.close_oldest_idle();
                self.fd_limit.log_accept_error(log, why);
                !freed && connections.pause_listeners(PAUSE_AFTER_ERROR)
            }
            _ => false,
        };
        if is_paused {
            return Accepted::Nothing;
        }
        // It fails when draining began just now.
        let _ = connections.rewatch_listener(watched, index);
        match accepted {
            Ok((stream, peer)) => {
                // First: a peer that may not connect costs no web server its idle connection.
                if let Err(why) = check_peer(&stream, &peer, config) {
                    self.refusals.write(log, Level::Error, || why);
                    return Accepted::Retry;
                }
                connections.count_opened();
                let stream = self.evict_idle(stream, connections, log);
                match open(stream, &peer, config, log) {
                    Some(connection) => Accepted::Connection(connection),
                    None => {
                        connections.count_closed();
                        Accepted::Retry
                    }
                }
            }
            Err(why) if no_connection_waits(&why) => Accepted::Nothing,
            Err(_) => Accepted::Retry,
        }
    }

    /// A connection that another worker has accepted, and admitted.
    fn of_another_worker(&self, stream: OwnedFd) -> (OwnedFd, Peer) {
        let is_tcp = self.has_tcp && sys::is_tcp(stream.as_fd());
        (stream, if is_tcp { Peer::Admitted } else { Peer::Local })
    }

    /// Where descriptors run short, closes an idle connection in exchange for the new one.
    fn evict_idle(&self, stream: OwnedFd, connections: &Connections, log: &Log) -> OwnedFd {
        if self.fd_limit.is_near(stream.as_raw_fd()) && connections.close_oldest_idle() {
            self.fd_limit.log_near_limit(log);
            // The copy gets the number that has become free: the high numbers are left to the application.
            return stream.try_clone().unwrap_or(stream);
        }
        stream
    }
}

/// Whether nothing is wrong: another process was faster, or has shut the socket down.
fn no_connection_waits(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput)
}

/// Whether this peer may connect.
///
/// # Errors
/// Where it may not; the line about that.
fn check_peer(stream: &OwnedFd, peer: &Peer, config: &GroupConfig) -> Result<(), String> {
    if let Peer::Remote(address) = peer {
        config.front_ends.check_peer(*address)?;
    }
    if let Some(allowed) = &config.allowed_uids {
        let peer = sys::peer_uid(stream.as_fd());
        if !peer.as_ref().is_ok_and(|uid| allowed.contains(uid)) {
            let peer = peer.map_or_else(|why| why.to_string(), |uid| format!("uid {uid}"));
            return Err(format!("a connection was refused: {peer} is not allowed to connect"));
        }
    }
    Ok(())
}

/// Makes a connection of an accepted socket.
fn open(stream: OwnedFd, peer: &Peer, config: &GroupConfig, log: &Log) -> Option<Box<Connection>> {
    let limits = &config.limits;
    let sized =
        sys::set_buffers(stream.as_fd(), limits.send_buffer_size, limits.receive_buffer_size);
    if let Err(why) = sized {
        let line = format!("cannot set the buffer sizes of a connection: {why}");
        log.write(Level::Warning, line.as_bytes());
    }
    let timeout = time_limit::enabled(config.timers.socket_timeout);
    let connection = Connection::new(stream, config.capacity(), timeout).ok()?;
    Some(Box::new(match peer {
        Peer::Local => connection,
        Peer::Remote(_) | Peer::Admitted => connection.over_tcp(),
    }))
}
