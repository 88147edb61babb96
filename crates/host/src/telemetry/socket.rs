//! The socket that messages are sent by.
#![forbid(unsafe_code)]

use super::datagram::{Datagram, Kind};
use crate::observe::metrics::seconds_now;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// The socket of this process, and the service's address.
pub(super) struct DatagramSocket {
    socket: UnixDatagram,
    service: PathBuf,
    sent: AtomicU32,
}

impl DatagramSocket {
    /// The service may be started and ended at any time: its path is resolved for each message.
    ///
    /// # Errors
    /// When the path is too long for an address, or there is no descriptor left.
    pub(super) fn to(service: PathBuf) -> io::Result<Self> {
        std::os::unix::net::SocketAddr::from_pathname(&service)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, service, sent: AtomicU32::new(0) })
    }

    /// Sends a message; it is lost when the service does not take it at once.
    pub(super) fn send(&self, kind: Kind, fill: impl FnOnce(&mut Datagram)) {
        let number = self.sent.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut datagram = Datagram::new(kind, std::process::id(), number, seconds_now());
        fill(&mut datagram);
        // A message that a service does not take at once is lost (`WSGITelemetryService`).
        let _ = self.socket.send_to(datagram.as_bytes(), &self.service);
    }
}
