//! What a service manager is told (sd_notify).

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The socket of the service manager, if there is one.
pub(super) struct ServiceManager(Option<OsString>);

impl ServiceManager {
    pub(super) fn of_environment() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()))
    }

    /// Tells a state, as in `READY=1`.
    pub(super) fn tell(&self, state: &str) {
        let Some(path) = &self.0 else { return };
        let bytes = path.as_bytes();
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(path),
        };
        // A manager that cannot be told will notice by itself.
        let _ = UnixDatagram::unbound()
            .and_then(|socket| address.and_then(|to| socket.send_to_addr(state.as_bytes(), &to)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_sent_to_the_socket() {
        let path = std::env::temp_dir().join(format!("notify-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        ServiceManager(Some(path.clone().into())).tell("READY=1");
        ServiceManager(None).tell("READY=1");
        let mut buffer = [0; 16];
        let length = socket.recv(&mut buffer).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
    }
}
