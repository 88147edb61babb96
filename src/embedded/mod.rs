//! Embedded mode: Python in Apache's own child processes.
#![forbid(unsafe_code)]

mod locale;
mod python;
mod serve;
mod server_status;
mod start;

pub(crate) use python::EmbeddedPython;
pub(crate) use serve::serve;
pub(crate) use start::check;
