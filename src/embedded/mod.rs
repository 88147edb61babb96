//! Embedded mode: Python in Apache's own child processes.
#![forbid(unsafe_code)]

mod locale;
mod own_record;
mod python;
mod serve;
mod server_status;
mod stack_writer;
mod start;

pub(crate) use own_record::RunningRequest;
pub(crate) use python::EmbeddedPython;
pub(crate) use serve::serve;
pub(crate) use stack_writer::set_status_page;
pub(crate) use start::check;
