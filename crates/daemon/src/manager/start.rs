//! How a group starts its workers. It decides which slots need one, not when a worker leaves.
#![forbid(unsafe_code)]

use super::group::Group;
use super::slot::Worker;
use crate::launch::{Place, Seat};
use crate::message::{Channel, Reason};
use crate::posix;
use scoreboard::{Field, State, now};
use std::io;
use std::time::Instant;
use wsgi::Level;

/// Replacements that start at a time.
const STARTING: usize = 2;

impl Group {
    pub(super) fn start_workers(&mut self) -> Option<Box<Seat>> {
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
}
