//! What this crate keeps in one interpreter. `prepare` fills it.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, ClassRef, Object, Persistent};
use crate::gateway::environ::EnvironCache;
use crate::interpreters::keys::InternedKeys;
use crate::interpreters::script::Scripts;
use crate::objects::{Adapter, Auth, FileWrapper, Input, JsonSource, Log};
use crate::observe::events::Subscribers;
use crate::telemetry::Collections;
use std::sync::Arc;

/// What this crate keeps in one interpreter. References in it belong to that interpreter alone.
pub(crate) struct InterpreterState {
    pub(crate) environ_cache: EnvironCache,
    pub(crate) scripts: Scripts,
    pub(crate) input: ClassRef<Input>,
    pub(crate) log: ClassRef<Log>,
    /// `WSGILogFormat json`: what lines of the log say.
    pub(crate) json: Option<Arc<JsonSource>>,
    pub(crate) adapter: ClassRef<Adapter>,
    pub(crate) auth: ClassRef<Auth>,
    pub(crate) file_wrapper: ClassRef<FileWrapper>,
    /// The variables of an environ that the configuration determines.
    pub(crate) template: Persistent,
    /// The interpreter's `mod_wsgi` module.
    pub(crate) module: Persistent,
    pub(crate) subscribers: Arc<Subscribers>,
    /// `mod_wsgi.RequestTimeout`, which interrupts a request that takes too long.
    pub(super) request_timeout: Persistent,
    pub(crate) keys: InternedKeys,
    /// The garbage collections, where they are reported to a telemetry service.
    pub(crate) collections: Option<Arc<Collections>>,
}

impl InterpreterState {
    /// The class `mod_wsgi.RequestTimeout` of this interpreter.
    pub(crate) fn request_timeout<'py>(&self, py: Attached<'py>) -> Object<'py> {
        self.request_timeout.get(py)
    }
}
