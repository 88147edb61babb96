//! How Python starts in the workers of a group.

use crate::{byte_string, seconds};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// What holds for all interpreters of a worker, and what for some of them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Python {
    /// A virtual environment, or a Python installation; `None`: the one that the program is built for.
    #[serde(with = "byte_string")]
    pub home: Option<PathBuf>,
    /// Directories to import from, before all others.
    #[serde(with = "byte_string")]
    pub path: Vec<PathBuf>,
    /// Where eggs are unpacked.
    #[serde(with = "byte_string")]
    pub eggs: Option<PathBuf>,
    /// As `-O` (1) and `-OO` (2).
    pub optimize: u8,
    /// Filters as of `-W`.
    pub warnings: Vec<String>,
    /// `None`: random.
    pub hash_seed: Option<u32>,
    /// Whether `.pyc` files are written.
    pub write_bytecode: bool,
    /// Seconds after which a thread asks for the lock (`sys.setswitchinterval`); `None`: Python's own.
    pub switch_interval: Option<f64>,
    /// Whether interpreters are ended with their process.
    pub destroy_interpreters: bool,
    /// Whether reading standard input is an error.
    pub restrict_stdin: bool,
    /// Whether writing standard output is an error.
    pub restrict_stdout: bool,
    /// The level of lines written to standard output, as Apache numbers it: 0 (`emerg`) to 8 (`trace1`).
    pub print_level: u8,
    /// Whether records of `logging` are written as JSON.
    pub json_records: bool,
    /// Whether setting signal handlers has no effect.
    pub restrict_signal: bool,
    /// Whether each interpreter has a lock of its own.
    pub own_gil: bool,
    /// Whether Python runs without its lock, where it can.
    pub free_threading: bool,
    /// Layers of directories that come before those of `path`, for every interpreter.
    #[serde(with = "byte_string")]
    pub path_layers: Vec<Vec<PathBuf>>,
    /// What holds for the interpreter of one application group in place of the above.
    pub interpreters: Vec<Interpreter>,
    /// A request that takes longer is reported; `None`: none is.
    #[serde(with = "seconds")]
    pub slow_requests: Option<Duration>,
    /// `WSGITelemetryService`.
    pub telemetry: Option<Telemetry>,
    /// Whether names of scripts that differ in case only are different files.
    pub case_sensitive: bool,
    /// What the module `apache` says in applications; `None`: there is no Apache.
    pub apache: Option<Apache>,
}

impl Default for Python {
    fn default() -> Self {
        Self {
            home: None,
            path: Vec::new(),
            eggs: None,
            optimize: 0,
            warnings: Vec::new(),
            hash_seed: None,
            write_bytecode: true,
            switch_interval: None,
            destroy_interpreters: true,
            restrict_stdin: false,
            restrict_stdout: false,
            print_level: 3,
            json_records: false,
            restrict_signal: true,
            own_gil: false,
            free_threading: false,
            path_layers: Vec::new(),
            interpreters: Vec::new(),
            slow_requests: None,
            telemetry: None,
            case_sensitive: true,
            apache: None,
        }
    }
}

/// The receiver of reports.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// The socket.
    #[serde(with = "byte_string")]
    pub service: PathBuf,
    /// The time between two reports.
    #[serde(with = "seconds")]
    pub interval: Duration,
    /// Whether reports of slow requests name the client's program.
    pub capture_user_agent: bool,
    /// The pid of Apache's parent.
    pub server: Option<u32>,
}

/// The options of one interpreter; those of the same name in [`Python`] hold for all others.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Interpreter {
    /// The application group; empty is the main interpreter.
    pub application_group: String,
    /// Layers of directories that come before those of the group's path.
    #[serde(with = "byte_string")]
    pub path_layers: Vec<Vec<PathBuf>>,
    /// In seconds.
    pub switch_interval: Option<f64>,
    /// Whether the interval holds for this interpreter only.
    pub interval_is_its_own: bool,
    /// Whether reading standard input is an error.
    pub restrict_stdin: bool,
    /// Whether writing standard output is an error.
    pub restrict_stdout: bool,
    /// The level of lines written to standard output, as Apache numbers it.
    pub print_level: u8,
    /// Whether records of `logging` are written as JSON.
    pub json_records: bool,
    /// Whether setting signal handlers has no effect.
    pub restrict_signal: bool,
    /// Whether it has a lock of its own.
    pub own_gil: bool,
}

/// What the module `apache` says in applications.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Apache {
    /// Major, minor and patch version.
    pub version: (i64, i64, i64),
    /// As in the header `Server`.
    pub description: String,
    /// `event`, `worker` or `prefork`.
    pub mpm_name: String,
    /// When httpd was built.
    pub build_date: String,
    /// How many processes httpd may have.
    pub maximum_processes: i64,
    /// How many threads each of them has.
    pub threads_per_process: i64,
}
