//! Where messages go out.
#![forbid(unsafe_code)]

use super::datagram::{Datagram, Kind};
use crate::observe::metrics::seconds_now;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// The socket of this process, and the service's address.
pub(super) struct Outlet {
    socket: UnixDatagram,
    service: PathBuf,
    sent: AtomicU32,
}

impl Outlet {
    /// The service need not be there yet, nor stay: it is looked up for each message.
    ///
    /// # Errors
    /// When the path is too long for an address, or there is no descriptor left.
    pub(super) fn to(service: PathBuf) -> io::Result<Self> {
        std::os::unix::net::SocketAddr::from_pathname(&service)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, service, sent: AtomicU32::new(0) })
    }

    /// Sends a message, or loses it.
    pub(super) fn send(&self, kind: Kind, fill: impl FnOnce(&mut Datagram)) {
        let number = self.sent.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut datagram = Datagram::new(kind, std::process::id(), number, seconds_now());
        fill(&mut datagram);
        // A service that is not there, or does not keep up, is nobody's trouble but its own.
        let _ = self.socket.send_to(datagram.as_bytes(), &self.service);
    }
}
