//! `WSGIDaemonProcess`: a group of processes that run applications. It never starts one.

use std::time::Duration;

use super::daemon_options::DAEMON_OPTIONS;
use super::options::Options;
use super::{Bytes, ConfigError, Line, ServerIdentity};

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

    /// `None`: Apache's `User`.
    pub(crate) user: Option<Account>,
    /// `None`: Apache's `Group`.
    pub(crate) group: Option<Account>,
    /// In addition to the primary group. `None`: what the group database says of the user.
    pub(crate) supplementary_groups: Option<Vec<u32>>,
    pub(crate) processes: Processes,
    /// None at all makes it a group of service scripts.
    pub(crate) threads: u32,
    /// `None`: Apache's.
    pub(crate) umask: Option<u32>,
    pub(crate) chroot: Option<Bytes>,
    pub(crate) home: Option<Bytes>,
    pub(crate) lang: Option<Bytes>,
    pub(crate) locale: Option<Bytes>,
    pub(crate) display_name: Option<Bytes>,

    /// `None`: `WSGIPythonHome`.
    pub(crate) python_home: Option<Bytes>,
    pub(crate) python_path: Option<Bytes>,
    pub(crate) python_eggs: Option<Bytes>,
    /// Seconds. `None`: as for interpreters elsewhere.
    pub(crate) switch_interval: Option<f64>,
    /// Bytes. `None`: the system's.
    pub(crate) stack_size: Option<usize>,
    pub(crate) preload: bool,
    /// What a new process answers by itself before it serves.
    pub(crate) warm_up: Option<WarmUp>,
    pub(crate) reload: bool,

    /// `None`: no limit.
    pub(crate) maximum_requests: Option<u64>,
    /// The limit of each process lies up to this much above `maximum_requests`.
    pub(crate) maximum_requests_jitter: u64,
    /// Resident bytes. `None`: no limit.
    pub(crate) maximum_memory: Option<u64>,
    pub(crate) startup_timeout: Option<Duration>,
    /// `None`: a process that shuts down is never forced out.
    pub(crate) shutdown_timeout: Option<Duration>,
    pub(crate) deadlock_timeout: Option<Duration>,
    pub(crate) inactivity_timeout: Option<Duration>,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) interrupt_timeout: Option<Duration>,
    pub(crate) graceful_timeout: Duration,
    /// `None`: `graceful_timeout`.
    pub(crate) eviction_timeout: Option<Duration>,
    pub(crate) restart_interval: Option<Duration>,

    pub(crate) connect_timeout: Duration,
    /// `None`: the server's `Timeout`.
    pub(crate) socket_timeout: Option<Duration>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) listen_backlog: u32,
    /// `None`: the system's.
    pub(crate) send_buffer_size: Option<usize>,
    /// `None`: the system's.
    pub(crate) receive_buffer_size: Option<usize>,
    pub(crate) header_buffer_size: usize,
    pub(crate) response_buffer_size: usize,
    /// `None`: `socket_timeout`.
    pub(crate) response_socket_timeout: Option<Duration>,
    pub(crate) response_flush_delay: Duration,
    /// `None`: Apache's `User`.
    pub(crate) socket_user: Option<Account>,

    /// Who must own a script. At most one of the two is set.
    pub(crate) script_user: Option<Account>,
    pub(crate) script_group: Option<Account>,
    pub(crate) cpu_time_limit: Option<Duration>,
    pub(crate) cpu_priority: i32,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) virtual_memory_limit: Option<u64>,
    pub(crate) server_metrics: bool,
}

/// A user or a group, as written and as a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: Bytes,
    pub(crate) id: u32,
}

/// How many processes a group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processes {
    pub(crate) least: u32,
    pub(crate) most: u32,
    /// Whether anybody wrote a number: then `wsgi.multiprocess` is true, even for one process.
    pub(crate) given: bool,
}

