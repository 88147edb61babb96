//! The manager of a process group: one thread, no Python; it starts workers, watches them, replaces
//! them. It never serves.
#![forbid(unsafe_code)]

mod replacement;
mod scripts;
mod templates;

use crate::config::GroupConfig;
use crate::connection::would_block;
use crate::log::Log;
use crate::message::{Channel, Loaded, Reason, Report};
use crate::posix::{self, SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, Signals};
use crate::seat::{Memory, Place, Seat, TemplateSeat};
use crate::slot::{Slot, Worker};
use scoreboard::{Field, State, now};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use templates::Templates;
use wsgi::Level;

/// A process group being managed.
pub(crate) struct Group {
    config: GroupConfig,
    log: Log,
    memory: Memory,
    signals: Signals,
    shared: Option<OwnedFd>,
    parent: Option<OwnedFd>,
    ready: Option<File>,
    slots: Vec<Slot>,
    /// Scripts that workers have loaded, for their successors.
    scripts: Vec<Loaded>,
    /// The state of a script that workers are being replaced for.
    changed: Option<Loaded>,
    /// The state of a script that could not be loaded.
    refused: Option<Loaded>,
    stopping: bool,
    templates: Templates,
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

const SIGNALS: [i32; 5] = [SIGTERM, SIGINT, SIGUSR1, SIGWINCH, SIGCHLD];
/// Replacements that start at a time.
const STARTING: usize = 2;
/// Seconds after which a worker beyond the least number has nothing to do.
const IDLE: f64 = 60.0;
/// A service script that ends sooner, or a worker that dies sooner and has had no request, is started again
/// ever more slowly.
const BRIEF: Duration = Duration::from_secs(5);
/// How long a worker may live without its channel.
const GRACE: Duration = Duration::from_secs(1);

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

    // --- starting ---------------------------------------------------------------------------------

    fn start_workers(&mut self) -> Option<Box<Seat>> {
        if self.stopping || self.has_nothing_to_do() {
            return None;
        }
        let least = self.config.processes.least as usize;
        let now = Instant::now();
        for index in 0..self.slots.len() {
            let starting = self.slots.iter().filter(|slot| slot.incoming.is_some()).count();
            let slot = self.slots.get(index)?;
            // Where nobody serves, code that is not the newest is better than none.
            let fresh = slot.current.is_some()
                && matches!(slot.wanted, Some(Reason::ScriptReload | Reason::Rolling));
            let may = slot.not_before <= now && !self.templates.are_awaited(fresh);
            let slot = self.slots.get(index)?;
            let missing = slot.current.is_none() && (index < least || slot.wanted.is_some());
            let replaced = slot.current.as_ref().is_some_and(|worker| worker.ready)
                && slot.incoming.is_none()
                && slot.wanted.is_some()
                && starting < STARTING;
            if may && (missing || replaced) {
                match self.start(index) {
                    Ok(None) => {}
                    Ok(seat) => return seat,
                    Err(why) => {
                        self.say(Level::Critical, &format!("cannot start a worker: {why}"));
                        let board = self.memory.board;
                        let slot = self.slots.get_mut(index)?;
                        slot.back_off();
                        slot.note_stillbirth(&board, index);
                    }
                }
            }
        }
        None
    }

