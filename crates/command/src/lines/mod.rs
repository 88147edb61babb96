//! What the launcher prints: log lines for people, or for programs. It knows the formats of the logs, and no server.
#![forbid(unsafe_code)]

mod errors;
mod output;
mod requests;
mod style;

pub(crate) use output::{Output, to_standard_error, to_standard_output};
