//! What one process group is told before it starts. It never knows who wrote it: Apache's supervisor
//! writes it as JSON into an inherited descriptor, the command line makes one by hand.
#![forbid(unsafe_code)]

use crate::octets;
use host::{ApacheFacts, HashSeed, HostOptions, InterpreterOptions, TelemetryOptions};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

/// A process group with its sockets. Unset is `null` or absent; times are seconds and may be
/// fractions; sizes are bytes; paths are what [`octets`] makes of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// The group's name; empty when run by hand.
    pub name: String,
    /// How many workers.
    pub processes: Processes,
    /// Threads that serve, in each worker; with none at all workers run the import scripts and end.
    pub threads: u32,
    /// The descriptors inherited from whoever started the program.
    pub descriptors: Descriptors,
    /// Who the processes are.
    pub identity: Identity,
    /// What the kernel keeps them to.
    pub limits: Limits,
    /// When workers are replaced or given up.
    pub timers: Timers,
    /// How Python starts.
    pub python: Python,
    /// What every request has to name as `mod_wsgi.x-secret`: Apache's children know it, others who run as their
    /// user do not. `null`: nothing.
    pub secret: Option<String>,
    /// Uids that may connect; `null` leaves it to the mode of the socket file.
    pub allowed_uids: Option<Vec<u32>>,
    /// Serve this application whatever a request names.
    pub application: Option<Application>,
    /// One application group only is served here: it gets the main interpreter (design decision D5).
    pub sole: bool,
    /// Scripts every worker loads before it is ready.
    pub import_scripts: Vec<ImportScript>,
    /// Seconds to wait before anything else is done: the manager before this one died early.
    pub delay: f64,
    /// Import in a template process that workers are forked from, so that they share memory.
    pub preload: bool,
    /// What the template imports, beside what workers have had to load.
    pub preload_scripts: Vec<ImportScript>,
    /// What a new process answers by itself before it serves.
    pub warm_up: Option<WarmUp>,
    /// Watch the source files of all modules, and replace the workers when one changes.
    pub reload: bool,
    /// The `wsgi-daemon-X.Y` that a manager without Python has run for its workers.
    #[serde(with = "octets")]
    pub program: Option<PathBuf>,
    /// What `ps` shows in place of the command line.
    #[serde(with = "octets")]
    pub display_name: Option<OsString>,
    /// Lines less serious than this (a number of `APLOG_*`) are not written.
    pub log_level: u8,
}

/// `processes=`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Processes {
    /// Always running.
    pub least: u32,
    /// Started when somebody connects to their socket.
    pub most: u32,
    /// Whether anybody wrote a number: then `wsgi.multiprocess` is true, even for one process.
    pub given: bool,
}

/// Inherited descriptors, by number. All of them are made close-on-exec at once.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Descriptors {
    /// A listening socket all workers accept from.
    pub shared_socket: Option<RawFd>,
    /// One listening socket for each worker slot, `processes.most` of them, or none.
    pub worker_sockets: Vec<RawFd>,
    /// Its end of file means that whoever started us is gone.
    pub parent: Option<RawFd>,
    /// `ready\n` is written here when the first workers have done their imports, then it is closed.
    pub ready: Option<RawFd>,
    /// Sealed shared memory for the scoreboard, large enough; made here when absent.
    pub scoreboard: Option<RawFd>,
}

/// Who the processes are. Applied by the manager, in mod_wsgi's order.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Uid to become; 0 is refused.
    pub uid: Option<u32>,
    /// Primary group.
    pub gid: Option<u32>,
    /// In addition to the primary group; `null`: what the group database says of the user.
    pub supplementary_groups: Option<Vec<u32>>,
    /// Permission bits new files do not get.
    pub umask: Option<u32>,
    /// New root directory.
    #[serde(with = "octets")]
    pub chroot: Option<PathBuf>,
    /// Working directory; also the first entry of `sys.path`.
    #[serde(with = "octets")]
    pub home: Option<PathBuf>,
    /// `LANG`.
    #[serde(with = "octets")]
    pub lang: Option<OsString>,
    /// `LC_ALL`.
    #[serde(with = "octets")]
    pub locale: Option<OsString>,
    /// Nice value.
    pub cpu_priority: i32,
}

