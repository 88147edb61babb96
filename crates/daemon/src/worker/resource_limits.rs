//! The resource limits of a worker (setrlimit(2)).
#![forbid(unsafe_code)]

use crate::log::Log;
use group_config::{Limits, Timers};
use sys::Resource;
use wsgi::Level;

/// Applies the limits of a worker to this process. The manager has none: it has to go on replacing workers.
pub(super) fn apply(limits: &Limits, timers: &Timers, log: &Log) {
    let set = |resource, name: &str, limit: Option<u64>, hard: u64| {
        if let Some(soft) = limit
            && let Err(why) = sys::set_limit(resource, soft, soft.saturating_add(hard))
        {
            log.write(Level::Warning, format!("cannot set {name} to {soft}: {why}").as_bytes());
        }
    };
    // The soft limit asks for another worker. One second and the time to shut down later the kernel kills.
    let grace = timers.shutdown_timeout.unwrap_or_default().as_secs().saturating_add(1);
    let cpu_seconds = limits.cpu_time_limit.map(|limit| limit.as_secs());
    set(Resource::Cpu, "cpu-time-limit", cpu_seconds, grace);
    set(Resource::Data, "memory-limit", limits.memory_limit, 0);
    set(Resource::AddressSpace, "virtual-memory-limit", limits.virtual_memory_limit, 0);
}
