//! What is recorded of requests and of the threads that serve them: counts, times, events, slow requests.
#![forbid(unsafe_code)]

pub(crate) mod activity;
pub(crate) mod events;
mod hanging;
pub(crate) mod histogram;
mod interrupt;
pub(crate) mod io_counters;
pub(crate) mod loop_requests;
pub(crate) mod metrics;
pub(crate) mod observation;
pub(crate) mod running_request;
pub(crate) mod slow;
pub(crate) mod stack_text;
pub(crate) mod stacks;
mod tasks;
pub(crate) mod thread_id;
