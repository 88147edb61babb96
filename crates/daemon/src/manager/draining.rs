//! How a group stops in the sight of load balancers: it says that it is not ready, goes on for a while, and stops then.
#![forbid(unsafe_code)]

use super::group::{Draining, Group};
use crate::probe::Condition;
use crate::time_limit;
use std::time::{Duration, Instant};
use wsgi::Level;

impl Group {
    /// Stops the workers without the delay; their requests have shutdown-timeout.
    pub(super) fn stop_without_delay(&mut self) {
        self.let_exit();
        self.stop(self.shutdown_timeout());
    }

    /// Has workers finish what they have, within graceful-timeout. Under Apache another manager of the group serves from
    /// now on, and takes the commands.
    pub(super) fn finish_for_successor(&mut self) {
        self.let_exit();
        if self.parent.is_some() {
            self.admin.close_sockets();
        }
        self.stop(self.config.timers.graceful_timeout);
    }

    /// Whether the end of the parent process ends the group: where it stops already, it does so in its time.
    pub(super) fn outlives_no_parent(&self) -> bool {
        !self.stopping || self.stays_when_drained()
    }

    /// How long requests may take once the group stops.
    fn shutdown_timeout(&self) -> Duration {
        time_limit::enabled(self.config.timers.shutdown_timeout).unwrap_or(Duration::MAX)
    }

    /// Says that the group is not ready, and stops it after the time that load balancers need to notice; at once where
    /// none is set, or it has been told that already.
    pub(super) fn drain_and_exit(&mut self) {
        match &self.draining {
            // `--drain` has begun it, and the manager would stay: it is to exit.
            Some(draining) if draining.stays => self.let_exit(),
            Some(_) => self.stop_without_delay(),
            // One that finishes its requests, for a successor, takes no new ones: there is nothing to announce.
            None if self.stopping => self.stop_without_delay(),
            None => self.drain(false),
        }
    }

    /// Says that the group is not ready, and has it stop after drain-delay; `stays`: the manager waits for a signal then.
    pub(super) fn drain(&mut self, stays: bool) {
        let delay = self.config.front_ends.drain_delay;
        match stays {
            true => self.memory.board.set_drained(),
            false => self.memory.board.set_draining(true),
        }
        let stops_at = time_limit::deadline(Instant::now(), delay);
        self.draining = Some(Draining { stops_at, stays });
        if !delay.is_zero() {
            let delay = delay.as_secs_f64();
            self.log(
                Level::Info,
                &format!("draining: not ready from now on, stopping in {delay} s"),
            );
        }
        self.stop_when_drain_delay_is_over();
    }

    fn let_exit(&mut self) {
        if let Some(draining) = &mut self.draining {
            draining.stays = false;
        }
    }

    /// When the workers are to be stopped.
    pub(super) fn drain_deadline(&self) -> Option<Instant> {
        self.draining.as_ref().filter(|_| !self.stopping).map(|draining| draining.stops_at)
    }

    /// Stops the workers once the group has been said not to be ready for long enough.
    pub(super) fn stop_when_drain_delay_is_over(&mut self) {
        if self.drain_deadline().is_some_and(|when| when <= Instant::now()) {
            self.stop(self.shutdown_timeout());
        }
    }

    /// Whether the manager waits for a signal although no worker is left.
    pub(super) fn stays_when_drained(&self) -> bool {
        self.draining.as_ref().is_some_and(|draining| draining.stays)
    }

    /// Has a group that was drained by a command serve again.
    pub(super) fn resume(&mut self) {
        if self.draining.take_if(|draining| draining.stays).is_some() {
            self.stopping = false;
            self.memory.board.set_draining(false);
            self.log(Level::Info, "no longer drained");
            self.refuse_drains("the group serves again meanwhile");
        }
    }

    /// Whether no worker is left.
    pub(super) fn has_no_worker(&self) -> bool {
        self.slots.iter().all(|slot| slot.workers().next().is_none())
    }

    /// How the group is.
    pub(super) fn condition(&self) -> Condition {
        let is_ready =
            self.slots.iter().filter_map(|slot| slot.current.as_ref()).any(|worker| worker.ready);
        match (self.stopping, &self.draining) {
            (true, _) if self.has_no_worker() => Condition::Drained,
            (true, _) | (_, Some(_)) => Condition::Draining,
            _ if is_ready => Condition::Ready,
            _ => Condition::Starting,
        }
    }
}
