//! A process group as a whole, and what is wrong with one.

use crate::{Application, Asgi, FrontEnds, Identity, ImportScript, Interface, Limits, Python};
use crate::{Timers, WarmUp, byte_string, seconds};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A process group with its sockets. In JSON a field that is absent has its default, and `null` is "unset"; times
/// are seconds; sizes are bytes; paths are [byte strings](byte_string).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// The group's name.
    pub name: String,
    /// How many workers.
    pub processes: Processes,
    /// Threads that serve, in each worker; with none at all workers run the import scripts and end.
    pub threads: u32,
    /// The interface of its applications.
    pub interface: Interface,
    /// How those of ASGI are served.
    pub asgi: Asgi,
    /// Import in a template process that workers are forked from, so that they share memory.
    pub preload: bool,
    /// Watch the source files of all modules, and replace the workers when one changes.
    pub reload: bool,
    /// What `ps` shows in place of the command line.
    #[serde(with = "byte_string")]
    pub display_name: Option<OsString>,
    /// The user, the directories and the environment of the processes.
    pub identity: Identity,
    /// What the kernel keeps the processes to.
    pub limits: Limits,
    /// When workers are replaced or given up.
    pub timers: Timers,
    /// How Python starts.
    pub python: Python,

    /// The descriptors inherited from the process that started the program.
    pub descriptors: Descriptors,
    /// What every request has to name as `mod_wsgi.x-secret`: Apache's children know it, other processes of their
    /// user do not. `None`: nothing.
    pub secret: Option<String>,
    /// Users whose processes may connect, by number; `None` leaves it to the mode of the socket file.
    pub allowed_uids: Option<Vec<u32>>,
    /// Serve this application whatever a request names.
    pub application: Option<Application>,
    /// The web servers in front of a daemon that is run by hand.
    pub front_ends: FrontEnds,
    /// One application group only is served here: it gets the main interpreter (design decision D5).
    pub sole: bool,
    /// Scripts every worker loads before it is ready.
    pub import_scripts: Vec<ImportScript>,
    /// Which configuration this is since the server was started; the first one is 1. 0 for a daemon that is run by hand.
    pub generation: u64,
    /// How long to wait before anything else is done: the manager before this one died early.
    #[serde(with = "seconds")]
    pub delay: Duration,
    /// What the template imports, beside what workers have had to load.
    pub preload_scripts: Vec<ImportScript>,
    /// What a new process answers by itself before it serves.
    pub warm_up: Option<WarmUp>,
    /// What a manager without Python has run for its workers: a `wsgi-daemon-X.Y`, or the extension that `python` loads.
    #[serde(with = "byte_string")]
    pub program: Option<PathBuf>,
    /// The Python that loads `program`; `None` where that is a program by itself.
    pub python_program: Option<PythonProgram>,
    /// Lines less serious than this (a number of `APLOG_*`) are not written.
    pub log_level: u8,
    /// Standard output and standard error of the manager are a pipe that takes log lines as records
    /// ([`log_stream`](crate::log_stream)); else they are files or terminals, for text.
    pub log_records: bool,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            processes: Processes::default(),
            threads: 15,
            interface: Interface::default(),
            asgi: Asgi::default(),
            preload: false,
            reload: false,
            display_name: None,
            identity: Identity::default(),
            limits: Limits::default(),
            timers: Timers::default(),
            python: Python::default(),
            descriptors: Descriptors::default(),
            secret: None,
            allowed_uids: None,
            application: None,
            front_ends: FrontEnds::default(),
            sole: false,
            import_scripts: Vec::new(),
            generation: 0,
            delay: Duration::ZERO,
            preload_scripts: Vec::new(),
            warm_up: None,
            program: None,
            python_program: None,
            log_level: 6,
            log_records: false,
        }
    }
}

/// A Python that loads an extension and is a worker then.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PythonProgram {
    /// `bin/python` of a virtual environment, or that of an installation.
    #[serde(with = "byte_string")]
    pub executable: PathBuf,
    /// The version that the extension is built for: `3.13`, or `3.13t` of a free-threaded build.
    pub version: String,
}

/// `processes=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Processes {
    /// Always running.
    pub least: u32,
    /// Started when a client connects to their socket.
    pub most: u32,
    /// Whether a number was written: then `wsgi.multiprocess` is true, even for one process.
    pub given: bool,
}

impl Processes {
    /// The most that a group may have: each has a socket, a row of the scoreboard and a process.
    pub const MAX: u32 = 10_000;

