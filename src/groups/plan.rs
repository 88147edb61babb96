//! What Apache's parent hands to its children about one group. It must never know which process reads it.
#![forbid(unsafe_code)]

use super::board::Board;
use super::counters::GroupCounters;
use super::known_cause::KnownCause;
use super::request_counters::RequestCounters;
use crate::config::DaemonProcess;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A daemon process group as the parent knows it when it forks its children.
#[derive(Clone)]
pub(crate) struct GroupPlan {
    pub(crate) definition: DaemonProcess,
    /// The path of each worker's listening socket, by slot.
    pub(crate) sockets: Vec<PathBuf>,
    /// Requests under way by slot, and responses that wait in files, over all children.
    pub(crate) counters: Arc<GroupCounters>,
    pub(crate) board: Arc<Board>,
    /// What became of its requests.
    pub(crate) requests: Arc<RequestCounters>,
    /// Why the group has no manager, where the parent knows.
    pub(crate) known_cause: Arc<KnownCause>,
    /// The secret by which the group's workers know requests of Apache's children.
    pub(crate) secret: Arc<str>,
    /// The user that the group's workers run as.
    pub(crate) worker_uid: u32,
    /// The log level of the group's workers where a request names no other: an `APLOG_*` number.
    pub(crate) log_level: u8,
    /// `Timeout` of the server.
    pub(crate) timeout: Duration,
}
