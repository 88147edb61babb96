//! Where a daemon that is run by hand listens, as its command line says it. It makes no socket.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// A socket file; an absolute path, because the working directory changes later.
    Unix(PathBuf),
    /// A port of this machine, at one of its addresses.
    Tcp(SocketAddr),
}

/// Why a text is no such address.
#[derive(Debug)]
pub(crate) enum BadAddress {
    /// It is something else.
    Syntax,
    /// It has no usable path.
    Path(io::Error),
}

impl ListenAddress {
    /// What such a text looks like.
    pub(crate) const SYNTAX: &str = "unix:PATH or tcp:ADDRESS:PORT";

    /// Reads `unix:PATH` or `tcp:ADDRESS:PORT`; an IPv6 address is in brackets.
    pub(crate) fn parse(text: &OsStr) -> Result<Self, BadAddress> {
        let bytes = text.as_bytes();
        if let Some(path) = bytes.strip_prefix(b"unix:").filter(|path| !path.is_empty()) {
            let path = std::path::absolute(OsStr::from_bytes(path));
            return path.map(Self::Unix).map_err(BadAddress::Path);
        }
        let address = bytes.strip_prefix(b"tcp:").and_then(|it| std::str::from_utf8(it).ok());
        let address = address.and_then(|it| it.parse().ok());
        address.filter(|it: &SocketAddr| it.port() != 0).map(Self::Tcp).ok_or(BadAddress::Syntax)
    }

    /// The address of a port.
    pub(crate) const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(address) => Some(*address),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_a_path_or_an_address_with_a_port() {
        for text in ["unix:/run/site.sock", "tcp:127.0.0.1:9000", "tcp:[2001:db8::1]:9000"] {
            assert_eq!(ListenAddress::parse(text.as_ref()).unwrap().to_string(), text);
        }
        for text in [
            "/run/site.sock",
            "unix:",
            "tcp:",
            "tcp:9000",
            "tcp:localhost:9000",
            "tcp:*:9000",
            "tcp:127.0.0.1",
            "tcp:127.0.0.1:0",
            "tcp:127.0.0.1:65536",
            "tcp:2001:db8::1",
        ] {
            let parsed = ListenAddress::parse(text.as_ref());
            assert!(matches!(parsed, Err(BadAddress::Syntax)), "{text}");
        }
    }
}
