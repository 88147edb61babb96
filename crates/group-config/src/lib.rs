//! What a daemon process group is told before it starts: the options of its `WSGIDaemonProcess` line with their
//! defaults and ranges, and what else Apache's parent knows of it. The parent writes a [`GroupConfig`] as JSON
//! into a file in memory, and `wsgi-daemon` reads it; a command line makes one by hand.
//!
//! An option has its field here, with default and unit; its row in `src/config/daemon_options.rs` sets that
//! field, and what it does is in `crates/daemon`. The lines that a group's processes write to the log take the form
//! that `log_stream` gives them on their way to Apache's side. This crate knows neither Apache nor Python, and makes no
//! system call.
#![forbid(unsafe_code)]

mod admin_socket;
mod asgi;
pub mod byte_string;
mod environment;
mod front_end;
mod group;
mod identity;
mod limits;
pub mod log_stream;
mod python;
mod scripts;
mod seconds;
mod timers;

pub use admin_socket::AdminSocketName;
pub use asgi::{Asgi, EventLoop, Interface, Lifespan};
pub use environment::Environment;
pub use front_end::{AddressBlock, BadBlock, FrontEnd, FrontEnds, web_server_addresses};
pub use group::{Descriptors, GroupConfig, Invalid, Processes, PythonProgram};
pub use identity::Identity;
pub use limits::Limits;
pub use python::{Apache, Interpreter, Python, Telemetry};
pub use scripts::{Application, ImportScript, WarmUp};
pub use timers::Timers;
