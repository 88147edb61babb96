//! `WSGITelemetryService`: what this process does, sent to a Unix datagram socket at intervals, as the
//! telemetry service of mod_wsgi expects it (reference section 9). Nobody waits for that service: what it
//! does not take at once is lost, and a process goes on without it.
#![forbid(unsafe_code)]

mod datagram;
mod field;
mod garbage;
mod outlet;
mod reporter;
mod sample;
mod slow;

pub(crate) use garbage::{Collections, watch_garbage};
pub(crate) use reporter::Reporter;
pub(crate) use slow::{Details, SlowRecord, SlowRecords};
