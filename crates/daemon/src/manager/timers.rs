//! What a group does by the clock: workers that start or leave too slowly, workers beyond the least number
//! that have nothing to do.
#![forbid(unsafe_code)]

use super::group::Group;
use super::slot::{Slot, Worker};
use crate::message::Reason;
use crate::posix;
use scoreboard::{Field, now};
use std::time::{Duration, Instant};
use wsgi::Level;

/// Seconds after which a worker beyond the least number has nothing to do.
const IDLE: f64 = 60.0;

impl Group {
    pub(super) fn next_deadline(&self) -> Option<Duration> {
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

    pub(super) fn look_at_the_clock(&mut self) {
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
}
