//! CPython's C API made safe. `unsafe` stands here, in `gateway/lease.rs` and in `posix.rs`, and nowhere else in this
//! crate.
//!
//! Not PyO3's safe layer, because that keeps per-process state (attach counts, a pool of deferred
//! decrefs, interned strings) which is wrong once a process has several interpreters; `pyo3-ffi`
//! underneath is exactly the C API and has none. Errors stay where CPython puts them, in the thread
//! state: [`Raised`] only says that one is there. WSGI is not known here.
#![allow(unsafe_code, reason = "this folder is the fence around the C API")]

mod attached;
mod capsule;
mod class;
mod context_variable;
mod exception;
mod extension;
mod frozen;
mod gil_wait;
mod interpreter;
mod iterator;
mod layout;
mod line_table;
mod live_stack;
mod modules;
mod object;
mod object_layout;
mod open_code;
mod persistent;
mod raised;
mod runtime;
mod text;
mod thread_state;
mod values;

#[cfg(not(Py_3_12))]
mod gil_state;
#[cfg(not(Py_3_12))]
mod thread_state_id;

pub use attached::Attached;
pub(crate) use capsule::Capsule;
pub(crate) use class::{
    Arguments, Class, ClassObject, ClassRef, Instance, Method, Property, Slots, TypeFlags,
};
pub(crate) use exception::Exception;
pub use extension::{EntryPoint, RunningPython, module_definition};
pub use frozen::Freeze;
pub(crate) use frozen::read_stacks;
pub(crate) use gil_wait::{GilWait, GilWaitTimer};
pub(crate) use interpreter::{Fork, InterpreterHandle, is_attached};
pub use live_stack::ReadMemory;
pub(crate) use live_stack::live_stack;
pub use object::Object;
pub(crate) use open_code::open_regular;
pub use open_code::{imported_version, record_imports};
pub(crate) use persistent::Persistent;
pub(crate) use raised::{ExceptionKind, Raised, Result};
pub use runtime::HashSeed;
pub(crate) use runtime::{PythonConfig, adopt, initialize, version};
pub(crate) use thread_state::{Attachment, FREE_THREADED, HAS_OWN_GIL, ThreadState};
