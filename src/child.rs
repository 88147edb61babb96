//! What an Apache child process knows of itself, for as long as it serves. How it came to that is the
//! affair of `start.rs`.
#![forbid(unsafe_code)]

use crate::config::ProcessOptions;
use crate::forward::Group;
use std::sync::OnceLock;

/// What requests need to know of the process they are served in.
pub(crate) struct Child {
    pub(crate) options: ProcessOptions,
    /// One application only is served here (design decision D5).
    pub(crate) sole: bool,
    /// The daemon process groups.
    pub(crate) groups: Vec<Group>,
    #[cfg(feature = "embedded")]
    pub(crate) host: Option<host::Host>,
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
