//! Which workers of a group are replaced, and when the replaced ones stop. It starts none.
#![forbid(unsafe_code)]

use super::failure_cause::{FailureCause, with_cause};
use super::group::Group;
use super::slot::Worker;
use crate::message::{Loaded, Reason, Successor};
use crate::time_limit;
use scoreboard::Counters;
use std::time::{Duration, Instant};
use wsgi::Level;

impl Group {
    /// A worker has done its imports; `failed`: not all of them.
    pub(super) fn replacement_ready(&mut self, index: usize, pid: i32, failed: bool) {
        let (within, grace) = self.drain_timeouts();
        let stopping = self.stopping;
        let load_failure = failed.then(|| self.load_failure(&format!("worker {pid}"), pid));
        let Some(slot) = self.slots.get_mut(index) else { return };
        if let Some(current) = slot.current.as_mut().filter(|worker| worker.pid == pid) {
            note_ready(self.memory.board.counters(), current);
            current.mark_ready(failed);
            let started = current.started;
            slot.failures = 0;
            if let Some(why) = load_failure {
                self.fail_replacement_of(index, started, &why);
            }
            return;
        }
        let Some(mut incoming) = slot.incoming.take_if(|worker| worker.pid == pid) else { return };
        incoming.ready = true;
        let reason = slot.wanted.take().unwrap_or(Reason::Rolling);
        if failed && reason.is_for_new_code() || stopping {
            incoming.finish(reason, Duration::ZERO, grace, Successor::None);
            // It waits to be told to serve, and has accepted nothing.
            incoming.accepts_no_more = true;
            slot.leaving.push(incoming);
            if !stopping {
                slot.wanted = slot.current.is_some().then_some(reason);
                self.abort_replacement(&load_failure.unwrap_or_default());
            }
            return;
        }
        note_ready(self.memory.board.counters(), &incoming);
        incoming.mark_ready(failed);
        slot.failures = 0;
        if let Some(mut old) = slot.current.replace(incoming) {
            old.finish(reason, within(reason), grace, Successor::Ready);
            slot.leaving.push(old);
        }
    }

    /// A worker that was told to finish accepts no more.
    pub(super) fn note_accepts_no_more(&mut self, index: usize, pid: i32) {
        let slot = self.slots.get_mut(index);
        let worker = slot.and_then(|slot| slot.workers_mut().find(|worker| worker.pid == pid));
        if let Some(worker) = worker {
            worker.accepts_no_more = true;
        }
    }

    /// That a process could not load its scripts, with the cause where its lines have told that.
    pub(super) fn load_failure(&self, process: &str, pid: i32) -> String {
        let cause = self.outputs.cause(pid).and_then(FailureCause::of_load);
        let cause = cause.unwrap_or("the error log says why");
        with_cause(&format!("{process} could not load its scripts"), Some(cause))
    }

    /// Keeps the current workers, because of `why`: the new code does not load.
    pub(super) fn abort_replacement(&mut self, why: &str) {
        self.fail_replacements(why);
        self.refused = self.changed.take().or(self.refused.take());
        for slot in &mut self.slots {
            if let Some(worker) = &mut slot.current {
                worker.keep_code(self.refused.as_ref());
            }
            if slot.incoming.is_none() {
                slot.give_up_new_code();
            }
        }
        self.log(
            Level::Error,
            "a replacement could not load its scripts; keeping the current workers and their code",
        );
    }

    /// A replacement, or the template that is to fork it, was not ready within startup-timeout, as `why` says. That tells
    /// nothing of the new code, for the machine may have been busy: the current workers go on with theirs, and another one
    /// is started after a pause, as where there is no worker yet.
    pub(super) fn postpone_replacement(&mut self, why: &str) {
        self.fail_replacements(why);
        for worker in self.slots.iter_mut().filter_map(|slot| slot.current.as_mut()) {
            worker.keep_code(None);
        }
        self.log(
            Level::Error,
            "a replacement was not ready within startup-timeout; keeping the current workers and their code until \
             another one is",
        );
    }

    /// How long a worker may go on with its requests, by the reason to stop, and how much later it is killed, if at
    /// all.
    pub(super) fn drain_timeouts(&self) -> (impl Fn(Reason) -> Duration + use<>, Option<Duration>) {
        let timers = &self.config.timers;
        let (graceful, eviction) = (timers.graceful_timeout, timers.eviction_timeout);
        let within = move |reason| match reason {
            Reason::Eviction => time_limit::enabled(eviction).unwrap_or(graceful),
            _ => graceful,
        };
        (within, time_limit::enabled(timers.shutdown_timeout))
    }

