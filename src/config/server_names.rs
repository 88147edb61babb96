//! What the servers are called when all files have been read: a `ServerName` may come after the lines that its
//! virtual host defines groups with, and httpd gives a name to a host without one. It never knows a server's
//! settings.

use std::collections::HashMap;

use super::{DaemonProcess, ServerIdentity};

/// The names of the virtual hosts, by where each is defined.
#[derive(Debug, Default)]
pub(crate) struct ServerNames(HashMap<String, Vec<u8>>);

impl ServerNames {
    /// `hosts`: `file:line` of each virtual host, and its name.
    pub(crate) fn new(hosts: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self(hosts.into_iter().collect())
    }

    /// The name of `server`; what was read until a line of it where no other is known.
    pub(crate) fn of<'s>(&'s self, server: &'s ServerIdentity) -> Option<&'s [u8]> {
        let known = self.0.get(&server.defined_at).filter(|_| server.is_virtual);
        known.or(server.name.as_ref()).map(Vec::as_slice)
    }

    /// Gives the servers of `groups` their names.
    pub(crate) fn complete(&self, groups: &mut [DaemonProcess]) {
        for group in groups {
            group.server.name = self.of(&group.server).map(<[u8]>::to_vec);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_host_has_the_name_it_ends_up_with() {
        let identity = |is_virtual, name: Option<&str>| ServerIdentity {
            name: name.map(|name| name.as_bytes().to_vec()),
            is_virtual,
            defined_at: "site.conf:1".to_owned(),
            ..ServerIdentity::default()
        };
        let names = ServerNames::new([("site.conf:1".to_owned(), b"late".to_vec())]);
        let mut groups = [identity(true, None), identity(false, Some("main"))]
            .map(|server| DaemonProcess::new(b"site", server));
        names.complete(&mut groups);
        let named = groups.each_ref().map(|group| group.server.name.as_deref());
        assert_eq!(named, [Some(&b"late"[..]), Some(&b"main"[..])]);
        let elsewhere =
            ServerIdentity { defined_at: "other.conf:1".into(), ..identity(true, None) };
        assert_eq!(names.of(&elsewhere), None);
    }
}
