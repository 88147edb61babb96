//! A daemon process group as Apache's parent makes it and its children use it: the plan, the counters of requests
//! under way, the scoreboard. Nothing here starts a process or serves a request.
#![forbid(unsafe_code)]

mod board;
mod in_flight;
mod known_cause;
mod plan;

pub(crate) use board::Board;
pub(crate) use in_flight::InFlight;
pub(crate) use known_cause::KnownCause;
pub(crate) use plan::GroupPlan;
