//! When a worker is replaced, and how long what it does may take.

use crate::seconds;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits on what a worker does, by number, by size and by time. `None` is off; a time of zero is off as well,
/// but for `graceful_timeout`. In JSON times are seconds and may have a fraction.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timers {
    /// Requests after which a worker is replaced.
    pub maximum_requests: Option<u64>,
    /// Each worker's own limit of requests lies up to this many above.
    pub maximum_requests_jitter: u64,
    /// Resident bytes above which a worker is replaced after its request.
    pub maximum_memory: Option<u64>,
    /// From the first request until a script has loaded; also for a worker's own start.
    #[serde(with = "seconds")]
    pub startup_timeout: Option<Duration>,
    /// A worker that is told to stop is killed after this.
    #[serde(with = "seconds")]
    pub shutdown_timeout: Option<Duration>,
    /// No thread has got Python's lock for this long.
    #[serde(with = "seconds")]
    pub deadlock_timeout: Option<Duration>,
    /// No request has come for this long.
    #[serde(with = "seconds")]
    pub inactivity_timeout: Option<Duration>,
    /// A request that takes longer has its worker replaced.
    #[serde(with = "seconds")]
    pub request_timeout: Option<Duration>,
    /// A request beyond `request_timeout` is first interrupted, and has this long to end.
    #[serde(with = "seconds")]
    pub interrupt_timeout: Option<Duration>,
    /// What a worker that is replaced has for the requests it serves.
    #[serde(with = "seconds")]
    pub graceful_timeout: Duration,
    /// The same after SIGUSR1 to a worker; `None`: `graceful_timeout`.
    #[serde(with = "seconds")]
    pub eviction_timeout: Option<Duration>,
    /// The age at which a worker is replaced.
    #[serde(with = "seconds")]
    pub restart_interval: Option<Duration>,
    /// A request older than this when a thread takes it is answered 504.
    #[serde(with = "seconds")]
    pub queue_timeout: Option<Duration>,
    /// Silence of the requesting end, in the middle of a request. Apache's parent fills in the server's
    /// `Timeout`; `None` is without end.
    #[serde(with = "seconds")]
    pub socket_timeout: Option<Duration>,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            maximum_requests: None,
            maximum_requests_jitter: 0,
            maximum_memory: None,
            startup_timeout: None,
            shutdown_timeout: Some(Duration::from_secs(5)),
            deadlock_timeout: Some(Duration::from_secs(300)),
            inactivity_timeout: None,
            request_timeout: None,
            interrupt_timeout: None,
            graceful_timeout: Duration::from_secs(15),
            eviction_timeout: None,
            restart_interval: None,
            queue_timeout: None,
            socket_timeout: None,
        }
    }
}

impl Timers {
    /// Whether requests are interrupted before their worker is replaced.
    pub fn is_interrupting(&self) -> bool {
        let on = |limit: Option<Duration>| limit.is_some_and(|limit| !limit.is_zero());
        on(self.interrupt_timeout) && on(self.request_timeout)
    }
}
