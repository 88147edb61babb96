//! The admin sockets of a group: whether it is healthy and ready, over HTTP and over FastCGI, and the commands of an
//! administrator. The manager answers, so that it works while every thread of every worker is stuck. It decides nothing.
#![forbid(unsafe_code)]

use super::admin_client::{AdminClient, Peer, Request};
use super::admin_order::{Answer, Order};
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
    /// How many clients there have been.
    count: u64,
    /// Lines about peers that may not connect, or may not give commands.
    refusals: LogLimit,
}

/// What a client asks of the group.
pub(super) struct Asked {
    /// The number of the client, which waits for an answer.
    pub(super) client: u64,
    pub(super) order: Order,
    /// Who asks; `None` where each client may.
    pub(super) user: Option<u32>,
}

/// One of the sockets.
struct AdminListener {
    /// `None` once no more clients are taken.
    socket: Option<OwnedFd>,
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
        Self { listeners, count: 0, refusals: LogLimit::default() }
    }

    /// What is to be waited for, until it can be read.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().flat_map(AdminListener::descriptors)
    }

    /// When a client has taken too long, or a socket is to be looked at again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.listeners.iter().filter_map(AdminListener::deadline).min()
    }

    /// Answers what has come from peers that may connect; gives what those ask of the group that may do so.
    pub(super) fn serve(
        &mut self,
        condition: Condition,
        front_ends: &FrontEnds,
        log: &Log,
    ) -> Vec<Asked> {
        let mut asked = Vec::new();
        let refuse = |why| self.refusals.write(log, Level::Error, || why);
        for listener in &mut self.listeners {
            listener.accept(front_ends, &mut self.count, &refuse);
            listener.serve(condition, &mut asked, &refuse);
        }
        asked
    }

    /// Answers the client of that number, unless it has left.
    pub(super) fn answer(&mut self, client: u64, answer: &Answer) {
        let now = Instant::now();
        for listener in &mut self.listeners {
            for found in listener.clients.iter_mut().filter(|found| found.id == client) {
                found.answer(answer);
            }
            listener.clients.retain(|client| client.is_open(now));
        }
    }

    /// Takes no more clients: another manager of the group does.
    pub(super) fn close_sockets(&mut self) {
        self.listeners.iter_mut().for_each(|listener| listener.socket = None);
    }
}

impl AdminListener {
    fn new(socket: OwnedFd) -> Self {
        let is_tcp = sys::is_tcp(socket.as_fd());
        Self { socket: Some(socket), is_tcp, clients: Vec::new(), paused_until: None }
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        // One more has to wait until there is room.
        let accepts = self.clients.len() < MAX_CLIENTS && self.paused_until.is_none();
        let listener = self.socket.as_ref().filter(|_| accepts).map(AsFd::as_fd);
        let clients = self.clients.iter().filter(|client| client.is_awaited());
        listener.into_iter().chain(clients.map(AsFd::as_fd))
    }

    fn deadline(&self) -> Option<Instant> {
        self.clients.iter().filter_map(AdminClient::deadline).chain(self.paused_until).min()
    }

    /// Accepts what waits, and closes what may not connect.
    fn accept(&mut self, front_ends: &FrontEnds, count: &mut u64, refuse: &dyn Fn(String)) {
        let Some(socket) = &self.socket else { return };
        let now = Instant::now();
        self.paused_until = self.paused_until.filter(|until| now < *until);
        // Where that cannot be set, it is not set either: then a client that leaves at once could block.
        if self.paused_until.is_some() || sys::set_nonblocking(socket.as_fd()).is_err() {
            return;
        }
        // Refused peers count as well, so that a flood of them does not keep the manager here.
        for _ in self.clients.len()..MAX_CLIENTS {
            match sys::accept(socket.as_fd()) {
                Ok((connection, address)) => {
                    let checked = if self.is_tcp { front_ends.check_peer(address) } else { Ok(()) };
                    match checked {
                        Err(why) => refuse(why),
                        Ok(()) => {
                            let peer = if self.is_tcp { Peer::Remote } else { Peer::Local };
                            *count += 1;
                            let until = now + REQUEST_TIMEOUT;
                            self.clients.push(AdminClient::new(*count, connection, peer, until));
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

    /// Answers what has come from its clients; what they ask of the group goes to `asked`.
    fn serve(&mut self, condition: Condition, asked: &mut Vec<Asked>, refuse: &dyn Fn(String)) {
        for client in &mut self.clients {
            match client.serve(condition) {
                Request::Order(order, user) => asked.push(Asked { client: client.id, order, user }),
                Request::Refused(why) => refuse(why),
                Request::None => {}
            }
        }
        let now = Instant::now();
        self.clients.retain(|client| client.is_open(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    const CONDITION: Condition = Condition::Ready;

    #[test]
    fn client_that_reads_nothing_of_its_answer_does_not_wake_the_manager_by_what_it_sends() {
        let (mut client, connection) = UnixStream::pair().unwrap();
        let (_listening, socket) = UnixStream::pair().unwrap();
        let mut listener = AdminListener::new(socket.into());
        let until = Instant::now() + REQUEST_TIMEOUT;
        listener.clients.push(AdminClient::new(1, connection.into(), Peer::Local, until));
        let is_ready = |listener: &AdminListener| {
            let descriptors: Vec<_> = listener.descriptors().collect();
            sys::wait_readable(&descriptors, Some(Duration::ZERO)).contains(&true)
        };
        assert!(!is_ready(&listener));
        client.write_all(b"GET /-/metrics HTTP/1.1\r\n\r\n").unwrap();
        assert!(is_ready(&listener));
        let mut asked = Vec::new();
        listener.serve(CONDITION, &mut asked, &|_| ());
        assert!(matches!(asked[..], [Asked { client: 1, user: None, .. }]));
        let body = "x".repeat(4 << 20);
        listener.clients[0].answer(&Answer::text("200 OK", &body));
        client.write_all(b"more").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        for _ in 0..3 {
            assert!(!is_ready(&listener));
            listener.serve(CONDITION, &mut asked, &|_| ());
        }
        // It gets its answer all the same, as fast as it reads.
        let mut answer = Vec::new();
        while !listener.clients.is_empty() {
            assert!(listener.deadline().is_some_and(|at| at < Instant::now() + REQUEST_TIMEOUT));
            let mut piece = vec![0; 1 << 20];
            let count = client.read(&mut piece).unwrap();
            answer.extend_from_slice(&piece[..count]);
            listener.serve(CONDITION, &mut asked, &|_| ());
        }
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.len() > body.len());
        assert_eq!(asked.len(), 1);
    }
}
