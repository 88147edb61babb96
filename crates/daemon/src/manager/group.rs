//! The state of a group that is managed, and the loop over it: start what is missing, wait, react. What the loop
//! does is in the files beside: `start`, `preload`, `events`, `timers`, `exits`, `replacement`.
#![forbid(unsafe_code)]

use super::admin::Admin;
use super::apache_counts::ApacheCounts;
use super::oom_kills::OomKills;
use super::output::Outputs;
use super::pending::Pending;
use super::scripts;
use super::slot::Slot;
use super::start_cause::StartCauseMemory;
use super::templates::Templates;
use super::tried_scripts::TriedScripts;
use crate::connection_queue::ConnectionQueue;
use crate::launch::{ScoreboardMemory, TemplateStart, WorkerStart};
use crate::log::Log;
use crate::message::Loaded;
use group_config::GroupConfig;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;
use sys::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, Signals};
use wsgi::Level;

/// A process group being managed.
pub(crate) struct Group {
    pub(super) config: GroupConfig,
    pub(super) log: Log,
    pub(super) memory: ScoreboardMemory,
    /// Why the last start of a worker failed.
    pub(super) start_cause: Rc<StartCauseMemory>,
    pub(super) signals: Signals,
    pub(super) shared: Vec<OwnedFd>,
    pub(super) queue: Option<ConnectionQueue>,
    pub(super) parent: Option<OwnedFd>,
    pub(super) ready: Option<File>,
    pub(super) slots: Vec<Slot>,
    /// Scripts that workers have loaded, for the workers after them.
    pub(super) scripts: Vec<Loaded>,
    /// The state of a script that workers are being replaced for.
    pub(super) changed: Option<Loaded>,
    /// The state of a script that could not be loaded.
    pub(super) refused: Option<Loaded>,
    pub(super) tried: TriedScripts,
    pub(super) stopping: bool,
    /// Set once the group is to stop, but not yet.
    pub(super) draining: Option<Draining>,
    pub(super) admin: Admin,
    /// Orders whose clients wait.
    pub(super) pending: Vec<Pending>,
    /// How often workers have been asked for their stacks.
    pub(super) stack_questions: u64,
    pub(super) started: Instant,
    /// The same in microseconds since the epoch.
    pub(super) started_at: i64,
    pub(super) templates: Templates,
    pub(super) outputs: Outputs,
    pub(super) oom_kills: OomKills,
    pub(super) apache_counts: ApacheCounts,
    /// The most processor time that metrics have told, in microseconds.
    pub(super) highest_cpu: u64,
}

/// A stop that has been announced.
pub(super) struct Draining {
    /// When no more requests are taken.
    pub(super) stops_at: Instant,
    /// The manager stays when no worker is left, until it gets a signal.
    pub(super) stays: bool,
}

/// How [`Group::run`] ends.
pub(crate) enum Outcome {
    /// In the manager: no worker is left.
    Stopped,
    /// In a new process, which is a worker.
    Worker(Box<WorkerStart>),
    /// In a new process, which is a template (`preload=On`).
    Template(Box<TemplateStart>),
}

/// The descriptors that a group is given; see [`Descriptors`](group_config::Descriptors).
pub(crate) struct Sockets {
    /// Listening sockets of all workers.
    pub(crate) shared: Vec<OwnedFd>,
    /// One listening socket for each slot, or none.
    pub(crate) workers: Vec<OwnedFd>,
    /// Listening sockets for questions about its health, and for commands.
    pub(crate) admin: Vec<OwnedFd>,
    /// A connection to the parent process.
    pub(crate) parent: Option<OwnedFd>,
    /// Where to write that the first workers are ready.
    pub(crate) ready: Option<OwnedFd>,
    /// The memory of the scoreboard.
    pub(crate) scoreboard: Option<OwnedFd>,
    /// The memory of the cause of a failed start.
    pub(crate) start_cause: Option<OwnedFd>,
    /// The memory of what has become of requests, and of the requests under way by slot; see [`ApacheCounts`].
    pub(crate) request_counts: Option<OwnedFd>,
    pub(crate) sent_counts: Option<OwnedFd>,
}

