//! A daemon process group as Apache's parent makes it and its children use it: the plan, the counters that children
//! share, the scoreboard; and what they share about all groups and about the children themselves. Nothing here starts a process or serves a request.
#![forbid(unsafe_code)]

mod board;
mod counters;
mod known_cause;
mod plan;
mod recent_failures;
mod request_counters;
mod server_children;
mod server_counters;
mod start_block;

pub(crate) use board::Board;
pub(crate) use counters::GroupCounters;
pub(crate) use known_cause::KnownCause;
pub(crate) use plan::GroupPlan;
pub(crate) use recent_failures::RecentFailure;
pub(crate) use request_counters::RequestCounters;
pub(crate) use server_children::ServerChildren;
pub(crate) use server_counters::{Configuration, ServerCounters};
pub(crate) use start_block::StartBlock;
