//! What this crate keeps in one interpreter. How it gets there is not known here.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Object, Shelf};
use crate::gateway::environ::Names;
use crate::interpreters::keys::Words;
use crate::interpreters::script::Scripts;
use crate::observe::events::Subscribers;
use crate::telemetry::Collections;
use std::sync::Arc;

/// What this crate keeps in one interpreter. References in it belong to that interpreter alone.
pub(crate) struct Room {
    pub(crate) names: Names,
    pub(crate) scripts: Scripts,
    pub(crate) input: Shelf,
    pub(crate) log: Shelf,
    pub(crate) adapter: Shelf,
    pub(crate) auth: Shelf,
    pub(crate) file_wrapper: Shelf,
    /// The environ before a request's own variables come into it.
    pub(crate) template: Shelf,
    /// The interpreter's `mod_wsgi` module.
    pub(crate) module: Shelf,
    pub(crate) subscribers: Arc<Subscribers>,
    /// `mod_wsgi.RequestTimeout`, which interrupts a request that takes too long.
    pub(super) request_timeout: Shelf,
    pub(crate) words: Words,
    /// Where they are reported to a telemetry service.
    pub(crate) collections: Option<Arc<Collections>>,
}

impl Room {
    /// The class `mod_wsgi.RequestTimeout` of this interpreter.
    pub(crate) fn request_timeout<'py>(&self, py: Attached<'py>) -> Object<'py> {
        self.request_timeout.get(py)
    }
}