/// Resource limits of each worker.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// CPU seconds after which a worker is replaced.
    pub cpu_time_limit: Option<u64>,
    /// `RLIMIT_DATA`.
    pub memory_limit: Option<u64>,
    /// `RLIMIT_AS`.
    pub virtual_memory_limit: Option<u64>,
    /// Stack of the threads that serve.
    pub stack_size: Option<usize>,
    /// Backlog of sockets made here (by hand).
    pub listen_backlog: u32,
    /// `SO_SNDBUF` of connections.
    pub send_buffer_size: Option<usize>,
    /// `SO_RCVBUF` of connections.
    pub receive_buffer_size: Option<usize>,
}

/// When a worker is replaced. `null` is off.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timers {
    /// Requests after which a worker is replaced.
    pub maximum_requests: Option<u64>,
    /// Each worker's own limit lies up to this much above.
    pub maximum_requests_jitter: u64,
    /// Resident bytes above which a worker is replaced after its request.
    pub maximum_memory: Option<u64>,
    /// From the first request until a script has loaded; also for a worker's own start.
    pub startup_timeout: Option<f64>,
    /// A worker that is told to stop is forced out after this.
    pub shutdown_timeout: Option<f64>,
    /// Python's lock is not to be had for so long.
    pub deadlock_timeout: Option<f64>,
    /// Without any request for so long.
    pub inactivity_timeout: Option<f64>,
    /// A request that takes longer has its worker replaced.
    pub request_timeout: Option<f64>,
    /// A request beyond request_timeout is first interrupted, and has so long to end.
    pub interrupt_timeout: Option<f64>,
    /// What a replaced worker has for the requests it serves.
    pub graceful_timeout: f64,
    /// The same after SIGUSR1 to a worker.
    pub eviction_timeout: Option<f64>,
    /// A worker is replaced at this age.
    pub restart_interval: Option<f64>,
    /// A request older than this when a thread takes it is answered 504.
    pub queue_timeout: Option<f64>,
    /// Silence of the requesting end, in the middle of a request.
    pub socket_timeout: Option<f64>,
}

/// How Python starts; the names are those of [`HostOptions`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each is described at the field of the same name of HostOptions")]
pub struct Python {
    #[serde(with = "octets")]
    pub home: Option<PathBuf>,
    #[serde(with = "octets")]
    pub path: Vec<PathBuf>,
    #[serde(with = "octets")]
    pub eggs: Option<PathBuf>,
    pub optimize: u8,
    pub warnings: Vec<String>,
    /// `null`: random.
    pub hash_seed: Option<u32>,
    pub write_bytecode: bool,
    pub switch_interval: Option<f64>,
    pub destroy_interpreters: bool,
    pub restrict_stdin: bool,
    pub restrict_stdout: bool,
    pub restrict_signal: bool,
    pub own_gil: bool,
    pub free_threading: bool,
    /// Layers of directories that come before those of `path`, for every interpreter.
    #[serde(with = "octets")]
    pub path_layers: Vec<Vec<PathBuf>>,
    /// What holds for the interpreter of one application group in place of the above.
    pub interpreters: Vec<Interpreter>,
    /// In seconds.
    pub slow_requests: Option<f64>,
    /// `WSGITelemetryService`.
    pub telemetry: Option<Telemetry>,
    /// Whether names of scripts that differ in case only are different files.
    pub case_sensitive: bool,
    pub apache: Option<Apache>,
}

/// Where workers report to; see [`TelemetryOptions`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each is described at the field of the same name")]
pub struct Telemetry {
    #[serde(with = "octets")]
    pub service: PathBuf,
    /// In seconds.
    pub interval: f64,
    pub capture_user_agent: bool,
    pub server: Option<u32>,
}

impl Telemetry {
    fn options(&self) -> TelemetryOptions {
        TelemetryOptions {
            service: self.service.clone(),
            // Apache has checked that it is one.
            interval: Duration::try_from_secs_f64(self.interval).unwrap_or(Duration::from_secs(1)),
            capture_user_agent: self.capture_user_agent,
            server: self.server,
        }
    }
}

/// The options of one interpreter; see [`InterpreterOptions`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each is described at the field of the same name")]
pub struct Interpreter {
    /// Empty is the main one.
    pub application_group: String,
    #[serde(with = "octets")]
    pub path_layers: Vec<Vec<PathBuf>>,
    pub switch_interval: Option<f64>,
    pub interval_is_its_own: bool,
    pub restrict_stdin: bool,
    pub restrict_stdout: bool,
    pub restrict_signal: bool,
    pub own_gil: bool,
}

/// What the `apache` module of applications says; see [`ApacheFacts`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each is described at the field of the same name of ApacheFacts")]
pub struct Apache {
    pub version: (i64, i64, i64),
    pub description: String,
    pub mpm_name: String,
    pub build_date: String,
    pub maximum_processes: i64,
    pub threads_per_process: i64,
}

