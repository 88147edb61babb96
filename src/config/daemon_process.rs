//! `WSGIDaemonProcess`: a group of processes that run applications. It never starts one.

use std::time::Duration;

use super::{Bytes, ServerIdentity};
use group_config::GroupConfig;
use std::os::unix::ffi::OsStrExt;

/// `warm-up=`: a path, or a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WarmUp {
    /// `https`.
    pub(crate) secure: bool,
    /// Host and port, where it is a URL.
    pub(crate) host: Option<(Bytes, Option<u16>)>,
    /// The path, from its slash on, with nothing in it to be decoded.
    pub(crate) path: Bytes,
    /// What stands behind the question mark.
    pub(crate) query: Bytes,
}

impl WarmUp {
    /// `/path?query` or `http[s]://host[:port]/path?query`; `None` where it is neither.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let secure = text.starts_with(b"https://");
        let behind = text.strip_prefix(b"https://").or_else(|| text.strip_prefix(b"http://"));
        let (host, path) = match behind {
            None => (None, text),
            Some(rest) => {
                let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                let colon = authority.iter().rposition(|byte| *byte == b':');
                let (name, port) = match colon.filter(|_| !authority.ends_with(b"]")) {
                    None => (authority, None),
                    Some(colon) => {
                        let port = std::str::from_utf8(authority.get(colon + 1..)?).ok()?;
                        (authority.get(..colon)?, Some(port.parse().ok()?))
                    }
                };
                let name: Bytes = Some(name).filter(|name| !name.is_empty())?.into();
                (Some((name, port)), if path.is_empty() { b"/" } else { path })
            }
        };
        let mut parts = path.splitn(2, |byte| *byte == b'?');
        let (path, query) = (parts.next()?, parts.next().unwrap_or_default());
        let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'#');
        let sound = path.starts_with(b"/") && path.iter().all(plain);
        let sound = sound && query.iter().all(u8::is_ascii_graphic);
        sound.then(|| Self { secure, host, path: path.into(), query: query.into() })
    }
}

/// A process group with its defaults applied: groups are not merged, so "unset" and "default" are
/// one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DaemonProcess {
    pub(crate) name: Bytes,
    /// Where it was written; decides who may use it.
    pub(crate) server: ServerIdentity,
    /// What its manager is told, as far as the line says it. What is unset here and not in Apache is filled in
    /// at the start.
    pub(crate) config: GroupConfig,
    /// What only Apache's processes look at.
    pub(crate) forwarding: Forwarding,
    /// Whether the line names the interface of its applications.
    pub(crate) interface_given: bool,
}

/// How Apache's processes deal with a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Forwarding {
    /// What a new process answers by itself before it serves.
    pub(crate) warm_up: Option<WarmUp>,
    pub(crate) connect_timeout: Duration,
    /// Bytes of the head of an answer.
    pub(crate) header_buffer_size: usize,
    /// Bytes of an answer that may wait for the client.
    pub(crate) response_buffer_size: usize,
    /// Bytes of the longest request body that is gathered before a worker is chosen.
    pub(crate) request_buffer_size: u64,
    /// Bytes of a response that may wait in a file for the client; 0: none.
    pub(crate) response_spool_size: u64,
    /// Bytes of all its responses that may wait in files. `None`: as many as are left free for others.
    pub(crate) response_spool_total: Option<u64>,
    /// `None`: `socket-timeout`.
    pub(crate) response_socket_timeout: Option<Duration>,
    pub(crate) response_flush_delay: Duration,
    /// Who may connect beside Apache, by number. `None`: Apache's `User`.
    pub(crate) socket_user: Option<u32>,
    /// Who must own a script. At most one of the two is set.
    pub(crate) script_user: Option<Account>,
    pub(crate) script_group: Option<Account>,
    pub(crate) server_metrics: bool,
}

impl Default for Forwarding {
    fn default() -> Self {
        Self {
            warm_up: None,
            connect_timeout: Duration::from_secs(15),
            header_buffer_size: 32_768,
            response_buffer_size: 8_388_608,
            request_buffer_size: 1 << 20,
            response_spool_size: 64 << 20,
            response_spool_total: None,
            response_socket_timeout: None,
            response_flush_delay: Duration::from_millis(5),
            socket_user: None,
            script_user: None,
            script_group: None,
            server_metrics: false,
        }
    }
}

/// A user or a group, as written and as a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: Bytes,
    pub(crate) id: u32,
}

impl DaemonProcess {
    /// A group of which only the name is written.
    pub(crate) fn new(name: &[u8], server: ServerIdentity) -> Self {
        let config = GroupConfig {
            name: String::from_utf8_lossy(name).into_owned(),
            ..GroupConfig::default()
        };
        Self {
            name: name.into(),
            server,
            config,
            forwarding: Forwarding::default(),
            interface_given: false,
        }
    }

    /// A path as it reads inside `chroot`; as it is where it lies outside or there is none.
    pub(crate) fn inside<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        self.below_root(path).unwrap_or(path)
    }

    /// Whether the processes of this group can see `path`.
    pub(crate) fn sees(&self, path: &[u8]) -> bool {
        self.config.identity.chroot.is_none() || self.below_root(path).is_some()
    }

    /// What is left of a path below `chroot`, from its slash on.
    fn below_root<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let root = self.config.identity.chroot.as_deref()?.as_os_str().as_bytes();
        // Nothing is left of the root directory itself.
        let root = root.strip_suffix(b"/").unwrap_or(root);
        path.strip_prefix(root).filter(|rest| rest.starts_with(b"/"))
    }
}