    /// From `least` to `most` of them, as written. `None` where that is no number of processes: it must be from 1
    /// to [`Self::MAX`], and `least` at most `most`.
    pub fn new(least: u32, most: u32) -> Option<Self> {
        let processes = Self { least, most, given: true };
        processes.is_valid().then_some(processes)
    }

    fn is_valid(self) -> bool {
        self.least <= self.most && (1..=Self::MAX).contains(&self.most)
    }
}

impl Default for Processes {
    fn default() -> Self {
        Self { least: 1, most: 1, given: false }
    }
}

/// Inherited descriptors, by number. All of them are made close-on-exec at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Descriptors {
    /// A listening socket all workers accept from.
    pub shared_socket: Option<i32>,
    /// One listening socket for each worker slot, `processes.most` of them, or none.
    pub worker_sockets: Vec<i32>,
    /// A listening socket at which the manager takes commands.
    pub admin: Option<i32>,
    /// Its end of file means that the process that started this one is gone.
    pub parent: Option<i32>,
    /// `ready\n` is written here when the first workers have done their imports, then it is closed.
    pub ready: Option<i32>,
    /// Sealed shared memory for the scoreboard, large enough; made by the manager when absent.
    pub scoreboard: Option<i32>,
    /// Sealed shared memory in which the manager says why a start has failed; workers do not get it.
    pub start_cause: Option<i32>,
    /// Sealed shared memory, to be read only, in which Apache counts what becomes of the group's requests.
    pub request_counts: Option<i32>,
    /// The same for the requests that Apache's processes have under way, by slot.
    pub sent_counts: Option<i32>,
}

/// What is wrong with a configuration. Its text is for a log line that names the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// `processes` is out of range.
    Processes(Processes),
    /// `threads=0` without a script to run.
    NoServiceScript,
    /// The processes would run as root.
    Root,
    /// The number of sockets is not that of processes.
    Sockets {
        /// How many sockets there are.
        sockets: usize,
        /// How many workers need one.
        processes: u32,
    },
    /// No socket at all.
    NoSocket,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processes(Processes { least, most, .. }) => write!(
                f,
                "processes: from {least} to {most} is no number of processes, which is from 1 to {}",
                Processes::MAX
            ),
            Self::NoServiceScript => write!(
                f,
                "threads: a group of service scripts (threads=0) has no script; a WSGIImportScript \
                 with its process-group= names one"
            ),
            Self::Root => write!(f, "uid: a daemon process may not run as root"),
            Self::Sockets { sockets, processes } => {
                write!(f, "worker_sockets: {sockets} sockets for {processes} processes")
            }
            Self::NoSocket => write!(f, "there is no socket to listen on"),
        }
    }
}

impl std::error::Error for Invalid {}

