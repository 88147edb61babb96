//! Records of Python's `logging` keep their level where an application has no handler. This file must never know how a
//! record becomes a line of the log.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Result};

/// What is done in each interpreter.
const SOURCE: &str = include_str!("logging_levels.py");

/// Has `logging`, once the interpreter imports it, give records without a handler to `mod_wsgi.LogHandler`. That module
/// has to be there.
pub(super) fn keep_levels(py: Attached<'_>) -> Result<'_, ()> {
    let names = py.dict()?;
    py.import(c"builtins")?.call_method(c"exec", [&py.str(SOURCE)?, &names])?;
    Ok(())
}
