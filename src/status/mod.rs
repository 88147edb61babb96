//! What the handlers `wsgi-status` and `wsgi-health` tell: of memory that processes share, and of /proc. Nothing here
//! asks a worker, a manager or Python.
#![forbid(unsafe_code)]

mod escaped;
mod handler;
mod html;
mod json;
mod openmetrics;
mod query;
mod snapshot;
mod stack;

pub(crate) use handler::{answer, answer_health};
