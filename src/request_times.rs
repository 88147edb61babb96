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

    /// Those of the request that the calling thread serves, so far.
    pub(crate) fn so_far() -> Self {
        CURRENT.get()
    }

    /// The calling thread begins a request: those of the request in which it is, if it is in one. They are to be given
    /// back to [`RequestTimes::end`].
    pub(crate) fn begin() -> Self {
        CURRENT.take()
    }

    /// The calling thread has served its request: its times. `outer` is what [`RequestTimes::begin`] has given.
    pub(crate) fn end(outer: Self) -> Self {
        CURRENT.replace(outer)
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
    fn times_are_those_of_one_request_also_around_another_one() {
        let times = |queue| RequestTimes { queue: Some(queue), application: None };
        let outside = RequestTimes::begin();
        times(3).note();
        let outer = RequestTimes::begin();
        assert_eq!(outer, times(3));
        times(5).note();
        assert_eq!(RequestTimes::end(outer), times(5));
        assert_eq!(RequestTimes::end(outside), times(3));
        assert_eq!(RequestTimes::begin(), RequestTimes::default());
    }
}
