//! Listening sockets for TCP, and what accept(2) says of a connection of any kind. It must never know which addresses are
//! allowed to connect.
#![forbid(unsafe_code)]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long a connection is without a byte before the kernel asks the other machine whether it is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// How long it waits for each of its answers.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How often it asks in vain before it ends the connection.
const KEEPALIVE_PROBES: u32 = 6;

/// A listening socket at this address.
///
/// # Errors
/// Those of socket(2), bind(2) and listen(2).
pub fn listen_tcp(address: SocketAddr, backlog: u32) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connections of the process before, which are still closing, do not keep this one from the port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // IPv4 has a listening socket of its own, if it has one.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    prepare_tcp_listener(std::os::fd::AsFd::as_fd(&socket))?;
    net::listen(&socket, i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// Has each connection that is accepted at this socket find out when the other machine is gone, and send small pieces at
/// once: on Linux it inherits both from the listening socket, so that none of them costs a system call.
///
/// # Errors
/// Those of setsockopt(2).
pub fn prepare_tcp_listener(socket: BorrowedFd<'_>) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    Ok(sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?)
}

/// Accepts a connection at a listening socket of any kind, with the other end's address where that is one of TCP.
///
/// # Errors
/// Those of accept(2); `WouldBlock` also where a connection has been ended before it was accepted.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<IpAddr>)> {
    loop {
        match net::acceptfrom_with(listener, SocketFlags::CLOEXEC) {
            Ok((socket, address)) => {
                let address = address.and_then(|address| SocketAddr::try_from(address).ok());
                return Ok((socket, address.map(|address| address.ip())));
            }
            Err(Errno::INTR) => {}
            Err(Errno::CONNABORTED) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(why) => return Err(why.into()),
        }
    }
}

/// Whether this is a socket for TCP; what is no socket is none.
pub fn is_tcp(socket: BorrowedFd<'_>) -> bool {
    let inet = [AddressFamily::INET, AddressFamily::INET6];
    sockopt::socket_domain(socket).is_ok_and(|domain| inet.contains(&domain))
}

/// Whether this is a socket on which streams can be accepted.
pub fn is_listening(socket: BorrowedFd<'_>) -> bool {
    sockopt::socket_acceptconn(socket) == Ok(true)
        && sockopt::socket_type(socket) == Ok(SocketType::STREAM)
}

/// The address that a socket for TCP is bound to; `None` for other sockets.
pub fn local_address(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    SocketAddr::try_from(net::getsockname(socket).ok()?).ok()
}

/// The address of the other end of a connection over TCP; `None` for other sockets, and where the connection is gone.
pub fn peer_address(socket: BorrowedFd<'_>) -> Option<IpAddr> {
    let address = net::getpeername(socket).ok()??;
    SocketAddr::try_from(address).ok().map(|address| address.ip())
}

/// Whether the other end sends no more: it has closed the connection, or that is broken.
pub fn has_ended(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ended = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    poll(&mut fds, Some(&now)) == Ok(1) && fds.iter().any(|fd| fd.revents().intersects(ended))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn accepted_connections_have_keepalive_and_no_delay_from_their_listener() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = listen_tcp(address.parse().unwrap(), 8) else { continue };
            assert!(is_tcp(listener.as_fd()) && is_listening(listener.as_fd()));
            let bound = local_address(listener.as_fd()).unwrap();
            let client = TcpStream::connect(bound).unwrap();
            let (accepted, peer) = accept(listener.as_fd()).unwrap();
            assert_eq!(peer, Some(bound.ip()));
            assert_eq!(peer_address(accepted.as_fd()), peer);
            assert_eq!(sockopt::socket_keepalive(&accepted), Ok(true));
            assert_eq!(sockopt::tcp_nodelay(&accepted), Ok(true));
            assert_eq!(sockopt::tcp_keepidle(&accepted), Ok(KEEPALIVE_IDLE));
            assert_eq!(sockopt::tcp_keepcnt(&accepted), Ok(KEEPALIVE_PROBES));
            assert!(!has_ended(accepted.as_fd()));
            drop(client);
            let until = std::time::Instant::now() + Duration::from_secs(10);
            while !has_ended(accepted.as_fd()) {
                assert!(std::time::Instant::now() < until, "the end is not seen");
            }
        }
    }

    #[test]
    fn connection_of_a_unix_socket_has_no_address() {
        let path = std::env::temp_dir().join(format!("sys-tcp-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (accepted, peer) = accept(listener.as_fd()).unwrap();
        assert_eq!((peer, is_tcp(accepted.as_fd())), (None, false));
        assert!(is_listening(listener.as_fd()) && !is_listening(client.as_fd()));
        assert_eq!(local_address(listener.as_fd()), None);
        listener.set_nonblocking(true).unwrap();
        assert_eq!(accept(listener.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
