//! What a group waits for: signals, reports of workers and of a template, messages of the parent process,
//! connections to slots without a worker.
#![forbid(unsafe_code)]

use super::group::{Group, SIGNALS};
use super::slot::Slot;
use crate::message::{Reason, Report};
use crate::posix::{self, SIGINT, SIGTERM, SIGUSR1, SIGWINCH};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use wsgi::Level;

/// How long a worker may live without its channel.
const GRACE: Duration = Duration::from_secs(1);

impl Group {
    pub(super) fn wait(&mut self) {
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
        match sys::receive_with_descriptor(parent.as_fd(), &mut [0; 16], false) {
            Ok((1.., file)) => {
                if let Some(Err(why)) = file.map(|file| posix::set_standard_error(file.as_fd())) {
                    self.say(Level::Error, &format!("cannot write to another log: {why}"));
                }
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Ok((0, _)) | Err(_) => {
                self.say(Level::Info, "whoever started it is gone; it stops");
                self.stop(self.config.timers.shutdown_timeout.unwrap_or(f64::MAX));
            }
        }
    }
}
