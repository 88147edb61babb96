//! One process' Python: interpreters, applications, and the objects an application sees.
//!
//! [`Host`] serves requests that come as a [`wsgi::Exchange`] and never learns which transport is behind it: Apache's
//! `request_rec` in embedded mode, a FastCGI connection in a daemon process. Apache is not known here.
//!
//! # A request, function by function
//!
//! [`Host::serve`] finds the interpreter (`interpreters::registry`, made as `interpreters::prepare` says) →
//! `gateway::serve::serve` sets the request up, attaches the thread and lends the response to Python
//! (`gateway::lease`) → `Call::run` loads the script (`interpreters::load`, `script`) → `Call::answer` makes the environ
//! (`gateway::environ`), calls the application with `start_response` (`objects::adapter`) → `gateway::send` sends what it
//! returned by way of `Response::send_chunk` (`gateway::response`), which calls [`wsgi::Exchange::send`] → `serve` detaches
//! the thread, completes the response and records the request (`observe`).
//!
//! # The folders
//!
//! Each imports only from those below it, and no two files import each other.
//!
//! | Folder | What is there |
//! |---|---|
//! | `host`, `shutdown`, `event_loop`, `application_interface`, `process_events`, `interpreters::maintenance`, `observe::interrupt`, `observe::stacks` | the methods of [`Host`] |
//! | `asgi` | applications of ASGI: the event loop, scope and messages; WSGI does not know it |
//! | `gateway` | the rules of PEP 3333: one request through one application; scripts that the server consults |
//! | `interpreters` | how interpreters are made and prepared, what is kept in each, the scripts they load |
//! | `observe` | counts and times of requests and threads, events for subscribers, slow requests |
//! | `telemetry` | what is sent to the service of `WSGITelemetryService` |
//! | `objects` | the Python types that an application sees |
//! | `cpython` | the C API made safe; `unsafe` is allowed there, in `gateway::lease` and in `posix` only |

mod application_interface;
mod asgi;
mod cpython;
mod event_loop;
mod failure;
mod gateway;
mod hints;
mod host;
mod interpreters;
mod log;
mod objects;
mod observe;
mod options;
mod posix;
mod process_events;
mod shutdown;
mod telemetry;
mod version;

pub use asgi::{
    AsgiEvent, AsgiExchange, AsgiExecutor, AsgiSettings, AsgiSocket, AsgiSource, EventLoopKind,
    Input, LifespanMode, Load, Received, Sent, SocketMessage, StartupApplication,
};
pub use cpython::{
    EntryPoint, Freeze, ReadMemory, RunningPython, imported_version, module_definition,
    record_imports,
};
pub use gateway::consult::{Answer, Question, Unanswered};
pub use gateway::target::{Served, Target};
pub use host::{BUILT_FOR, Host, PYTHON_VERSION, StartError, running_version};
pub use interpreters::interface::ApplicationInterface;
pub use interpreters::script::{Reloading, Replacement, ScriptFile};
pub use log::ServerLog;
pub use observe::stack_text::stack_text;
pub use observe::stacks::{StackFrame, TaskStack, ThreadName, ThreadStack, thread_ident};
pub use options::{
    ApacheFacts, HashSeed, HostOptions, InterpreterOptions, ServerBoard, ServerProcess,
    ServerStatus, ServerWorker, TelemetryOptions,
};

/// What keeps Python objects out of code that runs detached, for the tests below.
///
/// Plain values may be used while other Python threads run:
/// ```
/// use host::fence::{Attached, Lease};
///
/// fn plain(py: Attached<'_>, lease: &Lease) {
///     let bytes = vec![1_u8, 2];
///     py.detached(|| bytes.len());
///     lease.with_detached(py, |_response| bytes.len());
/// }
/// ```
/// A token may not:
/// ```compile_fail,E0277
/// fn token(py: host::fence::Attached<'_>) {
///     py.detached(move || drop(py));
/// }
/// ```
/// Nor an object:
/// ```compile_fail,E0277
/// use host::fence::{Attached, Object};
///
/// fn object<'py>(py: Attached<'py>, object: &Object<'py>) {
///     py.detached(|| drop(object.clone()));
/// }
/// ```
/// Nor either of them under a lease:
/// ```compile_fail,E0277
/// use host::fence::{Attached, Lease, Object};
///
/// fn leased<'py>(py: Attached<'py>, lease: &Lease, object: &Object<'py>) {
///     lease.with_detached(py, |_response| drop(object.clone()));
/// }
/// ```
#[doc(hidden)]
pub mod fence {
    pub use crate::cpython::{Attached, Object};
    pub use crate::gateway::lease::Lease;
}
