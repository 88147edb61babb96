//! In Apache's parent: the daemon process groups of the configuration become managers that run, with their
//! sockets. Nothing here serves a request.
#![forbid(unsafe_code)]

pub(crate) mod daemon_program;
mod group_config;
mod socket;
pub(crate) mod supervisor;
pub(crate) mod warm_up;

pub(crate) use group_config::Applications;
