//! What a group waits for: signals, reports of workers and of a template, what processes of the group print, the end
//! of the parent process, connections to slots without a worker.
#![forbid(unsafe_code)]

use super::group::{Group, SIGNALS};
use super::slot::Slot;
use crate::message::{Reason, Report};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use sys::{SIGINT, SIGTERM, SIGUSR1, SIGWINCH};
use wsgi::Level;

/// How long a worker may run after its channel was closed.
const CHANNEL_LOST_TIMEOUT: Duration = Duration::from_secs(1);

impl Group {
    /// Waits until something happens, and handles it.
    pub(super) fn wait(&mut self) {
        let mut descriptors: Vec<BorrowedFd<'_>> = vec![self.signals.as_fd()];
        // Slots, pids and places among the descriptors.
        let mut channels = Vec::new();
        // Slots in which no worker is to be started, and the places of their listening sockets among the descriptors.
        let mut empty = Vec::new();
        let is_empty = |(index, slot): (usize, &Slot)| self.starts_on_demand(index, slot);
        for (index, slot) in self.slots.iter().enumerate() {
            for worker in slot.workers().filter(|worker| !worker.channel_lost) {
                channels.push((index, worker.pid, descriptors.len()));
                descriptors.push(worker.channel.as_fd());
            }
            let own = slot.socket.as_ref().filter(|_| is_empty((index, slot)));
            if let Some(socket) = own {
                empty.push((index, descriptors.len()));
                descriptors.push(socket.as_fd());
            }
        }
        let all_empty = self.slots.iter().enumerate().all(is_empty);
        for socket in self.shared.iter().filter(|_| all_empty) {
            empty.push((0, descriptors.len()));
            descriptors.push(socket.as_fd());
        }
        let template = self.templates.incoming_channel().map(|channel| {
            descriptors.push(channel);
            descriptors.len() - 1
        });
        let parent = self.parent.as_ref().filter(|_| self.outlives_no_parent()).map(|parent| {
            descriptors.push(parent.as_fd());
            descriptors.len() - 1
        });
        descriptors.extend(self.outputs.descriptors().chain(self.admin.descriptors()));
        let ready = sys::wait_readable(&descriptors, self.next_deadline());
        let is_ready = |place: usize| ready.get(place) == Some(&true);
        self.outputs.pass_on();
        for (index, place) in empty {
            if is_ready(place)
                && let Some(slot) = self.slots.get_mut(index)
            {
                // A connection is pending at a slot without a worker.
                slot.wanted = Some(Reason::Rolling);
            }
        }
        for (index, pid, place) in channels {
            if is_ready(place) {
                self.handle_worker_message(index, pid);
            }
        }
        if template.is_some_and(is_ready) {
            self.handle_template_message();
        }
        // Before the parent: a parent that stops the manager by a signal may exit a moment later.
        self.handle_signals();
        if parent.is_some_and(is_ready) && self.outlives_no_parent() {
            self.handle_parent_exit();
        }
        self.reap();
        self.serve_admin();
        self.run_timers();
    }

    /// Whether a connection is to have a worker started in this slot. Where one is to be started anyway a connection tells
    /// nothing, and it may wait for a template for long.
    fn starts_on_demand(&self, index: usize, slot: &Slot) -> bool {
        !self.stopping
            && index >= self.config.processes.least as usize
            && slot.current.is_none()
            && slot.wanted.is_none()
            && slot.not_before <= Instant::now()
    }

    fn handle_signals(&mut self) {
        for signal in self.signals.take(&SIGNALS) {
            match signal {
                SIGTERM => self.drain_and_exit(),
                SIGINT => self.stop_without_delay(),
                SIGWINCH => self.finish_for_successor(),
                SIGUSR1 => {
                    self.resume();
                    self.memory.board.set_log_level(None);
                    self.replace_all(Reason::Rolling);
                }
                _ => {}
            }
        }
    }

    fn handle_worker_message(&mut self, index: usize, pid: i32) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(worker) = slot.workers_mut().find(|worker| worker.pid == pid) else { return };
        let reports = worker.channel.receive::<Report>();
        let Ok(reports) = reports else {
            // Most likely the worker has exited, which `reap` finds. Otherwise no command can reach it any more.
            worker.channel_lost = true;
            worker.set_kill_deadline(CHANNEL_LOST_TIMEOUT);
            return;
        };
        for report in reports {
            match report {
                Report::Ready { failed } => self.replacement_ready(index, pid, failed),
                Report::Loaded(loaded) => self.record_loaded(loaded),
                Report::Stale(loaded) => self.script_changed(index, loaded),
                Report::Stacks { question, stacks } => self.note_stacks(pid, question, stacks),
                Report::AcceptsNoMore => self.note_accepts_no_more(index, pid),
                // Templates alone send it; see `Templates::fork`.
                Report::Forked { .. } => {}
                Report::Replace { reason, detail } => {
                    self.log(Level::Info, &format!("replacing worker {pid}: {detail}"));
                    self.replace(index, pid, reason);
                }
            }
        }
    }

    /// The parent process says nothing: a connection that can be read is one whose other end is gone.
    fn handle_parent_exit(&mut self) {
        self.log(Level::Info, "parent process has exited; stopping");
        self.stop_without_delay();
    }
}
