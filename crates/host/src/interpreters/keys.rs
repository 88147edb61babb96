//! The environ's keys that the gateway itself sets, interned once in each interpreter.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Raised, Result, Shelf};

/// Interned names the gateway sets for each request.
pub(crate) struct Words {
    pub(crate) wsgi_input: Shelf,
    pub(crate) wsgi_errors: Shelf,
    pub(crate) application_group: Shelf,
    pub(crate) callable_object: Shelf,
    pub(crate) request_start: Shelf,
    pub(crate) queue_start: Shelf,
    pub(crate) daemon_start: Shelf,
    pub(crate) application_start: Shelf,
    pub(crate) thread_id: Shelf,
    pub(crate) start_response: Shelf,
}

impl Words {
    pub(crate) fn new(py: Attached<'_>) -> Result<'_, Self> {
        let word = |text| Ok::<_, Raised<'_>>(Shelf::keep(py.interned(text)?));
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
