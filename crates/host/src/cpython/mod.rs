//! CPython's C API made safe: the one place of this crate where `unsafe` may stand.
//!
//! Not PyO3's safe layer, because that keeps per-process state (attach counts, a pool of deferred
//! decrefs, interned strings) which is wrong once a process has several interpreters; `pyo3-ffi`
//! underneath is exactly the C API and has none. Errors stay where CPython puts them, in the thread
//! state: [`Raised`] only says that one is there. It knows nothing of WSGI.
#![allow(unsafe_code, reason = "this room is the fence around the C API")]

mod attached;
mod capsule;
mod class;
mod exception;
mod modules;
mod object;
mod raised;
mod runtime;
mod shelf;
mod text;
mod thread_state;
mod values;
mod waiting;

pub(crate) use attached::Attached;
pub(crate) use capsule::Capsule;
pub(crate) use class::{Arguments, Class, Instance, Method, Property, Slots, TypeFlags};
pub(crate) use exception::Exception;
pub(crate) use object::Object;
pub(crate) use raised::{ExceptionKind, Raised, Result};
pub use runtime::HashSeed;
pub(crate) use runtime::{
    Fork, PythonConfig, end_interpreter, finalize, fork, initialize, version,
};
pub(crate) use shelf::Shelf;
pub(crate) use thread_state::{
    Attachment, FREE_THREADED, HAS_OWN_GIL, InterpreterState, ThreadState,
};
pub(crate) use waiting::{Waited, Waiting};
