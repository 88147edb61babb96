//! Serving a request in a daemon process: the request goes out as FastCGI, the response comes back and is
//! relayed. It must never know which processes there are, which is the supervisor's matter, nor Python.
//!
//! [`serve`] reads what of the body is to be there first and makes the params; `WorkerLease::choose` picks a worker;
//! an `Attempt` sends the request over a `Connection` and relays the response; a `Failure` is answered, or
//! the request goes to the next worker.
#![forbid(unsafe_code)]

mod attempt;
mod backlog;
mod body;
mod closer;
mod connection;
mod connection_error;
mod duplex;
mod early_hints;
mod failure;
mod file_readers;
mod given_back;
mod group;
mod idle;
mod lease;
mod open_streams;
mod output;
mod params;
mod parked_stream;
mod passed_file;
mod passed_over;
mod relay;
mod relay_buffers;
mod relay_error;
mod response_body;
mod serve;
mod spool;
mod spool_share;
mod stream;
mod unlogged;
mod upgrade;

pub(crate) use group::Group;
pub(crate) use serve::serve;
pub(crate) use stream::end_all;
pub(crate) use upgrade::drain;