/// An application by its script.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// The file.
    #[serde(with = "octets")]
    pub script: PathBuf,
    /// The callable in it.
    #[serde(default = "application")]
    pub callable: String,
}

/// `warm-up=`: a `GET` that nobody has sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// The file.
    #[serde(with = "octets")]
    pub script: PathBuf,
    /// The interpreter by name; empty is the main one.
    pub application_group: String,
    /// The callable in the script.
    #[serde(with = "octets")]
    pub callable: OsString,
    /// Where the application is mounted, `SCRIPT_NAME`.
    #[serde(with = "octets")]
    pub script_name: OsString,
    /// `PATH_INFO`.
    #[serde(with = "octets")]
    pub path_info: OsString,
    /// `QUERY_STRING`.
    #[serde(with = "octets")]
    pub query: OsString,
    /// `SERVER_NAME`, and `HTTP_HOST` with the port where that is not the scheme's.
    #[serde(with = "octets")]
    pub host: OsString,
    /// `SERVER_PORT`.
    pub port: u16,
    /// `https`, not `http`.
    pub secure: bool,
}

/// `WSGIImportScript`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImportScript {
    /// The file.
    #[serde(with = "octets")]
    pub path: PathBuf,
    /// The interpreter by name; empty is the main one.
    #[serde(default)]
    pub application_group: String,
}

fn application() -> String {
    "application".to_owned()
}

impl GroupConfig {
    /// Checks what serde cannot.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let Processes { least, most, .. } = self.processes;
        if most == 0 || least > most || most > 10_000 {
            return Err(format!("processes: from {least} to {most} is no number of processes"));
        }
        if self.threads == 0 && self.import_scripts.is_empty() {
            return Err("threads: a group of service scripts (threads=0) has no script".into());
        }
        if self.identity.uid == Some(0) {
            return Err("uid: a daemon process may not run as root".into());
        }
        let sockets = self.descriptors.worker_sockets.len();
        if sockets != 0 && sockets != most as usize {
            return Err(format!("worker_sockets: {sockets} sockets for {most} processes"));
        }
        if sockets == 0 && self.descriptors.shared_socket.is_none() {
            return Err("there is no socket to listen on".into());
        }
        Ok(())
    }

    /// Every inherited descriptor.
    pub fn inherited(&self) -> impl Iterator<Item = RawFd> {
        let Descriptors { shared_socket, worker_sockets, parent, ready, scoreboard } =
            &self.descriptors;
        let named = [*shared_socket, *parent, *ready, *scoreboard].into_iter().flatten();
        named.chain(worker_sockets.iter().copied())
    }

    /// Whether the group runs service scripts and serves no requests.
    pub fn is_service(&self) -> bool {
        self.threads == 0
    }

    /// Whether the script of a request belongs into the main interpreter whatever its group.
    pub fn main_interpreter(&self) -> bool {
        self.sole || self.application.is_some()
    }

    /// The options Python starts with.
    pub fn host_options(&self) -> HostOptions {
        let python = &self.python;
        let processes = i64::from(self.processes.most);
        let threads = i64::from(self.threads);
        let layers = |more: &[Vec<PathBuf>]| {
            let mut layers = vec![python.path.clone()];
            layers.extend_from_slice(more);
            layers
        };
        // A service script has the process for itself.
        let may_restrict_signal = !self.is_service();
        let named_interpreters = python.interpreters.iter().map(|own| {
            let options = InterpreterOptions {
                python_path: layers(&own.path_layers),
                switch_interval: own.switch_interval,
                interval_is_its_own: own.interval_is_its_own,
                restrict_stdin: own.restrict_stdin,
                restrict_stdout: own.restrict_stdout,
                restrict_signal: own.restrict_signal && may_restrict_signal,
                own_gil: own.own_gil,
            };
            (own.application_group.clone(), options)
        });
        HostOptions {
            python_home: python.home.clone(),
            home: self.identity.home.clone(),
            interpreter: InterpreterOptions {
                python_path: layers(&python.path_layers),
                switch_interval: python.switch_interval,
                interval_is_its_own: false,
                restrict_stdin: python.restrict_stdin,
                restrict_stdout: python.restrict_stdout,
                restrict_signal: python.restrict_signal && may_restrict_signal,
                own_gil: python.own_gil,
            },
            named_interpreters: named_interpreters.collect(),
            free_threading: python.free_threading,
            python_eggs: python.eggs.clone(),
            optimize: python.optimize,
            warnings: python.warnings.clone(),
            hash_seed: Some(python.hash_seed.map_or(HashSeed::Random, HashSeed::Fixed)),
            write_bytecode: python.write_bytecode,
            destroy_interpreters: python.destroy_interpreters,
            interruptible: self.timers.is_interrupting(),
            slow_requests: python
                .slow_requests
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .filter(|limit| !limit.is_zero()),
            telemetry: python.telemetry.as_ref().map(Telemetry::options),
            single_process: false,
            process_group: self.name.clone(),
            multithread: threads != 1,
            multiprocess: self.processes.given || processes != 1,
            run_once: false,
            // Apache's scoreboard is memory of Apache's own processes.
            server_status: None,
            maximum_processes: processes,
            threads_per_process: threads,
            apache: python.apache.as_ref().map(|apache| ApacheFacts {
                version: apache.version,
                description: apache.description.clone(),
                mpm_name: apache.mpm_name.clone(),
                build_date: apache.build_date.clone(),
                maximum_processes: apache.maximum_processes,
                threads_per_process: apache.threads_per_process,
            }),
        }
    }
}

