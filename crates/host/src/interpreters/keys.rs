//! The environ's keys that the gateway itself sets, interned once in each interpreter.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Persistent, Raised, Result};

/// Interned keys of the variables that the gateway sets for each request.
pub(crate) struct InternedKeys {
    pub(crate) wsgi_input: Persistent,
    pub(crate) wsgi_errors: Persistent,
    pub(crate) application_group: Persistent,
    pub(crate) callable_object: Persistent,
    pub(crate) request_start: Persistent,
    pub(crate) queue_start: Persistent,
    pub(crate) daemon_start: Persistent,
    pub(crate) application_start: Persistent,
    pub(crate) thread_id: Persistent,
    pub(crate) start_response: Persistent,
}

impl InternedKeys {
    pub(crate) fn new(py: Attached<'_>) -> Result<'_, Self> {
        let word = |text| Ok::<_, Raised<'_>>(Persistent::new(py.interned(text)?));
        Ok(Self {
            wsgi_input: word("wsgi.input")?,
            wsgi_errors: word("wsgi.errors")?,
            application_group: word("mod_wsgi.application_group")?,
            callable_object: word("mod_wsgi.callable_object")?,
            request_start: word("mod_wsgi.request_start")?,
            queue_start: word("mod_wsgi.queue_start")?,
            daemon_start: word("mod_wsgi.daemon_start")?,
            application_start: word("mod_wsgi.application_start")?,
            thread_id: word("mod_wsgi.thread_id")?,
            start_response: word("start_response")?,
        })
    }
}