    /// A worker of this slot has found another state of a file it has loaded: replaces the workers that have the
    /// older one.
    pub(super) fn script_changed(&mut self, index: usize, loaded: Loaded) {
        // A request and `reload=On` find the same change, each on its own.
        if self.refused.as_ref().is_some_and(|refused| refused.is_same_file(&loaded)) {
            if let Some(worker) = self.slots.get_mut(index).and_then(|slot| slot.current.as_mut()) {
                worker.keep_code(Some(&loaded));
            }
            let path = loaded.path.display();
            self.log(Level::Info, &format!("{path} is as it was when it could not be loaded"));
            return;
        }
        if loaded.callable.is_some() {
            // The replacement has to load it; no worker has loaded it in this state yet.
            self.record_loaded(Loaded { modified: None, ..loaded.clone() });
        }
        let path = loaded.path.display();
        self.log(Level::Info, &format!("{path} has changed; workers are to be replaced"));
        if self.changed.as_ref() != Some(&loaded) {
            self.cancel_incoming(Reason::Rolling);
        }
        // A worker that started later has read the new state, and one that has the older state all the same will
        // report it.
        let modified = loaded.modified.map_or(0, |version| version.modified);
        for (other, slot) in self.slots.iter_mut().enumerate() {
            let is_old = |worker: &Worker| worker.started_at <= modified;
            if other == index || slot.current.as_ref().is_some_and(is_old) {
                slot.want(Reason::ScriptReload);
                slot.not_before = Instant::now();
            }
        }
        // Every worker that has the file reports it, and one new template is enough.
        if self.changed.as_ref() != Some(&loaded) {
            self.renew_template();
        }
        self.changed = Some(loaded);
    }

    /// Stops replacements, and kills those that are still starting: their code is no longer the newest, and perhaps they
    /// will never be ready.
    fn cancel_incoming(&mut self, reason: Reason) {
        let (within, grace) = self.drain_timeouts();
        for slot in &mut self.slots {
            if let Some(mut incoming) = slot.incoming.take() {
                if incoming.may_serve() {
                    incoming.finish(reason, within(reason), grace, Successor::Ready);
                } else {
                    incoming.finish(reason, Duration::ZERO, grace, Successor::None);
                    incoming.cancelled = true;
                    sys::kill(incoming.pid, sys::SIGKILL);
                }
                slot.leaving.push(incoming);
                slot.want(reason);
            }
        }
    }

    /// Gives up workers that have not begun to serve, and starts others in their place without a pause.
    pub(super) fn restart_unready(&mut self, reason: Reason) {
        let (_, grace) = self.drain_timeouts();
        for slot in &mut self.slots {
            if let Some(mut worker) = slot.current.take_if(|worker| !worker.may_serve()) {
                worker.finish(reason, Duration::ZERO, grace, Successor::None);
                worker.cancelled = true;
                sys::kill(worker.pid, sys::SIGKILL);
                slot.leaving.push(worker);
            }
            (slot.not_before, slot.failures, slot.early_exits) = (Instant::now(), 0, 0);
        }
        self.templates.forget_failures();
    }

    /// Replaces every worker by one with the current code.
    pub(super) fn replace_all(&mut self, reason: Reason) {
        self.refused = None;
        self.cancel_incoming(reason);
        self.renew_template();
        for slot in &mut self.slots {
            if slot.current.is_some() {
                slot.want(reason);
                slot.not_before = Instant::now();
            }
        }
    }

    /// Replaces a worker of this slot, or just stops it where no other one is needed.
    pub(super) fn replace(&mut self, index: usize, pid: i32, reason: Reason) {
        let (within, grace) = self.drain_timeouts();
        let beyond = index >= self.config.processes.least as usize;
        let stopping = self.stopping;
        let others = self.slots.iter().filter_map(|slot| slot.current.as_ref());
        let has_other = others.filter(|worker| worker.ready).any(|worker| worker.pid != pid);
        let successor = if has_other && !stopping { Successor::Ready } else { Successor::None };
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(worker) = slot.current.as_mut().filter(|worker| worker.pid == pid) else { return };
        if !reason.is_for_new_code() {
            worker.asks = Some(reason);
        }
        if stopping || beyond && reason == Reason::InactivityTimeout {
            if let Some(mut worker) = slot.current.take() {
                worker.finish(reason, within(reason), grace, successor);
                slot.leaving.push(worker);
            }
        } else {
            slot.want(reason);
        }
    }

    /// Stops every worker; each may go on with its requests for the time `within`.
    pub(super) fn stop(&mut self, within: Duration) {
        self.stopping = true;
        let is_drain = self.stays_when_drained();
        if !is_drain {
            self.memory.board.set_draining(true);
        }
        let reason = if is_drain { Reason::DrainCommand } else { Reason::Signal };
        self.templates.stop();
        let (_, grace) = self.drain_timeouts();
        for slot in &mut self.slots {
            let serving = slot.current.take().into_iter().chain(slot.incoming.take());
            slot.leaving.extend(serving);
            for worker in &mut slot.leaving {
                worker.finish(reason, within, grace, Successor::None);
                if !worker.may_serve() {
                    // A worker that is still starting reads no commands.
                    worker.cancelled = true;
                    sys::kill(worker.pid, sys::SIGKILL);
                }
            }
        }
    }
}

/// Counts the time that a worker has taken to become ready.
fn note_ready(counters: Counters<'_>, worker: &Worker) {
    counters.note_ready(u64::try_from(worker.started.elapsed().as_micros()).unwrap_or(u64::MAX));
}
