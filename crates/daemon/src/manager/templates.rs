//! The templates of a group (`preload=On`): the one that workers are forked from, and perhaps the next one with
//! newer code. It starts none.
#![forbid(unsafe_code)]

use crate::message::{Channel, Command, Report};
use crate::time_limit;
use scoreboard::BackOff;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use sys::SIGKILL;

/// The templates of a group; without preload there are none.
pub(super) struct Templates {
    pub(super) current: Option<Template>,
    pub(super) incoming: Option<Template>,
    /// There is newer code than that of the current one.
    pub(super) outdated: bool,
    /// How many in a row exited before they were ready, or failed to start.
    pub(super) failures: u32,
    /// When a template may be started at the earliest.
    pub(super) not_before: Instant,
}

/// A template process. It exits when its channel is closed.
pub(super) struct Template {
    pub(super) pid: i32,
    pub(super) channel: Channel,
    pub(super) started: Instant,
}

/// After so many failures in a row no more templates are started.
pub(super) const MAX_START_FAILURES: u32 = 3;
/// The pauses after templates that fail.
const BACK_OFF: BackOff =
    BackOff { free: 0, first: Duration::from_millis(400), longest: Duration::from_millis(12_800) };
/// How long a template may take to fork.
const FORK_TIMEOUT: Duration = Duration::from_secs(5);

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

    /// Whether a worker has to wait until a template is ready; `needs_new_code`: the current one will not do.
    pub(super) fn is_pending(&self, needs_new_code: bool) -> bool {
        if self.current.is_none() {
            return self.incoming.is_some();
        }
        needs_new_code && (self.incoming.is_some() || self.outdated)
    }

    /// Whether the template that still imports has had its time.
    pub(super) fn is_overdue(&self, startup: Option<Duration>) -> bool {
        self.incoming.is_some()
            && self.deadline(startup).is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Whether there is newer code than that of the current template.
    pub(super) fn have_newer_code(&self) -> bool {
        self.current.is_some() && (self.incoming.is_some() || self.outdated)
    }

    /// The channel of the template that is still importing.
    pub(super) fn incoming_channel(&self) -> Option<BorrowedFd<'_>> {
        self.incoming.as_ref().map(|template| template.channel.as_fd())
    }

    /// The processes.
    pub(super) fn pids(&self) -> Vec<i32> {
        self.current.iter().chain(&self.incoming).map(|template| template.pid).collect()
    }

    /// When a template may be started, or the one that starts is overdue; `startup` is startup-timeout.
    pub(super) fn deadline(&self, startup: Option<Duration>) -> Option<Instant> {
        let Some(incoming) = &self.incoming else {
            return Some(self.not_before).filter(|when| *when > Instant::now());
        };
        Some(time_limit::deadline(incoming.started, startup?))
    }

    /// Kills a template whose imports take longer than `startup`.
    pub(super) fn kill_if_overdue(&self, startup: Option<Duration>) {
        if let Some(incoming) = self.incoming.as_ref().filter(|_| self.is_overdue(startup)) {
            sys::kill(incoming.pid, SIGKILL);
        }
    }

    /// Has the current template fork a worker, which gets `channel`; gives its pid, or `channel` back where there is
    /// no template.
    pub(super) fn fork(
        &mut self,
        slot: usize,
        generation: u64,
        channel: Channel,
    ) -> io::Result<Result<i32, Channel>> {
        let Some(template) = &mut self.current else { return Ok(Err(channel)) };
        let forked = template.request_fork(&Command::Fork { slot, generation }, channel);
        if forked.is_err() {
            // Its state is unknown; `handle_template_exit` starts another one.
            sys::kill(template.pid, SIGKILL);
        }
        forked.map(Ok)
    }

    /// Kills all templates.
    pub(super) fn stop(&mut self) {
        for template in self.current.take().into_iter().chain(self.incoming.take()) {
            sys::kill(template.pid, SIGKILL);
        }
    }
}

impl Template {
    fn request_fork(&mut self, command: &Command, channel: Channel) -> io::Result<i32> {
        let socket = channel.into_socket();
        self.channel.send_with_file(command, socket.as_fd())?;
        let deadline = Instant::now() + FORK_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sys::wait_readable(&[self.channel.as_fd()], Some(left));
            for report in self.channel.receive::<Report>()? {
                if let Report::Forked { pid } = report {
                    return Ok(pid);
                }
            }
        }
    }
}

impl Templates {
    /// Has templates started again although the last ones have failed.
    pub(super) fn forget_failures(&mut self) {
        (self.failures, self.not_before) = (0, Instant::now());
    }

    /// Notes a template that has failed, and puts off the next one.
    pub(super) fn note_failure(&mut self) {
        self.failures += 1;
        self.not_before = Instant::now() + BACK_OFF.pause(self.failures);
    }
}
