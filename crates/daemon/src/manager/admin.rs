//! The admin sockets of a daemon that is run by hand: whether it is healthy and ready, over HTTP and over FastCGI, and
//! the request to drain. The manager answers it, so that it works while every thread of every worker is stuck. It decides
//! nothing.
#![forbid(unsafe_code)]

use super::admin_client::{AdminClient, Peer, Request};
use crate::log::Log;
use crate::log_limit::LogLimit;
use crate::probe::Condition;
use group_config::FrontEnds;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use wsgi::Level;

/// The sockets, and the clients that are connected to them.
pub(super) struct Admin {
    listeners: Vec<AdminListener>,
    /// Lines about peers that may not connect, or may not give commands.
    refusals: LogLimit,
}

/// One of the sockets.
struct AdminListener {
    socket: OwnedFd,
    /// It is a port, which anything may be able to connect to: only questions are answered there.
    is_tcp: bool,
    /// Its own, so that what connects to a port takes no place of the commands at a Unix socket.
    clients: Vec<AdminClient>,
    /// Accepting has failed, and would fail again before that.
    paused_until: Option<Instant>,
}

/// More clients of one socket than any machine has at once.
const MAX_CLIENTS: usize = 64;
/// How long a client may take for its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// After an error of accept(2), such as that no descriptor is left.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

impl Admin {
    pub(super) fn new(sockets: Vec<OwnedFd>) -> Self {
        let listeners = sockets.into_iter().map(AdminListener::new).collect();
        Self { listeners, refusals: LogLimit::default() }
    }

    /// What is to be waited for, until it can be read.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().flat_map(AdminListener::descriptors)
    }

    /// When a client has taken too long, or a socket is to be looked at again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.listeners.iter().filter_map(AdminListener::deadline).min()
    }

    /// Answers what has come from peers that may connect; whether a client that may do so asks for the group to be
    /// drained.
    pub(super) fn serve(
        &mut self,
        condition: Condition,
        front_ends: &FrontEnds,
        log: &Log,
    ) -> bool {
        let mut drains = false;
        let refuse = |why| self.refusals.write(log, Level::Error, || why);
        for listener in &mut self.listeners {
            listener.accept(front_ends, &refuse);
            drains |= listener.serve(condition, &refuse);
        }
        drains
    }
}

impl AdminListener {
    fn new(socket: OwnedFd) -> Self {
        let is_tcp = sys::is_tcp(socket.as_fd());
        Self { socket, is_tcp, clients: Vec::new(), paused_until: None }
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        // One more has to wait until there is room.
        let accepts = self.clients.len() < MAX_CLIENTS && self.paused_until.is_none();
        let listener = accepts.then(|| self.socket.as_fd());
        listener.into_iter().chain(self.clients.iter().map(AsFd::as_fd))
    }

    fn deadline(&self) -> Option<Instant> {
        self.clients.iter().filter_map(AdminClient::deadline).chain(self.paused_until).min()
    }

    /// Accepts what waits, and closes what may not connect.
    fn accept(&mut self, front_ends: &FrontEnds, refuse: &dyn Fn(String)) {
        let now = Instant::now();
        self.paused_until = self.paused_until.filter(|until| now < *until);
        // Where that cannot be set, it is not set either: then a client that leaves at once could block.
        if self.paused_until.is_some() || sys::set_nonblocking(self.socket.as_fd()).is_err() {
            return;
        }
        // Refused peers count as well, so that a flood of them does not keep the manager here.
        for _ in self.clients.len()..MAX_CLIENTS {
            match sys::accept(self.socket.as_fd()) {
                Ok((socket, address)) => {
                    let checked = if self.is_tcp { front_ends.check_peer(address) } else { Ok(()) };
                    match checked {
                        Err(why) => refuse(why),
                        Ok(()) => {
                            let peer = if self.is_tcp { Peer::Remote } else { Peer::Local };
                            self.clients.push(AdminClient::new(
                                socket,
                                peer,
                                now + REQUEST_TIMEOUT,
                            ));
                        }
                    }
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.paused_until = Some(now + PAUSE_AFTER_ERROR);
                    break;
                }
            }
        }
    }

    /// Answers what has come from its clients; whether one asks for the group to be drained.
    fn serve(&mut self, condition: Condition, refuse: &dyn Fn(String)) -> bool {
        let mut drains = false;
        for client in &mut self.clients {
            match client.serve(condition) {
                Request::Drain => drains = true,
                Request::Refused(peer) => refuse(format!(
                    "a request to drain was refused: {peer} is neither root nor the daemon's user"
                )),
                Request::None => {}
            }
        }
        let now = Instant::now();
        self.clients.retain(|client| client.is_open(now));
        drains
    }
}
