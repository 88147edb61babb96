//! When and how Apache is stopped: first with time for its requests, then at once, then by force. Pure decisions.

use std::time::{Duration, Instant};

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It serves, or starts.
    Serving,
    /// Requests are finished; no new ones are accepted.
    Draining(Instant),
    /// Apache has been told to end now.
    Ending(Instant),
    /// Apache is killed.
    Killing,
}

/// What is to be done to Apache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// `graceful-stop`.
    Drain,
    /// `stop`.
    End,
    Kill,
}

/// The time that Apache has to end its processes when it is told to end now.
const END: Duration = Duration::from_secs(1);

impl Phase {
    /// The end is asked for, with `limit` for requests: the first time they are finished, the second time it is now.
    pub(super) fn asked(&mut self, now: Instant, limit: Duration) -> Option<Action> {
        match self {
            Self::Serving => {
                *self = Self::Draining(now + limit);
                Some(Action::Drain)
            }
            Self::Draining(_) => {
                *self = Self::Ending(now + END);
                Some(Action::End)
            }
            Self::Ending(_) => {
                *self = Self::Killing;
                Some(Action::Kill)
            }
            Self::Killing => None,
        }
    }

    /// Time has passed.
    pub(super) fn passed(&mut self, now: Instant) -> Option<Action> {
        match self {
            Self::Draining(deadline) if now >= *deadline => {
                *self = Self::Ending(now + END);
                Some(Action::End)
            }
            Self::Ending(deadline) if now >= *deadline => {
                *self = Self::Killing;
                Some(Action::Kill)
            }
            _ => None,
        }
    }

    pub(super) fn is_serving(self) -> bool {
        self == Self::Serving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_request_for_the_end_is_an_end_now() {
        let (now, limit) = (Instant::now(), Duration::from_secs(2));
        let mut phase = Phase::Serving;
        assert_eq!(phase.passed(now), None);
        assert_eq!(phase.asked(now, limit), Some(Action::Drain));
        assert_eq!(phase.passed(now + Duration::from_secs(1)), None);
        assert_eq!(phase.asked(now, limit), Some(Action::End));
        assert_eq!(phase.asked(now, limit), Some(Action::Kill));
        assert_eq!(phase.asked(now, limit), None);
    }

    #[test]
    fn each_phase_has_its_deadline() {
        let (now, limit) = (Instant::now(), Duration::from_secs(2));
        let mut phase = Phase::Serving;
        phase.asked(now, limit);
        assert_eq!(phase.passed(now + limit), Some(Action::End));
        assert_eq!(phase.passed(now + limit), None);
        assert_eq!(phase.passed(now + limit + END), Some(Action::Kill));
        assert_eq!(phase.passed(now + limit + END + END), None);
    }
}
