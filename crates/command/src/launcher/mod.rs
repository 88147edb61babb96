//! Apache as a child of this process: started, watched, stopped; its logs printed. Fit to be process 1 of a container.
#![forbid(unsafe_code)]

mod apache_process;
mod descendants;
mod log_pipes;
mod port;
mod service_manager;
mod start;
mod stopping;
mod supervise;

pub(crate) use apache_process::{SUPERVISED, run_supervised};
pub(crate) use start::start;
