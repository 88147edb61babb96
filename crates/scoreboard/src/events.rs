//! How often workers of a group were started, and how they ended, since the memory was made. It must never know a
//! worker.
#![forbid(unsafe_code)]

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It was told to finish, and did.
    Finished = 0,
    /// It ended by itself, without an error.
    Exited = 1,
    /// It ended by itself, with another status than 0.
    Status = 2,
    /// A signal ended it that its manager had not sent.
    Signal = 3,
    /// It was told to finish, and did not in time, or not in order.
    Killed = 4,
    /// It ended before it was ready.
    StartFailed = 5,
}

impl ExitReason {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Finished, Self::Exited, Self::Status, Self::Signal, Self::Killed, Self::StartFailed];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Exited => "exited",
            Self::Status => "status",
            Self::Signal => "signal",
            Self::Killed => "killed",
            Self::StartFailed => "start_failed",
        }
    }
}

/// Counts, as they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Workers that have been started.
    pub starts: u64,
    pub(crate) exits: [u64; ExitReason::ALL.len()],
}

impl Events {
    /// Workers that have ended for this reason.
    pub fn exits(&self, reason: ExitReason) -> u64 {
        self.exits.get(reason as usize).copied().unwrap_or(0)
    }
}
