//! Embedded mode: Python in Apache's own child processes.
#![forbid(unsafe_code)]

mod serve;
mod server_status;
mod start;

pub(crate) use serve::serve;
pub(crate) use start::{check, start};
