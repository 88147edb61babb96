//! The environment that a process started with: each interpreter begins with it, whatever the applications of the others
//! have set meanwhile. `os.environ` of a new interpreter is a copy of the process' environment as it is then, into which
//! `os.environ` of every other interpreter writes.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Result};
use std::os::unix::ffi::OsStringExt;

/// Names and values.
pub(crate) struct ProcessEnvironment(Vec<(Vec<u8>, Vec<u8>)>);

impl ProcessEnvironment {
    /// As it is now. Called before any application has run.
    pub(crate) fn current() -> Self {
        let all = std::env::vars_os();
        Self(all.map(|(name, value)| (name.into_vec(), value.into_vec())).collect())
    }

    /// Makes it the content of `os.environ` of an interpreter, and leaves that of the process alone: other interpreters
    /// rely on it.
    pub(crate) fn give<'py>(&self, py: Attached<'py>) -> Result<'py, ()> {
        // `os.environ` keeps its content in this dict, as bytes; setting an item of `os.environ` itself would change
        // the environment of the process.
        let content = py.import(c"posix")?.attribute(c"environ")?;
        if !content.is_dict() {
            return Ok(());
        }
        content.call_method(c"clear", [])?;
        for (name, value) in &self.0 {
            content.set_item(&py.bytes(name)?, &py.bytes(value)?)?;
        }
        Ok(())
    }
}