impl GroupConfig {
    /// Checks what a type cannot, of all that is known at configtest.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_options(&self) -> Result<(), Invalid> {
        if !self.processes.is_valid() {
            return Err(Invalid::Processes(self.processes));
        }
        if self.is_service() && self.import_scripts.is_empty() {
            return Err(Invalid::NoServiceScript);
        }
        if self.identity.uid == Some(0) {
            return Err(Invalid::Root);
        }
        Ok(())
    }

    /// Checks the options, and whether there are the sockets that a group needs.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_options()?;
        let (sockets, processes) = (self.descriptors.worker_sockets.len(), self.processes.most);
        if sockets != 0 && sockets != processes as usize {
            return Err(Invalid::Sockets { sockets, processes });
        }
        if sockets == 0 && self.descriptors.shared_socket.is_none() {
            return Err(Invalid::NoSocket);
        }
        Ok(())
    }

    /// Every inherited descriptor.
    pub fn inherited(&self) -> impl Iterator<Item = i32> {
        let Descriptors {
            shared_socket,
            worker_sockets,
            admin,
            parent,
            ready,
            scoreboard,
            start_cause,
            request_counts,
            sent_counts,
        } = &self.descriptors;
        let sockets = [*shared_socket, *admin, *parent, *ready];
        let memory = [*scoreboard, *start_cause, *request_counts, *sent_counts];
        let named = sockets.into_iter().chain(memory).flatten();
        named.chain(worker_sockets.iter().copied())
    }

    /// How many requests a worker has under way at once; the most that it may have while its interface is not known.
    pub fn capacity(&self) -> u32 {
        match self.interface {
            Interface::Asgi if !self.is_service() => self.asgi.concurrency,
            Interface::Auto if !self.is_service() => self.threads.max(self.asgi.concurrency),
            _ => self.threads,
        }
    }

    /// Whether its workers serve applications of ASGI.
    pub fn is_asgi(&self) -> bool {
        self.interface == Interface::Asgi && !self.is_service()
    }

    /// Whether workers may have an event loop: with `interface=auto` each of them decides.
    pub fn may_be_asgi(&self) -> bool {
        self.interface != Interface::Wsgi && !self.is_service()
    }

    /// Whether the group runs service scripts and serves no requests.
    pub fn is_service(&self) -> bool {
        self.threads == 0
    }

    /// The web servers in front of the daemon, where it is run by hand.
    pub fn front_ends(&self) -> Option<&FrontEnds> {
        self.application.as_ref().map(|_| &self.front_ends)
    }

    /// Whether the script of a request belongs into the main interpreter whatever its group.
    pub fn main_interpreter(&self) -> bool {
        // An application whose interface is not known yet may be one of ASGI.
        let may_be_asgi = self.interface != Interface::Wsgi && !self.is_service();
        self.sole || may_be_asgi || self.application.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_says_only_what_differs_from_the_defaults() {
        let text = r#"{"name": "site", "processes": {"least": 2, "most": 2, "given": true},
            "descriptors": {"worker_sockets": [4, 5], "parent": 6}, "identity": {"uid": 33}}"#;
        let config: GroupConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.check(), config.threads), (Ok(()), 15));
        assert_eq!(config.inherited().collect::<Vec<_>>(), [6, 4, 5]);
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut config = GroupConfig { secret: Some("s".into()), ..GroupConfig::default() };
        config.identity.home = Some("/srv".into());
        config.timers.request_timeout = Some(Duration::from_millis(1250));
        config.limits.cpu_time_limit = Some(Duration::from_secs(7));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<GroupConfig>(&text).unwrap(), config);
    }

    #[test]
    fn configuration_that_cannot_run_is_refused_with_its_reason() {
        let socket = Descriptors { shared_socket: Some(3), ..Descriptors::default() };
        let fine = GroupConfig { descriptors: socket, ..GroupConfig::default() };
        assert_eq!(fine.check(), Ok(()));
        let root = Identity { uid: Some(0), ..Identity::default() };
        let refused = |config: GroupConfig| config.check().unwrap_err();
        assert_eq!(refused(GroupConfig { identity: root, ..fine.clone() }), Invalid::Root);
        let service = GroupConfig { threads: 0, ..fine.clone() };
        assert_eq!(refused(service), Invalid::NoServiceScript);
        assert_eq!(refused(GroupConfig::default()), Invalid::NoSocket);
        let many = Processes { least: 0, most: Processes::MAX + 1, given: true };
        let refusal = refused(GroupConfig { processes: many, ..fine.clone() });
        assert_eq!(
            refusal.to_string(),
            "processes: from 0 to 10001 is no number of processes, which is from 1 to 10000"
        );
        let two = Processes::new(2, 2).unwrap();
        let sockets = Descriptors { worker_sockets: vec![3], ..Descriptors::default() };
        let refusal = refused(GroupConfig { processes: two, descriptors: sockets, ..fine });
        assert_eq!(refusal, Invalid::Sockets { sockets: 1, processes: 2 });
        assert!(serde_json::from_str::<GroupConfig>(r#"{"thread": 3}"#).is_err());
    }

    #[test]
    fn group_whose_interface_is_not_known_has_places_for_either() {
        let auto = GroupConfig { interface: Interface::Auto, ..GroupConfig::default() };
        assert_eq!((auto.capacity(), auto.is_asgi(), auto.main_interpreter()), (100, false, true));
        let many = GroupConfig { threads: 200, ..auto.clone() };
        assert_eq!(many.capacity(), 200);
        let service = GroupConfig { threads: 0, ..auto };
        assert_eq!((service.capacity(), service.main_interpreter()), (0, false));
    }

    #[test]
    fn number_of_processes_has_a_range() {
        assert_eq!(Processes::new(1, Processes::MAX).map(|it| it.most), Some(10_000));
        for (least, most) in [(0, 0), (2, 1), (1, Processes::MAX + 1), (u32::MAX, u32::MAX)] {
            assert_eq!(Processes::new(least, most), None, "{least}-{most}");
        }
    }
}
