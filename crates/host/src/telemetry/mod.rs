//! `WSGITelemetryService`: what this process does, sent to a Unix datagram socket at intervals, as the
//! telemetry service of mod_wsgi expects it (reference section 9). A process does not wait for that service: a message that it does not take at once
//! is lost.
#![forbid(unsafe_code)]

mod datagram;
mod field;
mod garbage;
mod reporter;
mod sample;
mod slow;
mod socket;

pub(crate) use garbage::{Collections, watch_garbage};
pub(crate) use reporter::Reporter;
pub(crate) use slow::{Details, RequestTexts, SlowRecord, SlowRecords};