    /// Starts a worker; in the new process, gives its seat.
    fn start(&mut self, index: usize) -> io::Result<Option<Box<Seat>>> {
        let manager = std::process::id();
        let Some(slot) = self.slots.get_mut(index) else { return Ok(None) };
        slot.generation = slot.next_generation();
        let record = self.memory.board.record(index, slot.generation);
        record.clear();
        record.set(Field::Slot, index as u64);
        record.set(Field::Generation, slot.generation);
        record.set(Field::Started, now());
        let born = wsgi::epoch_micros();
        record.set_state(State::Starting);
        let (ours, theirs) = Channel::pair()?;
        let (generation, cold) = (slot.generation, slot.wanted == Some(Reason::InactivityTimeout));
        let pid = match self.templates.fork(index, generation, theirs)? {
            Ok(pid) => pid,
            Err(theirs) => match posix::fork()? {
                Some(pid) => pid,
                None => return Ok(Some(self.seat(index, generation, theirs, cold, manager))),
            },
        };
        let Some(slot) = self.slots.get_mut(index) else { return Ok(None) };
        record.set(Field::Pid, u64::try_from(pid).unwrap_or(0));
        let worker = Worker {
            pid,
            channel: ours,
            record,
            generation,
            ready: false,
            started: Instant::now(),
            born,
            told: None,
            kill_at: None,
            deaf: false,
            dismissed: false,
        };
        if slot.current.is_none() {
            slot.wanted = self.templates.have_newer_code().then_some(Reason::Rolling);
            slot.current = Some(worker);
        } else {
            slot.incoming = Some(worker);
        }
        Ok(None)
    }

    /// In a new process: what makes it a worker. Everything else the manager holds is closed when it is
    /// dropped.
    fn seat(
        &mut self,
        slot: usize,
        generation: u64,
        channel: Channel,
        cold: bool,
        manager: u32,
    ) -> Box<Seat> {
        let place = Place { memory: self.memory.take(), slot, generation };
        let own = self.slots.get_mut(slot).and_then(|slot| slot.socket.take());
        let sockets = own.into_iter().chain(self.shared.take()).collect();
        let known = if cold { Vec::new() } else { std::mem::take(&mut self.scripts) };
        let (config, log) = (self.config.clone(), self.log);
        Box::new(Seat { config, log, place, channel, sockets, known, manager })
    }

    /// A group of service scripts without a script.
    fn has_nothing_to_do(&self) -> bool {
        self.config.is_service() && self.config.import_scripts.is_empty()
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

    // --- watching ---------------------------------------------------------------------------------

    fn wait(&mut self) {
        let mut places: Vec<BorrowedFd<'_>> = vec![self.signals.as_fd()];
        let mut channels = Vec::new();
        let mut sleepers = Vec::new();
        let asleep = |slot: &Slot| slot.current.is_none() && slot.not_before <= Instant::now();
        for (index, slot) in self.slots.iter().enumerate() {
            for worker in slot.workers().filter(|worker| !worker.deaf) {
                channels.push((index, worker.pid, places.len()));
                places.push(worker.channel.as_fd());
            }
            let own = slot.socket.as_ref().filter(|_| asleep(slot) && !self.stopping);
            if let Some(socket) = own {
                sleepers.push((index, places.len()));
                places.push(socket.as_fd());
            }
        }
        let nobody = self.slots.iter().all(asleep) && !self.stopping;
        if let (true, Some(socket)) = (nobody, &self.shared) {
            sleepers.push((0, places.len()));
            places.push(socket.as_fd());
        }
        let template = self.templates.incoming_channel().map(|channel| {
            places.push(channel);
            places.len() - 1
        });
        let parent = self.parent.as_ref().filter(|_| !self.stopping).map(|parent| {
            places.push(parent.as_fd());
            places.len() - 1
        });
        let ready = posix::wait_readable(&places, self.next_deadline());
        let is_ready = |place: usize| ready.get(place) == Some(&true);
        for (index, place) in sleepers {
            if is_ready(place)
                && let Some(slot) = self.slots.get_mut(index)
            {
                // Somebody knocks where nobody is.
                slot.wanted = Some(Reason::Rolling);
            }
        }
        for (index, pid, place) in channels {
            if is_ready(place) {
                self.listen(index, pid);
            }
        }
        if template.is_some_and(is_ready) {
            self.listen_to_template();
        }
        // First: who tells us to go with a signal may be gone a moment later.
        self.obey_signals();
        if parent.is_some_and(is_ready) && !self.stopping {
            self.listen_to_parent();
        }
        self.reap();
        self.look_at_the_clock();
    }

    fn next_deadline(&self) -> Option<Duration> {
        let now = Instant::now();
        let starts = self.slots.iter().map(|slot| slot.not_before).filter(|when| *when > now);
        let workers = self.slots.iter().flat_map(Slot::workers);
        let startup = self.config.timers.startup_timeout;
        let ends = workers.filter_map(|worker| {
            let late = startup
                .filter(|_| !worker.ready)
                .map(|seconds| worker.started + Duration::from_secs_f64(seconds.clamp(0.0, 1e9)));
            worker.kill_at.or(late)
        });
        let least = self.config.processes.least as usize;
        let spare = self.slots.iter().skip(least).any(|slot| slot.current.is_some());
        let idle = spare.then(|| now + Duration::from_secs(1));
        let template = self.templates.deadline(startup);
        let next = starts.chain(ends).chain(idle).chain(template).min();
        next.map(|when| when.saturating_duration_since(now).max(Duration::from_millis(1)))
    }

    fn obey_signals(&mut self) {
        for signal in self.signals.take(&SIGNALS) {
            match signal {
                SIGTERM | SIGINT => {
                    self.stop(self.config.timers.shutdown_timeout.unwrap_or(f64::MAX));
                }
                SIGWINCH => self.stop(self.config.timers.graceful_timeout),
                SIGUSR1 => self.replace_all(Reason::Rolling),
                _ => {}
            }
        }
    }

    fn listen(&mut self, index: usize, pid: i32) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(worker) = slot.workers_mut().find(|worker| worker.pid == pid) else { return };
        let reports = worker.channel.receive::<Report>();
        let Ok(reports) = reports else {
            // Most likely it has ended, which the kernel reports. Else nobody could tell it to leave any more.
            worker.deaf = true;
            worker.is_to_end_within(GRACE);
            return;
        };
        for report in reports {
            match report {
                Report::Ready { failed } => self.welcome(index, pid, failed),
                Report::Loaded(loaded) => self.note(loaded),
                Report::Stale(loaded) => self.script_changed(index, loaded),
                // Only templates say so, elsewhere.
                Report::Forked { .. } => {}
                Report::Replace { reason, detail } => {
                    self.say(Level::Info, &format!("worker {pid} is to be replaced: {detail}"));
                    self.replace(index, pid, reason);
                }
            }
        }
    }