/// The signals that a manager reacts to.
pub(super) const SIGNALS: [i32; 5] = [SIGTERM, SIGINT, SIGUSR1, SIGWINCH, SIGCHLD];

impl Group {
    pub(crate) fn new(
        config: GroupConfig,
        log: Log,
        sockets: Sockets,
        start_cause: Rc<StartCauseMemory>,
    ) -> io::Result<Self> {
        let most = config.processes.most as usize;
        let memory = ScoreboardMemory::map(sockets.scoreboard, &config)?;
        memory.board.initialise();
        memory.board.set_start_failures(Some(0));
        start_cause.put(None);
        memory.board.set_draining(false);
        memory.board.set_log_level(None);
        // The workers of a manager before this one have exited.
        (0..most).flat_map(|slot| memory.board.records(slot)).for_each(|record| record.clear());
        let (requests, sent) = (sockets.request_counts, sockets.sent_counts);
        let apache_counts = ApacheCounts::map(requests.as_ref(), sent.as_ref(), most)?;
        let mut own = sockets.workers.into_iter();
        Ok(Self {
            memory,
            start_cause,
            signals: {
                // What rotates logs sends them to every process of the user.
                [SIGHUP, SIGUSR2].into_iter().for_each(sys::ignore_signal);
                Signals::watch(&SIGNALS)?
            },
            shared: sockets.shared,
            // The command line names an application where other web servers than the Apache module connect.
            queue: config.application.is_some().then(ConnectionQueue::new).transpose()?,
            parent: sockets.parent,
            ready: sockets.ready.map(File::from),
            slots: (0..most).map(|_| Slot::new(own.next())).collect(),
            scripts: Vec::new(),
            changed: None,
            refused: None,
            tried: TriedScripts::default(),
            stopping: false,
            draining: None,
            admin: Admin::new(sockets.admin),
            pending: Vec::new(),
            stack_questions: 0,
            started: Instant::now(),
            started_at: wsgi::epoch_micros(),
            templates: Templates::new(),
            outputs: Outputs::new(),
            oom_kills: OomKills::new(),
            apache_counts,
            highest_cpu: 0,
            config,
            log,
        })
    }

    /// Manages until there is nothing left to do.
    pub(crate) fn run(mut self) -> io::Result<Outcome> {
        loop {
            if let Some(start) = self.start_template() {
                return Ok(Outcome::Template(start));
            }
            if let Some(start) = self.start_workers() {
                return Ok(Outcome::Worker(start));
            }
            self.report_ready();
            if self.stopping && self.has_no_worker() && !self.stays_when_drained() {
                self.outputs.pass_on();
                return Ok(Outcome::Stopped);
            }
            self.wait();
        }
    }

    /// Tells the parent process once that every worker that always runs is ready, or has failed to start.
    fn report_ready(&mut self) {
        let least = self.config.processes.least as usize;
        let settled = |slot: &Slot| {
            slot.failures > 0 || slot.current.as_ref().is_some_and(|worker| worker.ready)
        };
        if self.ready.is_some() && self.slots.iter().take(least).all(settled) {
            // It only fails where the other end is closed.
            let _ = self.ready.take().map(|mut ready| ready.write_all(b"ready\n"));
        }
    }

    /// Notes a script that a worker has loaded, for the workers after it.
    pub(super) fn record_loaded(&mut self, loaded: Loaded) {
        scripts::record(&mut self.scripts, loaded);
    }

    /// Writes a line that begins with the name of the group.
    pub(super) fn log(&self, level: Level, what: &str) {
        self.log.write_of_group(level, &self.config.name, what);
    }
}