impl Timers {
    /// Whether requests are interrupted before their worker is replaced.
    pub fn is_interrupting(&self) -> bool {
        let on = |limit: Option<f64>| limit.is_some_and(|seconds| seconds > 0.0);
        on(self.interrupt_timeout) && on(self.request_timeout)
    }
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            processes: Processes { least: 1, most: 1, given: false },
            threads: 15,
            descriptors: Descriptors::default(),
            identity: Identity::default(),
            limits: Limits { listen_backlog: 100, ..Limits::default() },
            timers: Timers::default(),
            python: Python::default(),
            secret: None,
            allowed_uids: None,
            application: None,
            sole: false,
            import_scripts: Vec::new(),
            delay: 0.0,
            preload: false,
            preload_scripts: Vec::new(),
            warm_up: None,
            reload: false,
            program: None,
            display_name: None,
            log_level: 6,
        }
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            maximum_requests: None,
            maximum_requests_jitter: 0,
            maximum_memory: None,
            startup_timeout: None,
            shutdown_timeout: Some(5.0),
            deadlock_timeout: Some(300.0),
            inactivity_timeout: None,
            request_timeout: None,
            interrupt_timeout: None,
            graceful_timeout: 15.0,
            eviction_timeout: None,
            restart_interval: None,
            queue_timeout: None,
            socket_timeout: Some(60.0),
        }
    }
}

impl Default for Python {
    fn default() -> Self {
        let host = HostOptions::default();
        Self {
            home: None,
            path: Vec::new(),
            eggs: None,
            optimize: host.optimize,
            warnings: Vec::new(),
            hash_seed: None,
            write_bytecode: host.write_bytecode,
            switch_interval: None,
            destroy_interpreters: host.destroy_interpreters,
            restrict_stdin: host.interpreter.restrict_stdin,
            restrict_stdout: host.interpreter.restrict_stdout,
            restrict_signal: host.interpreter.restrict_signal,
            own_gil: host.interpreter.own_gil,
            free_threading: host.free_threading,
            path_layers: Vec::new(),
            interpreters: Vec::new(),
            slow_requests: None,
            telemetry: None,
            case_sensitive: true,
            apache: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_only_what_differs_from_the_defaults() {
        let text = r#"{"name": "site", "processes": {"least": 2, "most": 2, "given": true},
            "descriptors": {"worker_sockets": [4, 5], "parent": 6}, "identity": {"uid": 33}}"#;
        let config: GroupConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.check(), config.threads), (Ok(()), 15));
        assert_eq!(config.inherited().collect::<Vec<_>>(), [6, 4, 5]);
        assert!(config.host_options().multiprocess);
    }

    #[test]
    fn what_cannot_run_is_refused_in_a_sentence() {
        let socket = Descriptors { shared_socket: Some(3), ..Descriptors::default() };
        let fine = GroupConfig { descriptors: socket, ..GroupConfig::default() };
        assert_eq!(fine.check(), Ok(()));
        let root = Identity { uid: Some(0), ..Identity::default() };
        assert!(GroupConfig { identity: root, ..fine.clone() }.check().is_err());
        assert!(GroupConfig { threads: 0, ..fine.clone() }.check().is_err());
        assert!(GroupConfig { descriptors: Descriptors::default(), ..fine }.check().is_err());
        assert!(serde_json::from_str::<GroupConfig>(r#"{"thread": 3}"#).is_err());
    }
}