    /// Whoever started the group sends it a new file for its log, or is gone.
    fn listen_to_parent(&mut self) {
        let Some(parent) = &self.parent else { return };
        match posix::receive_file(parent.as_fd(), &mut [0; 16]) {
            Ok((1.., file)) => {
                if let Some(Err(why)) = file.map(|file| posix::set_standard_error(file.as_fd())) {
                    self.say(Level::Error, &format!("cannot write to another log: {why}"));
                }
            }
            Err(why) if would_block(&why) => {}
            Ok((0, _)) | Err(_) => {
                self.say(Level::Info, "whoever started it is gone; it stops");
                self.stop(self.config.timers.shutdown_timeout.unwrap_or(f64::MAX));
            }
        }
    }

    pub(super) fn note(&mut self, loaded: Loaded) {
        scripts::note(&mut self.scripts, loaded);
    }

    // --- the clock ---------------------------------------------------------------------------------

    fn look_at_the_clock(&mut self) {
        let startup = self.config.timers.startup_timeout.filter(|seconds| *seconds > 0.0);
        self.templates.enforce(startup);
        let idle = self.config.timers.inactivity_timeout.filter(|seconds| *seconds > 0.0);
        let least = self.config.processes.least as usize;
        let (mut retired, mut late_ones, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for (index, slot) in self.slots.iter_mut().enumerate() {
            for worker in slot.workers_mut() {
                if worker.enforce() && worker.deaf && worker.told.is_none() {
                    lost.push(worker.pid);
                }
                let late =
                    startup.is_some_and(|most| worker.started.elapsed().as_secs_f64() > most);
                if late && !worker.ready && worker.told.is_none() {
                    posix::kill(worker.pid, posix::SIGKILL);
                    late_ones.push(worker.pid);
                    worker.told = Some(Reason::StartupTimeout);
                }
            }
            let is_spare =
                |worker: &&Worker| worker.ready && index >= least && !worker.record.is_busy();
            if let Some(worker) = slot.current.as_ref().filter(is_spare) {
                let last =
                    worker.record.get(Field::LastRequest).max(worker.record.get(Field::Started));
                let passed = now().saturating_sub(last) as f64 / 1e6;
                if passed > idle.unwrap_or(IDLE) {
                    retired.push((index, worker.pid));
                }
            }
        }
        for pid in late_ones {
            let limit = startup.unwrap_or_default();
            let what = format!(
                "worker {pid} was not ready within startup-timeout ({limit} s); it is ended"
            );
            self.say(Level::Error, &what);
        }
        for pid in lost {
            let what = format!(
                "worker {pid} lives on without its connection to the manager; perhaps the application has \
                 called os.exec or closed descriptors that are not its own; it is killed and replaced"
            );
            self.say(Level::Error, &what);
        }
        for (index, pid) in retired {
            self.replace(index, pid, Reason::InactivityTimeout);
        }
    }

    // --- the dead ---------------------------------------------------------------------------------

    fn reap(&mut self) {
        // Others than ours: what an application left behind, or a template that is no longer needed.
        while let Some((pid, status)) = posix::reap() {
            let of = |slot: &Slot| slot.workers().any(|worker| worker.pid == pid);
            match self.slots.iter().position(of) {
                Some(index) => self.bury(index, pid, status),
                None => self.bury_template(pid, status),
            }
        }
    }

    fn bury(&mut self, index: usize, pid: i32, status: ExitStatus) {
        let (stopping, service) = (self.stopping, self.config.is_service());
        let Some(slot) = self.slots.get_mut(index) else { return };
        let dead = |worker: &mut Worker| worker.pid == pid;
        let current = slot.current.take_if(dead);
        let incoming = slot.incoming.take_if(dead);
        let (was_current, was_incoming) = (current.is_some(), incoming.is_some());
        let mut leaving = slot.leaving.extract_if(.., |worker| worker.pid == pid);
        let Some(worker) = current.or(incoming).or_else(|| leaving.next()) else { return };
        drop(leaving);
        let optional = matches!(slot.wanted, Some(Reason::ScriptReload | Reason::Rolling));
        // Who has had a request may have died of it: others wait, and the next start need not.
        let brief = worker.started.elapsed() < BRIEF && !worker.has_had_a_request();
        if !brief {
            slot.short_lives = 0;
        }
        if was_current {
            slot.current = slot.incoming.take();
        }
        match worker.ready {
            true if was_current && brief => slot.back_off_from_a_short_life(),
            true if was_current => slot.not_before = Instant::now(),
            false if (was_current || was_incoming) && !stopping => slot.back_off(),
            _ => {}
        }
        let pause = slot.not_before.saturating_duration_since(Instant::now()).as_secs_f64();
        let next = match slot.current {
            None if pause > 0.0 && was_current && !stopping => {
                format!("; the next one is started in {pause:.1} s")
            }
            _ => String::new(),
        };
        worker.record.set(Field::Failures, if worker.ready { 0 } else { slot.failures.into() });
        worker.record.mark_exited(status.into_raw(), now());
        let starting = if worker.ready { "" } else { " (it was starting)" };
        let obituary = worker.record.exit_description();
        // The order to leave is a SIGTERM there, and may come before Python knows what to do with it.
        let obeyed = service && status.signal() == Some(SIGTERM);
        let level = match worker.told {
            Some(_) if status.success() || worker.dismissed || obeyed => Level::Info,
            Some(_) => Level::Warning,
            None if service && status.success() => Level::Info,
            None => Level::Error,
        };
        self.say(level, &format!("{obituary}{starting}{next}"));
        if was_incoming && optional && !stopping {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.wanted = None;
            }
            self.give_up_replacing();
        }
    }

    fn say(&self, level: Level, what: &str) {
        let line = format!("daemon '{}' {what}", self.config.name);
        self.log.write(level, line.as_bytes());
    }
}
