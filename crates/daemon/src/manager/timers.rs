//! The timeouts of a group: for workers that start or stop too slowly, and for idle workers beyond those that
//! always run.
#![forbid(unsafe_code)]

use super::group::Group;
use super::slot::{Slot, Worker};
use super::tried_scripts::TriedScripts;
use crate::message::Reason;
use crate::time_limit;
use scoreboard::{Field, now};
use std::time::{Duration, Instant};
use wsgi::Level;

/// The time without a request after which a worker beyond those that always run is stopped, where there is no
/// inactivity-timeout.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the scripts of workers that could not start are looked at (`reload=On`).
const SCRIPTS_INTERVAL: Duration = Duration::from_millis(500);

impl Group {
    /// How long until the next timeout may expire; `None` where there is none.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let now = Instant::now();
        let starts = self.slots.iter().map(|slot| slot.not_before).filter(|when| *when > now);
        let workers = self.slots.iter().flat_map(Slot::workers);
        let startup = time_limit::enabled(self.config.timers.startup_timeout);
        let limits = workers.filter_map(|worker| {
            let late = startup
                .filter(|_| !worker.ready)
                .map(|limit| time_limit::deadline(worker.started, limit));
            worker.kill_at.or(late)
        });
        let least = self.config.processes.least as usize;
        let spare = self.slots.iter().skip(least).any(|slot| slot.current.is_some());
        let idle = spare.then(|| now + Duration::from_secs(1));
        let template = self.templates.deadline(startup);
        let others = [
            template,
            self.outputs.deadline(),
            self.drain_deadline(),
            self.stacks_deadline(),
            self.scripts_deadline(),
            self.admin.deadline(),
        ];
        let next = starts.chain(limits).chain(idle).chain(others.into_iter().flatten()).min();
        next.map(|when| when.saturating_duration_since(now).max(Duration::from_millis(1)))
    }

    /// Handles the timeouts that have expired.
    pub(super) fn run_timers(&mut self) {
        let startup = time_limit::enabled(self.config.timers.startup_timeout);
        self.templates.kill_if_overdue(startup);
        self.stop_when_drain_delay_is_over();
        self.end_pauses_if_scripts_have_changed();
        let idle_timeout = time_limit::enabled(self.config.timers.inactivity_timeout);
        let least = self.config.processes.least as usize;
        let (mut idle_ones, mut late_ones, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for (index, slot) in self.slots.iter_mut().enumerate() {
            for worker in slot.workers_mut() {
                if worker.kill_if_overdue() && worker.channel_lost && worker.told.is_none() {
                    lost.push(worker.pid);
                }
                if startup.is_some_and(|most| worker.is_late(most)) {
                    sys::kill(worker.pid, sys::SIGKILL);
                    late_ones.push(worker.pid);
                    worker.told = Some(Reason::StartupTimeout);
                }
            }
            let is_spare =
                |worker: &&Worker| worker.ready && index >= least && !worker.record.is_busy();
            if let Some(worker) = slot.current.as_ref().filter(is_spare) {
                // Not since its start: the request that it was started for is still to come to it.
                let last = worker.record.get(Field::LastRequest).max(worker.ready_since);
                let limit = idle_timeout.unwrap_or(IDLE_TIMEOUT);
                if time_limit::has_passed(limit, last, now()) {
                    idle_ones.push((index, worker.pid));
                }
            }
        }
        for pid in late_ones {
            let limit = startup.unwrap_or_default().as_secs_f64();
            let what = format!(
                "worker {pid} did not become ready within startup-timeout ({limit} s); killing it"
            );
            self.log(Level::Error, &what);
        }
        for pid in lost {
            let what = format!(
                "worker {pid} lives on without its connection to the manager; perhaps the application has \
                 called os.exec or closed descriptors that are not its own; it is killed and replaced"
            );
            self.log(Level::Error, &what);
        }
        for (index, pid) in idle_ones {
            self.replace(index, pid, Reason::InactivityTimeout);
        }
    }

    /// When the scripts are to be looked at again; `None` where no slot waits because its worker could not start.
    fn scripts_deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        let waits = |slot: &Slot| slot.current.is_none() && slot.not_before > now;
        let is_wanted = self.config.reload && !self.stopping && self.slots.iter().any(waits);
        is_wanted.then(|| now + SCRIPTS_INTERVAL)
    }

    /// Ends the pauses where the scripts are no longer those that were tried.
    fn end_pauses_if_scripts_have_changed(&mut self) {
        if self.scripts_deadline().is_some() && TriedScripts::now(&self.config) != self.tried {
            for slot in self.slots.iter_mut().filter(|slot| slot.current.is_none()) {
                slot.not_before = Instant::now();
            }
        }
    }
}
