//! What the kernel keeps the processes of a group to.

use crate::seconds;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Resource limits of each worker, and sizes of its sockets. `None` leaves it to the system.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// CPU time after which a worker is replaced (`RLIMIT_CPU`), in whole seconds.
    #[serde(with = "seconds")]
    pub cpu_time_limit: Option<Duration>,
    /// Bytes of data (`RLIMIT_DATA`).
    pub memory_limit: Option<u64>,
    /// Bytes of address space (`RLIMIT_AS`).
    pub virtual_memory_limit: Option<u64>,
    /// Bytes of stack of each thread that serves.
    pub stack_size: Option<usize>,
    /// Connections that may wait for a worker: the backlog of its socket.
    pub listen_backlog: u32,
    /// Bytes of a connection's send buffer (`SO_SNDBUF`).
    pub send_buffer_size: Option<usize>,
    /// Bytes of a connection's receive buffer (`SO_RCVBUF`).
    pub receive_buffer_size: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_time_limit: None,
            memory_limit: None,
            virtual_memory_limit: None,
            stack_size: None,
            listen_backlog: 100,
            send_buffer_size: None,
            receive_buffer_size: None,
        }
    }
}
