//! In Apache's parent: the daemon process groups of the configuration become managers that run, with their
//! sockets. Nothing here serves a request.
#![forbid(unsafe_code)]

mod check;
mod daemon_program;
mod error;
mod generation;
mod group_config;
mod group_log;
mod group_sockets;
mod group_state;
mod installation;
mod installed;
mod log_writer;
mod manager;
mod monitor;
mod registry;
mod retired;
mod socket;
pub(crate) mod supervisor;
pub(crate) mod warm_up;

pub(crate) use check::{check_options, examine, is_group_error};
pub(crate) use error::GroupError;
pub(crate) use group_config::Applications;
#[cfg(feature = "embedded")]
pub(crate) use installation::missing_directories;
pub(crate) use monitor::{MonitorHook, ParentExitGuard};
