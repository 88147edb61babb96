//! The templates of a group (`preload=On`): one that workers are forked from, perhaps its successor with
//! newer code.
#![forbid(unsafe_code)]

use crate::message::{Channel, Order, Report};
use crate::posix::{self, SIGKILL};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// What there is of them. Where nothing is preloaded there is none.
pub(super) struct Templates {
    pub(super) current: Option<Template>,
    pub(super) incoming: Option<Template>,
    /// There is newer code than that of the current one.
    pub(super) outdated: bool,
    /// How many in a row came to nothing.
    pub(super) failures: u32,
    pub(super) not_before: Instant,
}

/// Ends when its channel is closed.
pub(super) struct Template {
    pub(super) pid: i32,
    pub(super) channel: Channel,
    pub(super) started: Instant,
}

/// After so many that came to nothing workers start by themselves.
pub(super) const PATIENCE: u32 = 3;
/// How long a fork may take.
const FORK: Duration = Duration::from_secs(5);

impl Templates {
    pub(super) fn new() -> Self {
        Self {
            current: None,
            incoming: None,
            outdated: false,
            failures: 0,
            not_before: Instant::now(),
        }
    }

    /// Whether workers have to wait for one; `fresh` are those that are to have newer code.
    pub(super) fn are_awaited(&self, fresh: bool) -> bool {
        self.incoming.is_some() && (fresh || self.current.is_none())
    }

    /// Whether workers of the current one are to be replaced soon.
    pub(super) fn have_newer_code(&self) -> bool {
        self.current.is_some() && (self.incoming.is_some() || self.outdated)
    }

    /// The channel of one that is still importing.
    pub(super) fn incoming_channel(&self) -> Option<BorrowedFd<'_>> {
        self.incoming.as_ref().map(|template| template.channel.as_fd())
    }

    /// When to look at the clock again.
    pub(super) fn deadline(&self, startup: Option<f64>) -> Option<Instant> {
        let Some(incoming) = &self.incoming else {
            return Some(self.not_before).filter(|when| *when > Instant::now());
        };
        let limit = startup.filter(|seconds| *seconds > 0.0)?;
        Some(incoming.started + Duration::from_secs_f64(limit.clamp(0.0, 1e9)))
    }

    /// Ends one that takes too long over its imports.
    pub(super) fn enforce(&self, startup: Option<f64>) {
        let late = |when: Instant| when <= Instant::now();
        if let Some(incoming) = &self.incoming
            && self.deadline(startup).is_some_and(late)
        {
            posix::kill(incoming.pid, SIGKILL);
        }
    }

    /// Has the current one fork a worker, which gets `channel`; its pid. Without one gives `channel` back.
    pub(super) fn fork(
        &mut self,
        slot: usize,
        generation: u64,
        channel: Channel,
    ) -> io::Result<Result<i32, Channel>> {
        let Some(template) = &mut self.current else { return Ok(Err(channel)) };
        let asked = template.ask(&Order::Fork { slot, generation }, channel);
        if asked.is_err() {
            // Not to be trusted any more; how it ended is told when it is buried.
            posix::kill(template.pid, SIGKILL);
        }
        asked.map(Ok)
    }

    /// All of them end.
    pub(super) fn dismiss(&mut self) {
        for template in self.current.take().into_iter().chain(self.incoming.take()) {
            posix::kill(template.pid, SIGKILL);
        }
    }
}

impl Template {
    fn ask(&mut self, order: &Order, channel: Channel) -> io::Result<i32> {
        let socket = channel.into_socket();
        self.channel.send_with_file(order, socket.as_fd())?;
        let patience = Instant::now() + FORK;
        loop {
            let left = patience.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            posix::wait_readable(&[self.channel.as_fd()], Some(left));
            for report in self.channel.receive::<Report>()? {
                if let Report::Forked { pid } = report {
                    return Ok(pid);
                }
            }
        }
    }
}

impl Templates {
    pub(super) fn fail(&mut self) {
        self.failures += 1;
        self.not_before = Instant::now() + Duration::from_millis(200 << self.failures.min(6));
    }
}
