//! What is told of a request once it has been served: variables of its environment for access logs, counters for the status
//! page. It must never know how it is served.
#![forbid(unsafe_code)]

use crate::environ::decimal;
use crate::failure_flag::Flags;
use crate::groups::{GroupPlan, RecentFailure, ServerCounters};
use crate::httpd::{Outcome, Request};
use crate::request_times::RequestTimes;
use std::ffi::CStr;

/// The variable of a request that says why it has failed.
pub(crate) const FLAGS_VARIABLE: &CStr = c"WSGI_FLAGS";
/// Those that say how long it has taken, in microseconds.
pub(crate) const QUEUE_TIME: &CStr = c"WSGI_QUEUE_TIME";
pub(crate) const APPLICATION_TIME: &CStr = c"WSGI_APPLICATION_TIME";

/// Counts a request that has been served by `group`, or by this process, and sets its variables; before it is logged.
pub(crate) fn conclude(
    request: &Request<'_>,
    outcome: Outcome,
    group: Option<&GroupPlan>,
    flags: Flags,
    times: RequestTimes,
) {
    count(request, outcome, group, flags, times.queue);
    set_variables(request, flags, times);
}

/// Counts a request for the status page, unless the module is built to measure what that costs.
fn count(
    request: &Request<'_>,
    outcome: Outcome,
    group: Option<&GroupPlan>,
    flags: Flags,
    queue: Option<u64>,
) {
    if cfg!(feature = "uncounted") {
        return;
    }
    let Some(server) = ServerCounters::get() else { return };
    let status = match outcome {
        Outcome::Status(status) => status,
        Outcome::FilterFailed => 500,
        Outcome::Declined | Outcome::Done | Outcome::Suspended => {
            u16::try_from(request.status()).unwrap_or(0)
        }
    };
    let end = wsgi::epoch_micros();
    let duration = u64::try_from(end.saturating_sub(request.time())).unwrap_or(0);
    let counters = group.map_or(&server.embedded, |group| &group.requests);
    counters.record(status, flags.iter().map(|flag| flag as usize), duration, queue);
    if flags.are_of_a_failure() {
        counters.failures.record(&RecentFailure {
            time: u64::try_from(end).unwrap_or(0),
            flags: flags.bits(),
            status,
            host: request.server().name().unwrap_or_default().to_vec(),
            group: group.map(|group| group.definition.name.to_vec()).unwrap_or_default(),
            script: request.filename().unwrap_or_default().to_vec(),
            request: [request.method(), b" ", request.uri()].concat(),
        });
    }
}

fn set_variables(request: &Request<'_>, flags: Flags, times: RequestTimes) {
    let (environment, pool) = (request.subprocess_env(), request.pool());
    if !flags.is_empty() {
        environment.set(pool, FLAGS_VARIABLE, flags.to_string().as_bytes());
    }
    if RequestTimes::are_logged() {
        let mut number = [0; 20];
        for (name, time) in [(QUEUE_TIME, times.queue), (APPLICATION_TIME, times.application)] {
            if let Some(time) = time {
                environment.set(pool, name, decimal(time, &mut number));
            }
        }
    }
}
