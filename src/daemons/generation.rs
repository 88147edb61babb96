//! Apache's children of one configuration: whether there are any left. It must never know a group.
//!
//! Each of them has inherited the writing end of a pipe, which they and the processes that they have forked are the last
//! to hold once the parent has read another configuration.
#![forbid(unsafe_code)]

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The end of the children of a configuration.
#[derive(Clone)]
pub(super) struct ChildrenEnd(Option<Arc<PipeReader>>);

/// What the children of today's configuration inherit.
struct Generation {
    end: Arc<PipeReader>,
    _inherited: PipeWriter,
}

static CURRENT: Mutex<Option<Generation>> = Mutex::new(None);

/// How many generations there have been.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The number of the configuration in force; that of the first one is 1.
pub(super) fn number() -> u64 {
    NUMBER.load(Ordering::Relaxed)
}

/// In a process that is none of the children: closes what they inherit.
pub(super) fn forget() {
    current().take();
}

fn current() -> MutexGuard<'static, Option<Generation>> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ChildrenEnd {
    /// Begins another generation; that of the one before.
    ///
    /// # Errors
    /// Where there is no pipe. Then the children to come inherit what those before have
    /// ([`of_current`](Self::of_current)).
    pub(super) fn of_previous() -> io::Result<Self> {
        NUMBER.fetch_add(1, Ordering::Relaxed);
        let (end, inherited) = io::pipe()?;
        let next = Generation { end: Arc::new(end), _inherited: inherited };
        let previous = current().replace(next);
        Ok(Self(previous.map(|previous| previous.end)))
    }

    /// The end of the children of the generation that has begun last, and of those before.
    pub(super) fn of_current() -> Self {
        Self(current().as_ref().map(|generation| Arc::clone(&generation.end)))
    }

    /// Whether all children have ended.
    pub(super) fn has_come(&self) -> bool {
        self.0.as_ref().is_none_or(|end| sys::is_readable(end.as_fd(), Duration::ZERO))
    }
}
