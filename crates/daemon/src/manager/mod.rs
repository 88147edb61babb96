//! The manager of a process group: a process with one thread and without Python that starts workers, watches
//! them and replaces them. It never serves a request.
#![forbid(unsafe_code)]

mod account;
mod admin;
mod admin_client;
mod admin_http;
mod admin_order;
mod apache_counts;
mod draining;
mod events;
mod exits;
mod failure_cause;
mod group;
mod metrics;
mod oom_kills;
mod orders;
mod output;
mod pending;
mod preload;
mod privileges;
mod replacement;
mod request_status;
mod scripts;
mod slot;
mod socket;
mod stack_question;
mod stacks;
mod start;
mod start_cause;
mod status;
mod templates;
mod timers;
mod tried_scripts;

pub(crate) use group::{Group, Outcome, Sockets};
pub(crate) use privileges::drop_privileges;
pub(crate) use socket::{SocketError, create_socket};
pub(crate) use start_cause::StartCauseMemory;
