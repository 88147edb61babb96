//! Which workers of a group are replaced, and when the old ones leave. It starts none.
#![forbid(unsafe_code)]

use super::group::Group;
use super::slot::Worker;
use crate::message::{Loaded, Reason};
use crate::posix;
use std::time::Instant;
use wsgi::Level;

impl Group {
    /// A worker has done its imports.
    pub(super) fn welcome(&mut self, index: usize, pid: i32, failed: bool) {
        let (seconds, grace) = self.farewell_times();
        let stopping = self.stopping;
        let Some(slot) = self.slots.get_mut(index) else { return };
        if let Some(current) = slot.current.as_mut().filter(|worker| worker.pid == pid) {
            current.admit(failed);
            slot.failures = 0;
            return;
        }
        let Some(mut incoming) = slot.incoming.take_if(|worker| worker.pid == pid) else { return };
        incoming.ready = true;
        let reason = slot.wanted.take().unwrap_or(Reason::Rolling);
        let optional = matches!(reason, Reason::ScriptReload | Reason::Rolling);
        if failed && optional || stopping {
            incoming.finish(reason, 0.0, grace);
            slot.leaving.push(incoming);
            if !stopping {
                self.give_up_replacing();
            }
            return;
        }
        incoming.admit(failed);
        slot.failures = 0;
        if let Some(mut old) = slot.current.replace(incoming) {
            old.finish(reason, seconds(reason), grace);
            slot.leaving.push(old);
        }
    }

    /// The new code does not load: the old goes on.
    pub(super) fn give_up_replacing(&mut self) {
        self.refused = self.changed.take().or(self.refused.take());
        for slot in &mut self.slots {
            if matches!(slot.wanted, Some(Reason::ScriptReload | Reason::Rolling))
                && slot.current.is_some()
                && slot.incoming.is_none()
            {
                slot.wanted = None;
            }
        }
        self.say(
            Level::Error,
            "a replacement could not load its scripts; the workers there are go on with the code they \
             have",
        );
    }

    /// How long a worker may take to leave, by the reason, and how long it is waited for then.
    pub(super) fn farewell_times(&self) -> (impl Fn(Reason) -> f64 + use<>, Option<f64>) {
        let timers = &self.config.timers;
        let (graceful, eviction) = (timers.graceful_timeout, timers.eviction_timeout);
        let seconds = move |reason| match reason {
            Reason::Eviction => eviction.filter(|seconds| *seconds > 0.0).unwrap_or(graceful),
            _ => graceful,
        };
        (seconds, timers.shutdown_timeout.filter(|seconds| *seconds > 0.0))
    }

    pub(super) fn script_changed(&mut self, index: usize, loaded: Loaded) {
        if self.refused.as_ref() == Some(&loaded) {
            return;
        }
        if loaded.callable.is_some() {
            // What the replacement will be asked for, and has to load: nobody has loaded it in this state.
            self.note(Loaded { modified: None, ..loaded.clone() });
        }
        let path = loaded.path.display();
        self.say(Level::Info, &format!("{path} has changed; workers are to be replaced"));
        if self.changed.as_ref() != Some(&loaded) {
            self.dismiss_incoming();
        }
        // Who has started since has read the new one; who has not been asked for it will say so.
        let modified = loaded.modified.unwrap_or(0);
        for (other, slot) in self.slots.iter_mut().enumerate() {
            let is_old = |worker: &Worker| worker.born <= modified;
            if other == index || slot.current.as_ref().is_some_and(is_old) {
                slot.wanted.get_or_insert(Reason::ScriptReload);
                slot.not_before = Instant::now();
            }
        }
        // Every worker that has it says so.
        if self.changed.as_ref() != Some(&loaded) {
            self.renew_template();
        }
        self.changed = Some(loaded);
    }

    /// Replacements that are still starting have code that is no longer the newest; perhaps they will
    /// never be ready.
    fn dismiss_incoming(&mut self) {
        let (_, grace) = self.farewell_times();
        for slot in &mut self.slots {
            if let Some(mut incoming) = slot.incoming.take() {
                incoming.finish(Reason::Rolling, 0.0, grace);
                incoming.dismissed = true;
                posix::kill(incoming.pid, posix::SIGKILL);
                slot.leaving.push(incoming);
                slot.wanted.get_or_insert(Reason::Rolling);
            }
        }
    }

    pub(super) fn replace_all(&mut self, reason: Reason) {
        if reason == Reason::Rolling {
            self.refused = None;
            self.dismiss_incoming();
            self.renew_template();
        }
        for slot in &mut self.slots {
            if slot.current.is_some() {
                slot.wanted.get_or_insert(reason);
                slot.not_before = Instant::now();
            }
        }
    }

    pub(super) fn replace(&mut self, index: usize, pid: i32, reason: Reason) {
        let (seconds, grace) = self.farewell_times();
        let beyond = index >= self.config.processes.least as usize;
        let stopping = self.stopping;
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.current.as_ref().is_none_or(|worker| worker.pid != pid) {
            return;
        }
        if stopping || beyond && reason == Reason::InactivityTimeout {
            if let Some(mut worker) = slot.current.take() {
                worker.finish(reason, seconds(reason), grace);
                slot.leaving.push(worker);
            }
        } else {
            slot.wanted = Some(reason);
        }
    }

    pub(super) fn stop(&mut self, seconds: f64) {
        self.stopping = true;
        self.templates.dismiss();
        let (_, grace) = self.farewell_times();
        for slot in &mut self.slots {
            let standing = slot.current.take().into_iter().chain(slot.incoming.take());
            slot.leaving.extend(standing);
            for worker in &mut slot.leaving {
                worker.finish(Reason::Signal, seconds, grace);
                if !worker.ready {
                    // It is still starting and hears nothing.
                    worker.dismissed = true;
                    posix::kill(worker.pid, posix::SIGKILL);
                }
            }
        }
    }
}
