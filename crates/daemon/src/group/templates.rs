//! The templates of a group (`preload=On`): one that workers are forked from, perhaps its successor with
//! newer code.
#![forbid(unsafe_code)]

use super::Group;
use crate::message::{Channel, Order, Report};
use crate::posix::{self, SIGKILL};
use crate::seat::TemplateSeat;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use wsgi::Level;

/// What there is of them. Where nothing is preloaded there is none.
pub(super) struct Templates {
    current: Option<Template>,
    incoming: Option<Template>,
    /// There is newer code than that of the current one.
    outdated: bool,
    /// How many in a row came to nothing.
    failures: u32,
    not_before: Instant,
}

/// Ends when its channel is closed.
struct Template {
    pid: i32,
    channel: Channel,
    started: Instant,
}

/// After so many that came to nothing workers start by themselves.
const PATIENCE: u32 = 3;
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

impl Group {
    /// Starts a template where one is missing; in the new process, gives its seat.
    pub(super) fn start_template(&mut self) -> Option<Box<TemplateSeat>> {
        let templates = &self.templates;
        let missing = templates.current.is_none() && templates.failures < PATIENCE;
        let wanted = missing || templates.outdated;
        let wanted = wanted && self.config.preload && !self.config.is_service() && !self.stopping;
        if !wanted || templates.incoming.is_some() || templates.not_before > Instant::now() {
            return None;
        }
        self.templates.outdated = false;
        let manager = std::process::id();
        posix::adopt_orphans();
        let started = Channel::pair().and_then(|pair| Ok((pair, posix::fork()?)));
        match started {
            Ok(((ours, _), Some(pid))) => {
                let template = Template { pid, channel: ours, started: Instant::now() };
                self.templates.incoming = Some(template);
                None
            }
            Ok(((_, channel), None)) => {
                // Everything else the manager holds is closed when it is dropped.
                let sockets = self.slots.iter_mut().map(|slot| slot.socket.take()).collect();
                Some(Box::new(TemplateSeat {
                    config: self.config.clone(),
                    log: self.log,
                    memory: self.memory.take(),
                    channel,
                    sockets,
                    shared: self.shared.take(),
                    scripts: std::mem::take(&mut self.scripts),
                    manager,
                }))
            }
            Err(why) => {
                self.say(Level::Critical, &format!("cannot start a template: {why}"));
                self.templates.fail();
                None
            }
        }
    }

    /// Newer code is to be served: there has to be a new template first.
    pub(super) fn renew_template(&mut self) {
        self.templates.outdated = self.config.preload;
    }

    /// The incoming template has something to say.
    pub(super) fn listen_to_template(&mut self) {
        let Some(template) = &mut self.templates.incoming else { return };
        let failed = match template.channel.receive::<Report>() {
            Ok(reports) => reports.into_iter().find_map(|report| match report {
                Report::Ready { failed } => Some(failed),
                _ => None,
            }),
            // Its death will be reported by the kernel.
            Err(_) => None,
        };
        let Some(failed) = failed else { return };
        let incoming = self.templates.incoming.take();
        if failed && self.templates.current.is_some() {
            drop(incoming);
            return self.give_up_replacing();
        }
        // The one before ends with its channel.
        self.templates.current = incoming;
        self.templates.failures = 0;
    }

    /// A process that is no worker has ended.
    pub(super) fn bury_template(&mut self, pid: i32, status: ExitStatus) {
        let is_it = |template: &mut Template| template.pid == pid;
        let current = self.templates.current.take_if(is_it);
        let incoming = self.templates.incoming.take_if(is_it);
        if current.is_none() && incoming.is_none() || self.stopping {
            return;
        }
        let how = match (status.signal(), status.code()) {
            (Some(signal), _) => format!("was killed by signal {signal}"),
            (None, code) => format!("exited with status {}", code.unwrap_or(0)),
        };
        self.say(Level::Error, &format!("template {pid} (preload) {how}"));
        self.templates.fail();
        if incoming.is_some() && self.templates.current.is_some() {
            self.give_up_replacing();
        }
        if self.templates.failures == PATIENCE {
            self.say(Level::Error, "nothing is preloaded any more; workers import for themselves");
        }
    }
}

impl Templates {
    fn fail(&mut self) {
        self.failures += 1;
        self.not_before = Instant::now() + Duration::from_millis(200 << self.failures.min(6));
    }
}
