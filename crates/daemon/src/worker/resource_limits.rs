//! The resource limits of a worker (setrlimit(2)).
#![forbid(unsafe_code)]

use crate::config::{Limits, Timers};
use crate::log::Log;
use crate::posix::{self, Resource};
use wsgi::Level;

/// Applies the limits of a worker to this process. The manager has none: what it is worth living on
/// for is replacing workers.
pub(crate) fn limit(limits: &Limits, timers: &Timers, log: &Log) {
    let set = |resource, name: &str, limit: Option<u64>, hard: u64| {
        if let Some(soft) = limit
            && let Err(why) = posix::set_limit(resource, soft, soft.saturating_add(hard))
        {
            log.write(Level::Warning, format!("cannot set {name} to {soft}: {why}").as_bytes());
        }
    };
    // One second more and the time to shut down: what does not leave by then is killed.
    let grace = 1 + timers.shutdown_timeout.unwrap_or(0.0) as u64;
    set(Resource::Cpu, "cpu-time-limit", limits.cpu_time_limit, grace);
    set(Resource::Data, "memory-limit", limits.memory_limit, 0);
    set(Resource::AddressSpace, "virtual-memory-limit", limits.virtual_memory_limit, 0);
}
