//! The Python room: interpreters, applications, and the objects an application sees.
//!
//! [`Host`] is one process' Python. It serves requests that come as a [`wsgi::Exchange`] and never
//! learns which transport is behind it: `serve` is the gateway of PEP 3333, `request` its rules about
//! answers, `consult` how the server asks its own scripts, `objects` what
//! the application holds in its hands, `script` and `load` how its file is loaded, `room`
//! how an interpreter is prepared, `upkeep` what a process asks beside serving, `cpython` the C API made
//! safe, `lease` the request lent through Python. `events` and `observation` tell applications what happens,
//! `activity` and `metrics` count it, `telemetry` tells mod_wsgi's service.

mod activity;
mod consult;
mod cpython;
mod current;
mod environ;
mod events;
mod failure;
mod histogram;
mod host;
mod interpreter;
mod interrupt;
mod lease;
mod load;
mod metrics;
mod modes;
mod objects;
mod observation;
mod options;
mod posix;
mod request;
mod room;
mod script;
mod serve;
mod slow;
mod tally;
mod telemetry;
mod upkeep;
mod yielding;

pub use consult::{Answer, Question, Unanswered};
pub use host::{BUILT_FOR, Host, PYTHON_VERSION, StartError};
pub use options::{
    ApacheFacts, HashSeed, HostOptions, InterpreterOptions, ServerBoard, ServerProcess,
    ServerStatus, ServerWorker, TelemetryOptions,
};
pub use request::ServerLog;
pub use script::ScriptFile;
pub use serve::{Served, Target};
