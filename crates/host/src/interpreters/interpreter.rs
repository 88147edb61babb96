//! Interpreters of this process: the main one and a sub-interpreter for each named application group.
#![forbid(unsafe_code)]

use crate::cpython::{Attachment, InterpreterHandle};
use crate::interpreters::state::InterpreterState;

/// One interpreter, with what this crate keeps in it.
pub(crate) struct Interpreter {
    /// The application group; empty for the main interpreter.
    pub(crate) name: String,
    /// CPython's interpreter, and the states of this crate's threads in it.
    pub(crate) python: InterpreterHandle,
    pub(crate) state: InterpreterState,
}

impl Interpreter {
    /// Attaches the calling thread. `None` when memory is exhausted, and once the interpreter is being ended.
    pub(crate) fn attach(&self) -> Option<Attachment> {
        self.python.attach()
    }
}
