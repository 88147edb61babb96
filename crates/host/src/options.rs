//! The options of the Python side of one process.
#![forbid(unsafe_code)]

pub use crate::cpython::HashSeed;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wsgi::Level;

/// Options of the Python side of one process. Each is named after its directive or
/// `WSGIDaemonProcess` option.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// `WSGIPythonHome`: the path of a virtual environment, or a prefix with a standard library.
    pub python_home: Option<PathBuf>,
    /// `home=`: the first entry of every interpreter's `sys.path`, wherever else it stands there.
    pub home: Option<PathBuf>,
    /// `None`: the locale of the process is CPython's to set. Else it has been set as CPython would have, before the
    /// process had other threads, and this is whether that is the locale in which CPython's UTF-8 mode is on (PEP 540).
    pub locale_utf8_mode: Option<bool>,
    /// `WSGIPythonEggs`.
    pub python_eggs: Option<PathBuf>,
    /// `WSGIPythonOptimize`: the `-O` level.
    pub optimize: u8,
    /// `WSGIPythonWarnings`: `-W` options in order.
    pub warnings: Vec<String>,
    /// `WSGIPythonHashSeed`.
    pub hash_seed: Option<HashSeed>,
    /// `WSGIDontWriteBytecode Off`.
    pub write_bytecode: bool,
    /// The options of every interpreter that is not named below.
    pub interpreter: InterpreterOptions,
    /// The options of the interpreter of one application group (`<WSGIInterpreterOptions>`); the main
    /// interpreter's name is empty.
    pub named_interpreters: Vec<(String, InterpreterOptions)>,
    /// `WSGIFreeThreading`.
    pub free_threading: bool,
    /// `WSGIDestroyInterpreter`.
    pub destroy_interpreters: bool,
    /// Requests may be reported or interrupted ([`Host::report_hanging_requests`](crate::Host::report_hanging_requests),
    /// [`Host::interrupt_requests`](crate::Host::interrupt_requests)): `request-timeout`.
    pub observable: bool,
    /// Leave `sys.stdin` and `sys.stdout` alone (`httpd -X`).
    pub single_process: bool,
    /// `WSGISlowRequests`: the duration after which a request is logged as slow.
    pub slow_requests: Option<Duration>,
    /// `WSGITelemetryService`.
    pub telemetry: Option<TelemetryOptions>,
    /// The daemon process group; empty in embedded mode.
    pub process_group: String,
    /// `wsgi.multithread`.
    pub multithread: bool,
    /// `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// `wsgi.run_once`.
    pub run_once: bool,
    /// `mod_wsgi.maximum_processes`.
    pub maximum_processes: i64,
    /// `mod_wsgi.threads_per_process`.
    pub threads_per_process: i64,
    /// The Apache server; `None` where there is none.
    pub apache: Option<ApacheFacts>,
    /// Its scoreboard, where the configuration opens it to applications (`WSGIServerMetrics`).
    pub server_status: Option<Arc<dyn ServerStatus>>,
}

/// Options of one interpreter, each named after its directive.
#[derive(Clone, Debug, PartialEq)]
pub struct InterpreterOptions {
    /// `WSGIPythonPath`: directories added as `site.addsitedir` does. What a layer adds comes before
    /// what those before it added.
    pub python_path: Vec<Vec<PathBuf>>,
    /// `WSGISwitchInterval`, in seconds.
    pub switch_interval: Option<f64>,
    /// The interval was configured for this interpreter alone and must not affect others.
    pub interval_is_its_own: bool,
    /// `WSGIRestrictStdin`.
    pub restrict_stdin: bool,
    /// `WSGIRestrictStdout`.
    pub restrict_stdout: bool,
    /// `WSGIPrintLevel`: the level of lines written to `sys.stdout`.
    pub print_level: Level,
    /// `WSGILogFormat`: records of `logging` are written as JSON.
    pub json_records: bool,
    /// `WSGIRestrictSignal`.
    pub restrict_signal: bool,
    /// `WSGIPerInterpreterGIL`.
    pub own_gil: bool,
}

impl HostOptions {
    /// The options of the interpreter of an application group.
    pub fn interpreter(&self, application_group: &str) -> &InterpreterOptions {
        let named = self.named_interpreters.iter().find(|(name, _)| name == application_group);
        named.map_or(&self.interpreter, |(_, options)| options)
    }

    /// The options of all interpreters.
    pub(crate) fn interpreters(&self) -> impl Iterator<Item = &InterpreterOptions> {
        let named = self.named_interpreters.iter().map(|(_, options)| options);
        std::iter::once(&self.interpreter).chain(named)
    }
}

/// Where a process reports to (`WSGITelemetryService`).
#[derive(Clone, Debug)]
pub struct TelemetryOptions {
    /// The path of a Unix datagram socket.
    pub service: PathBuf,
    /// The time between two reports.
    pub interval: Duration,
    /// `WSGITelemetryOptions CaptureUserAgent`.
    pub capture_user_agent: bool,
    /// The process id of the server that the process belongs to; `None`: its parent.
    pub server: Option<u32>,
}

/// The attributes of the module `apache`.
#[derive(Clone, Debug)]
pub struct ApacheFacts {
    /// `apache.version`.
    pub version: (i64, i64, i64),
    /// `apache.description`.
    pub description: String,
    /// `apache.mpm_name`.
    pub mpm_name: String,
    /// `apache.build_date`.
    pub build_date: String,
    /// `apache.maximum_processes`.
    pub maximum_processes: i64,
    /// `apache.threads_per_process`.
    pub threads_per_process: i64,
}

/// Apache's scoreboard, for `mod_wsgi.server_metrics()`.
pub trait ServerStatus: Send + Sync + std::fmt::Debug {
    /// A copy of the scoreboard as it is now; `None` when there is none.
    fn snapshot(&self) -> Option<ServerBoard>;
}

/// A scoreboard. Times are seconds since the epoch; 0 is never.
#[derive(Clone, Debug, Default)]
pub struct ServerBoard {
    /// How many child processes there may be.
    pub server_limit: i64,
    /// How many threads each may have.
    pub thread_limit: i64,
    /// How many times the server has been restarted gracefully.
    pub generation: i64,
    /// When it was last restarted.
    pub restart_time: f64,
    /// One for each child process there may be.
    pub processes: Vec<ServerProcess>,
}

/// A child process' part of a [`ServerBoard`].
#[derive(Clone, Debug, Default)]
pub struct ServerProcess {
    /// 0 where there is none.
    pub pid: i64,
    /// The number of graceful restarts before it was started.
    pub generation: i64,
    /// It finishes its requests and takes no more.
    pub quiescing: bool,
    /// One for each thread it may have.
    pub workers: Vec<ServerWorker>,
}

/// A thread's part of a [`ServerBoard`].
#[derive(Clone, Debug, Default)]
pub struct ServerWorker {
    /// The number of graceful restarts before it was started.
    pub generation: i64,
    /// One ASCII character, as on mod_status' page.
    pub status: u8,
    /// Requests it has served.
    pub access_count: i64,
    /// Bytes it has sent.
    pub bytes_served: i64,
    /// When it began its last request.
    pub start_time: f64,
    /// When that request ended.
    pub stop_time: f64,
    /// When its state last changed.
    pub last_used: f64,
    /// The client's address.
    pub client: Vec<u8>,
    /// The request line.
    pub request: Vec<u8>,
    /// The virtual host.
    pub vhost: Vec<u8>,
}
