//! The Python room: interpreters, applications, and the objects an application sees.
//!
//! [`Host`] is one process' Python. It serves requests that come as a [`wsgi::Exchange`] and never
//! learns which transport is behind it: `serve` is the gateway of PEP 3333, `request` its rules about
//! answers, `consult` how the server asks its own scripts, `objects` what
//! the application holds in its hands, `script` and `load` how its file is loaded, `room`
//! how an interpreter is prepared, `upkeep` what a process asks beside serving, `cpython` the C API made
//! safe, `lease` the request lent through Python. `events` and `observation` tell applications what happens,
//! `activity` and `metrics` count it, `telemetry` tells mod_wsgi's service.

mod cpython;
mod failure;
mod gateway;
mod host;
mod interpreters;
mod log;
mod objects;
mod observe;
mod options;
mod posix;
mod telemetry;
mod version;

pub use gateway::consult::{Answer, Question, Unanswered};
pub use gateway::target::{Served, Target};
pub use host::{BUILT_FOR, Host, PYTHON_VERSION, StartError};
pub use interpreters::script::ScriptFile;
pub use log::ServerLog;
pub use options::{
    ApacheFacts, HashSeed, HostOptions, InterpreterOptions, ServerBoard, ServerProcess,
    ServerStatus, ServerWorker, TelemetryOptions,
};
