//! What a group is while it is managed, and the order in which its parts act. The parts are in the files
//! beside: `start`, `events`, `timers`, `exits`, `replacement`, `preload`.
#![forbid(unsafe_code)]

use super::scripts;
use super::slot::Slot;
use super::templates::Templates;
use crate::config::GroupConfig;
use crate::launch::{Memory, Seat, TemplateSeat};
use crate::log::Log;
use crate::message::Loaded;
use crate::posix::{self, SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, Signals};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use wsgi::Level;

/// A process group being managed.
pub(crate) struct Group {
    pub(super) config: GroupConfig,
    pub(super) log: Log,
    pub(super) memory: Memory,
    pub(super) signals: Signals,
    pub(super) shared: Option<OwnedFd>,
    pub(super) parent: Option<OwnedFd>,
    pub(super) ready: Option<File>,
    pub(super) slots: Vec<Slot>,
    /// Scripts that workers have loaded, for their successors.
    pub(super) scripts: Vec<Loaded>,
    /// The state of a script that workers are being replaced for.
    pub(super) changed: Option<Loaded>,
    /// The state of a script that could not be loaded.
    pub(super) refused: Option<Loaded>,
    pub(super) stopping: bool,
    pub(super) templates: Templates,
}

/// How [`Group::run`] ends.
pub(crate) enum Outcome {
    /// In the manager: nobody is left.
    Stopped,
    /// In a new process: it is a worker.
    Worker(Box<Seat>),
    /// In a new process: it is a template (`preload=On`).
    Template(Box<TemplateSeat>),
}

/// The descriptors a group is given.
pub(crate) struct Sockets {
    pub(crate) shared: Option<OwnedFd>,
    pub(crate) workers: Vec<OwnedFd>,
    pub(crate) parent: Option<OwnedFd>,
    pub(crate) ready: Option<OwnedFd>,
    pub(crate) scoreboard: Option<OwnedFd>,
}

pub(super) const SIGNALS: [i32; 5] = [SIGTERM, SIGINT, SIGUSR1, SIGWINCH, SIGCHLD];

impl Group {
    pub(crate) fn new(config: GroupConfig, log: Log, sockets: Sockets) -> io::Result<Self> {
        let most = config.processes.most as usize;
        let memory = Memory::of(sockets.scoreboard, &config)?;
        memory.board.initialise();
        memory.board.set_start_failures(Some(0));
        // What a manager before this one knew is no longer true.
        (0..most).flat_map(|slot| memory.board.records(slot)).for_each(|record| record.clear());
        let mut own = sockets.workers.into_iter();
        Ok(Self {
            memory,
            signals: {
                // Sent to all by whoever rotates logs.
                [SIGHUP, SIGUSR2].into_iter().for_each(posix::ignore);
                Signals::watch(&SIGNALS)?
            },
            shared: sockets.shared,
            parent: sockets.parent,
            ready: sockets.ready.map(File::from),
            slots: (0..most).map(|_| Slot::new(own.next())).collect(),
            scripts: Vec::new(),
            changed: None,
            refused: None,
            stopping: false,
            templates: Templates::new(),
            config,
            log,
        })
    }

    /// Manages until there is nothing left to do.
    pub(crate) fn run(mut self) -> io::Result<Outcome> {
        loop {
            if let Some(seat) = self.start_template() {
                return Ok(Outcome::Template(seat));
            }
            if let Some(seat) = self.start_workers() {
                return Ok(Outcome::Worker(seat));
            }
            self.say_ready();
            if self.stopping && self.slots.iter().all(|slot| slot.workers().next().is_none()) {
                return Ok(Outcome::Stopped);
            }
            self.wait();
        }
    }

    fn say_ready(&mut self) {
        let least = self.config.processes.least as usize;
        let settled = |slot: &Slot| {
            slot.failures > 0 || slot.current.as_ref().is_some_and(|worker| worker.ready)
        };
        if self.ready.is_some() && self.slots.iter().take(least).all(settled) {
            // Whoever does not listen does not want to know.
            let _ = self.ready.take().map(|mut ready| ready.write_all(b"ready\n"));
        }
    }

    pub(super) fn note(&mut self, loaded: Loaded) {
        scripts::note(&mut self.scripts, loaded);
    }

    pub(super) fn say(&self, level: Level, what: &str) {
        let line = format!("daemon '{}' {what}", self.config.name);
        self.log.write(level, line.as_bytes());
    }
}
