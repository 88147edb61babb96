//! What an Apache child process knows of itself, for as long as it serves. How it came to that is the
//! affair of `start.rs`.
#![forbid(unsafe_code)]

use crate::config::ProcessOptions;
#[cfg(feature = "embedded")]
use crate::embedded::{EmbeddedPython, RunningRequest};
use crate::forward::Group;
#[cfg(feature = "embedded")]
use crate::httpd::Request;
use scoreboard::PythonVersion;
use std::sync::OnceLock;

/// What requests need to know of the process that serves them.
pub(crate) struct Child {
    /// The process-wide settings, defaults applied.
    pub(crate) options: ProcessOptions,
    /// Only one application is served here, in the main interpreter (design decision D5).
    pub(crate) sole: bool,
    /// The daemon process groups.
    pub(crate) groups: Vec<Group>,
    /// The Python of this process, started or not; `None` where the module has none.
    pub(crate) python_version: Option<PythonVersion>,
    #[cfg(feature = "embedded")]
    /// Python in this process; `None` where the configuration keeps it out.
    pub(crate) python: Option<EmbeddedPython>,
}

#[cfg(feature = "embedded")]
impl Child {
    /// Python in this process, which is started where it has not been; `None` where the configuration keeps it out, or
    /// it could not be started.
    pub(crate) fn host(&self) -> Option<&host::Host> {
        self.python.as_ref()?.host(&self.options)
    }

    /// Notes for the status page that the calling thread needs Python for `request`, until what this returns is dropped
    /// ([`EmbeddedPython::begin`]).
    pub(crate) fn begin(
        &self,
        request: &Request<'_>,
        is_served: bool,
    ) -> Option<RunningRequest<'_>> {
        self.python.as_ref()?.begin(request, is_served)
    }
}

/// Set once in each child process, which never sees another configuration.
static CHILD: OnceLock<Child> = OnceLock::new();

impl Child {
    /// The process' own, once `child_init` has run.
    pub(crate) fn get() -> Option<&'static Self> {
        CHILD.get()
    }

    /// Makes this the process' own; whether there was none before.
    pub(crate) fn set(self) -> bool {
        CHILD.set(self).is_ok()
    }
}
