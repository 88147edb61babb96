//! How a group starts workers in the slots that need one. It stops none.
#![forbid(unsafe_code)]

use super::group::Group;
use super::output;
use super::slot::Worker;
use super::tried_scripts::TriedScripts;
use crate::launch::{SlotHandle, WorkerStart};
use crate::log::Log;
use crate::log_queue;
use crate::message::{Channel, Command, Reason, Successor};
use crate::time_limit;
use scoreboard::{Field, RECORDS_PER_SLOT, State, now};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use wsgi::Level;

/// How long a worker that is to end before its time may take to stop, where shutdown-timeout is off.
const NO_GRACE: Duration = Duration::from_secs(5);
/// The most replacements that start at a time.
const MAX_STARTING: usize = 2;

impl Group {
    /// Starts workers where they are needed; in a new process, gives what it starts with.
    pub(super) fn start_workers(&mut self) -> Option<Box<WorkerStart>> {
        if self.stopping || self.has_nothing_to_do() {
            return None;
        }
        let least = self.config.processes.least as usize;
        let now = Instant::now();
        for index in 0..self.slots.len() {
            let starting = self.slots.iter().filter(|slot| slot.incoming.is_some()).count();
            let slot = self.slots.get(index)?;
            // Where no worker serves, one with older code is better than none.
            let needs_new_code =
                slot.current.is_some() && slot.wanted.is_some_and(Reason::is_for_new_code);
            let may = slot.not_before <= now && !self.templates.is_pending(needs_new_code);
            let missing = slot.current.is_none() && (index < least || slot.wanted.is_some());
            let replaced = slot.current.as_ref().is_some_and(|worker| worker.ready)
                && slot.incoming.is_none()
                && slot.wanted.is_some()
                && starting < MAX_STARTING;
            if may && (missing || replaced) && slot.next_generation().is_none() {
                self.make_room(index);
            } else if may && (missing || replaced) {
                if self.config.reload {
                    self.tried = TriedScripts::now(&self.config);
                }
                match self.start(index) {
                    Ok(None) => {}
                    Ok(worker_start) => return worker_start,
                    Err(why) => {
                        self.log(Level::Critical, &format!("cannot start a worker: {why}"));
                        self.start_cause.put(Some(&why.to_string()));
                        let board = self.memory.board;
                        let slot = self.slots.get_mut(index)?;
                        slot.back_off();
                        slot.mark_fork_failed(&board, index);
                    }
                }
            }
        }
        None
    }

    /// Starts a worker; in the new process, gives what it starts with.
    fn start(&mut self, index: usize) -> io::Result<Option<Box<WorkerStart>>> {
        let manager = std::process::id();
        let Some(slot) = self.slots.get_mut(index) else { return Ok(None) };
        let Some(generation) = slot.next_generation() else { return Ok(None) };
        // Before anything can fail: what has failed is written to the record of this number.
        slot.generation = generation;
        let cold = slot.wanted == Some(Reason::InactivityTimeout);
        let record = self.memory.board.record(index, generation);
        record.clear();
        record.set(Field::Slot, index as u64);
        record.set(Field::Generation, generation);
        record.set(Field::Started, now());
        let started_at = wsgi::epoch_micros();
        record.set_state(State::Starting);
        let (output, writer) = self.output_pipe()?.unzip();
        let (mut ours, theirs) = Channel::pair()?;
        if let (Some(writer), Some(_)) = (&writer, &self.templates.current) {
            ours.send_with_file(&Command::Output, writer.as_fd())?;
        }
        let pid = match self.templates.fork(index, generation, theirs)? {
            Ok(pid) => pid,
            Err(theirs) => match sys::fork()? {
                Some(pid) => pid,
                None => {
                    become_child(writer);
                    return Ok(Some(self.worker_start(index, generation, theirs, cold, manager)));
                }
            },
        };
        if let Some(output) = output {
            self.outputs.add(pid, output);
        }
        let Some(slot) = self.slots.get_mut(index) else { return Ok(None) };
        record.set(Field::Pid, u64::try_from(pid).unwrap_or(0));
        self.memory.board.counters().note_start();
        let worker = Worker {
            pid,
            channel: ours,
            record,
            generation,
            ready: false,
            ready_since: 0,
            started: Instant::now(),
            started_at,
            asks: None,
            told: None,
            accepts_no_more: false,
            kill_at: None,
            channel_lost: false,
            cancelled: false,
            cut_short: false,
        };
        if slot.current.is_none() {
            slot.wanted = self.templates.have_newer_code().then_some(Reason::Rolling);
            slot.current = Some(worker);
        } else {
            slot.incoming = Some(worker);
        }
        Ok(None)
    }

    /// Every record of the slot is that of a worker that lives: has one end before its time, so that the next one can start.
    /// Workers of a slot would otherwise be as many as there are reloads within graceful-timeout.
    fn make_room(&mut self, index: usize) {
        let grace = time_limit::enabled(self.config.timers.shutdown_timeout);
        let Some(slot) = self.slots.get_mut(index) else { return };
        let successor = if slot.is_ready() { Successor::Ready } else { Successor::None };
        let Some(oldest) = slot.take_oldest_leaving() else { return };
        let reason = oldest.told.unwrap_or(Reason::Rolling);
        oldest.finish(reason, Duration::ZERO, Some(grace.unwrap_or(NO_GRACE)), successor);
        let pid = oldest.pid;
        let line = format!(
            "worker {pid} is to end before graceful-timeout is over: {RECORDS_PER_SLOT} workers of its slot \
             live, the most there may be, and another one is to start"
        );
        self.log(Level::Notice, &line);
    }

    /// A pipe for what a new process prints; `None` where it prints to what the manager was started with.
    pub(super) fn output_pipe(&self) -> io::Result<Option<(PipeReader, PipeWriter)>> {
        self.config.log_records.then(output::pipe).transpose()
    }

    /// What a new worker starts with, taken out of the manager's state. The rest of that state, with all
    /// descriptors, is dropped in the new process.
    fn worker_start(
        &mut self,
        slot: usize,
        generation: u64,
        channel: Channel,
        cold: bool,
        manager: u32,
    ) -> Box<WorkerStart> {
        let own = self.slots.get_mut(slot).and_then(|slot| slot.socket.take());
        let slot = SlotHandle { memory: self.memory.take(), slot, generation };
        let sockets = own.into_iter().chain(std::mem::take(&mut self.shared)).collect();
        let known = if cold { Vec::new() } else { std::mem::take(&mut self.scripts) };
        let (config, log) = (self.config.clone(), Log::of_worker(&self.config, self.memory.board));
        let queue = self.queue.take();
        Box::new(WorkerStart { config, log, slot, channel, sockets, queue, known, manager })
    }

    /// Whether this is a group of service scripts without a script.
    fn has_nothing_to_do(&self) -> bool {
        self.config.is_service() && self.config.import_scripts.is_empty()
    }
}

/// In a process that was just forked: gives up the manager's log, which is its standard output and standard error, and
/// takes `output` for it.
pub(super) fn become_child(output: Option<PipeWriter>) {
    log_queue::forget();
    if output.is_some_and(|output| sys::replace_standard_output(output.as_fd()).is_err()) {
        // It must not print to the manager's log, nor go on as another manager.
        sys::exit_now(1);
    }
}