impl DaemonProcess {
    /// A group of which only the name is written.
    pub(crate) fn new(name: &[u8], server: ServerIdentity) -> Self {
        Self {
            name: name.into(),
            server,
            user: None,
            group: None,
            supplementary_groups: None,
            processes: Processes { least: 1, most: 1, given: false },
            threads: 15,
            umask: None,
            chroot: None,
            home: None,
            lang: None,
            locale: None,
            display_name: None,
            python_home: None,
            python_path: None,
            python_eggs: None,
            switch_interval: None,
            stack_size: None,
            preload: false,
            warm_up: None,
            reload: false,
            maximum_requests: None,
            maximum_requests_jitter: 0,
            maximum_memory: None,
            startup_timeout: None,
            shutdown_timeout: Some(Duration::from_secs(5)),
            deadlock_timeout: Some(Duration::from_secs(300)),
            inactivity_timeout: None,
            request_timeout: None,
            interrupt_timeout: None,
            graceful_timeout: Duration::from_secs(15),
            eviction_timeout: None,
            restart_interval: None,
            connect_timeout: Duration::from_secs(15),
            socket_timeout: None,
            queue_timeout: None,
            listen_backlog: 100,
            send_buffer_size: None,
            receive_buffer_size: None,
            header_buffer_size: 32_768,
            response_buffer_size: 8_388_608,
            response_socket_timeout: None,
            response_flush_delay: Duration::from_millis(5),
            socket_user: None,
            script_user: None,
            script_group: None,
            cpu_time_limit: None,
            cpu_priority: 0,
            memory_limit: None,
            virtual_memory_limit: None,
            server_metrics: false,
        }
    }

    /// `name [option=value …]`
    pub(super) fn parse(line: &Line<'_>) -> Result<Self, ConfigError> {
        let mut words = line.words();
        let Some(name) = words.next_word().filter(|name| !name.is_empty()) else {
            return Err(line.error("needs the name of the process group"));
        };
        let mut group = Self::new(&name, line.context.server());
        let mut options =
            Options::new(line, words, DAEMON_OPTIONS.iter().map(|option| option.name));
        while let Some(value) = options.next_option()? {
            if let Some(option) = DAEMON_OPTIONS.iter().find(|option| option.name == value.name) {
                (option.set)(&mut group, &value)?;
            }
        }
        if group.script_user.is_some() && group.script_group.is_some() {
            return Err(line.error("takes only one of script-user= and script-group="));
        }
        group.say_what_is_missing(line);
        Ok(group)
    }

    /// Options that are read and checked, and that nothing carries out yet, are never taken in silence.
    fn say_what_is_missing(&self, line: &Line<'_>) {
        if self.server_metrics {
            line.context.warn(&format!(
                "{} server-metrics=On has no effect: a daemon process has none of Apache's memory, and \
                 mod_wsgi.server_metrics() returns None there",
                line.name()
            ));
        }
    }

    /// A path as it reads inside `chroot`; as it is where it lies outside or there is none.
    pub(crate) fn inside<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        let Some(root) = self.chroot.as_deref() else { return path };
        let root = root.strip_suffix(b"/").unwrap_or(root);
        path.strip_prefix(root).filter(|rest| rest.starts_with(b"/")).unwrap_or(path)
    }

    /// Whether the processes of this group can see `path`.
    pub(crate) fn sees(&self, path: &[u8]) -> bool {
        self.chroot.is_none() || self.inside(path).len() < path.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Configuration, configuration};
    use super::*;

    #[test]
    fn a_group_needs_a_name_and_takes_known_options() {
        for (arguments, refusal) in [
            ("", "needs the name of the process group"),
            ("\"\" threads=5", "needs the name of the process group"),
            (
                "site script-user=alice script-group=staff",
                "takes only one of script-user= and script-group=",
            ),
        ] {
            let sentence =
                Configuration::default().refusal(&format!("WSGIDaemonProcess {arguments}"));
            assert_eq!(sentence, format!("WSGIDaemonProcess {refusal}"));
        }
        let sentence = Configuration::default().refusal("WSGIDaemonProcess site thread=5");
        assert!(sentence.starts_with(
            "WSGIDaemonProcess has no option \"thread\"; it takes name=value with one of these \
             names: user, group, "
        ));
    }

    #[test]
    fn a_group_of_which_only_the_name_is_written_is_new() {
        let written = configuration(&["WSGIDaemonProcess 'my site'"]);
        let expected = DaemonProcess::new(b"my site", ServerIdentity::default());
        assert_eq!(written.process.daemon_processes, [expected]);
    }
}
