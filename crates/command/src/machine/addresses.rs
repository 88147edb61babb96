//! Where a server on this machine can be reached.

use std::net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

/// The address to connect to from this machine, for a host that a server listens on.
pub(crate) fn local(host: Option<&str>) -> IpAddr {
    let address = host.and_then(|host| host.parse::<IpAddr>().ok());
    address.filter(|address| !address.is_unspecified()).unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// Whether something accepts connections there.
pub(crate) fn is_listening(host: Option<&str>, port: u16) -> bool {
    TcpStream::connect_timeout(&(local(host), port).into(), Duration::from_millis(200)).is_ok()
}

/// The address of this machine in its network, if a server that listens on `host` can be reached there.
pub(crate) fn in_network(host: Option<&str>) -> Option<IpAddr> {
    let is_any = host.is_none_or(|host| ["0.0.0.0", "::", "*"].contains(&host));
    if !is_any {
        return None;
    }
    // Only chooses a route; nothing is sent. The address is one of documentation (RFC 5737).
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
