//! How long the request that a thread serves has waited for a worker, and how long its application took. It must never
//! know a clock.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is known of the request, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestTimes {
    /// It waited so long until a worker began to serve it.
    pub(crate) queue: Option<u64>,
    /// From then on, or from the call of the application in this process, to the end of the response.
    pub(crate) application: Option<u64>,
}

thread_local! {
    static CURRENT: Cell<RequestTimes> = const { Cell::new(RequestTimes { queue: None, application: None }) };
}

/// The configuration names a variable for them.
static ARE_LOGGED: AtomicBool = AtomicBool::new(false);

impl RequestTimes {
    /// Notes them for the request that the calling thread serves.
    pub(crate) fn note(self) {
        CURRENT.set(self);
    }

    /// Those of the request that the calling thread serves; there are none from now on.
    pub(crate) fn take() -> Self {
        CURRENT.take()
    }

    /// Sets whether the configuration names a variable for them; before there are children.
    pub(crate) fn set_logged(are_logged: bool) {
        ARE_LOGGED.store(are_logged, Ordering::Relaxed);
    }

    /// Whether the configuration names a variable for them.
    pub(crate) fn are_logged() -> bool {
        ARE_LOGGED.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_one_request() {
        let times = RequestTimes { queue: Some(3), application: None };
        times.note();
        assert_eq!(RequestTimes::take(), times);
        assert_eq!(RequestTimes::take(), RequestTimes::default());
    }
}
