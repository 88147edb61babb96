//! The admin sockets of a daemon that is run by hand: whether it is healthy and ready, over HTTP and over FastCGI, and
//! the request to drain. The manager answers it, so that it works while every thread of every worker is stuck. It decides
//! nothing.
#![forbid(unsafe_code)]

use super::admin_client::AdminClient;
use crate::probe::Condition;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The sockets, and the clients that are connected to them.
pub(super) struct Admin {
    listeners: Vec<AdminListener>,
    clients: Vec<AdminClient>,
}

/// One of the sockets.
struct AdminListener {
    socket: OwnedFd,
    /// It is a port, which anything may be able to connect to: only questions are answered there.
    is_tcp: bool,
}

/// More clients than any machine has at once.
const MAX_CLIENTS: usize = 64;
/// How long a client may take for its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

impl Admin {
    pub(super) fn new(sockets: Vec<OwnedFd>) -> Self {
        let listener =
            |socket: OwnedFd| AdminListener { is_tcp: sys::is_tcp(socket.as_fd()), socket };
        Self { listeners: sockets.into_iter().map(listener).collect(), clients: Vec::new() }
    }

    /// What is to be waited for, until it can be read.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listeners = self.listeners.iter().map(|listener| listener.socket.as_fd());
        // One more has to wait until there is room.
        let listeners = listeners.filter(|_| self.clients.len() < MAX_CLIENTS);
        listeners.chain(self.clients.iter().map(AsFd::as_fd))
    }

    /// When a client has taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.clients.iter().filter_map(AdminClient::deadline).min()
    }

    /// Answers what has come; whether a client asks for the group to be drained.
    pub(super) fn serve(&mut self, condition: Condition) -> bool {
        let mut drains = false;
        for listener in &self.listeners {
            // Where that cannot be set, it is not set either: then a client that leaves at once could block.
            if sys::set_nonblocking(listener.socket.as_fd()).is_err() {
                continue;
            }
            while self.clients.len() < MAX_CLIENTS
                && let Ok((socket, _)) = sys::accept(listener.socket.as_fd())
            {
                let until = Instant::now() + REQUEST_TIMEOUT;
                self.clients.push(AdminClient::new(socket, !listener.is_tcp, until));
            }
        }
        for client in &mut self.clients {
            drains |= client.serve(condition);
        }
        let now = Instant::now();
        self.clients.retain(|client| client.is_open(now));
        drains
    }
}
