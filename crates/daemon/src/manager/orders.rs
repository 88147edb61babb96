//! What a group does when a client of its admin sockets asks for something, and when the client is answered.
#![forbid(unsafe_code)]

use super::admin::Asked;
use super::admin_order::{Answer, Order};
use super::group::Group;
use super::pending::{Pending, Replacement, Work};
use super::slot::Slot;
use crate::message::Reason;
use crate::probe::Condition;
use scoreboard::Exposition;
use serde_json::{Value, json};
use std::time::Instant;
use wsgi::Level;

impl Group {
    /// Answers at the admin sockets.
    pub(super) fn serve_admin(&mut self) {
        let asked = self.admin.serve(self.condition(), &self.config.front_ends, &self.log);
        for asked in asked {
            self.obey(&asked);
        }
        self.answer_pending();
    }

    fn obey(&mut self, asked: &Asked) {
        let Asked { client, order, user } = *asked;
        if let Some(user) = user.filter(|_| !order.is_question()) {
            let name = order.name();
            self.log(Level::Info, &format!("command {name} of uid {user}"));
        }
        let begun = match order {
            Order::Status => Err(Answer::json(Answer::OK, &self.status())),
            Order::Metrics { is_openmetrics } => {
                let kind = Exposition::media_type(is_openmetrics);
                Err(Answer::ok(kind, self.metrics(is_openmetrics)))
            }
            Order::Stacks(only) => self.begin_stacks(only),
            Order::LogLevel => Err(self.tell_log_level()),
            Order::SetLogLevel(level) => {
                self.memory.board.set_log_level(Some(level as u8));
                self.log(Level::Notice, &format!("log level {} by command", level.name()));
                Err(self.tell_log_level())
            }
            Order::Drain => Ok(self.begin_drain()),
            Order::Reload => self.begin_reload(),
            Order::Recycle(pid) => self.begin_recycling(pid),
        };
        match begun {
            Ok(work) => self.pending.push(Pending { client, work }),
            Err(answer) => self.admin.answer(client, &answer),
        }
    }

    /// The level from which lines of the workers are written.
    pub(super) fn log_level(&self) -> Level {
        let set = self.memory.board.log_level();
        Level::from_number(set.unwrap_or(self.config.log_level))
    }

    fn tell_log_level(&self) -> Answer {
        let configured = Level::from_number(self.config.log_level).name();
        let level = self.log_level().name();
        Answer::json(Answer::OK, &json!({ "level": level, "configured": configured }))
    }

    fn begin_drain(&mut self) -> Work {
        if self.draining.is_none() && !self.stopping {
            self.drain(true);
        }
        Work::Drain
    }

    /// Replaces every worker; those that have not begun to serve have perhaps the code that is to be replaced, and are
    /// given up at once.
    fn begin_reload(&mut self) -> Result<Work, Answer> {
        self.resume();
        self.check_not_stopping()?;
        self.memory.board.set_log_level(None);
        let begun = Instant::now();
        self.restart_unready(Reason::ReloadCommand);
        let least = self.config.processes.least as usize;
        let old = self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let pid = slot.current.as_ref().map(|worker| worker.pid);
            (pid.is_some() || index < least).then_some((index, pid))
        });
        let replacement = Replacement { begun, old: old.collect(), failure: None };
        self.replace_all(Reason::ReloadCommand);
        Ok(Work::Replacement(replacement))
    }

    fn begin_recycling(&mut self, pid: i32) -> Result<Work, Answer> {
        self.check_not_stopping()?;
        let is_it = |slot: &Slot| slot.current.as_ref().is_some_and(|worker| worker.pid == pid);
        let Some(index) = self.slots.iter().position(is_it) else {
            let why = format!("no worker that serves is process {pid}");
            return Err(Answer::failure(Answer::NOT_FOUND, &why));
        };
        let begun = Instant::now();
        self.replace(index, pid, Reason::RecycleCommand);
        let old = vec![(index, Some(pid))];
        Ok(Work::Replacement(Replacement { begun, old, failure: None }))
    }

    fn check_not_stopping(&self) -> Result<(), Answer> {
        match self.stopping || self.draining.is_some() {
            true => Err(Answer::failure(Answer::CONFLICT, "the group is stopping")),
            false => Ok(()),
        }
    }

    /// Notes that no replacement that is under way will succeed, because of `why`.
    pub(super) fn fail_replacements(&mut self, why: &str) {
        for pending in &mut self.pending {
            if let Work::Replacement(replacement) = &mut pending.work {
                replacement.fail(why);
            }
        }
    }

    /// Notes that a worker of this slot, which was started at that time, has not become ready.
    pub(super) fn fail_replacement_of(&mut self, index: usize, started: Instant, why: &str) {
        for pending in &mut self.pending {
            if let Work::Replacement(replacement) = &mut pending.work
                && replacement.has_slot(index)
                && started >= replacement.begun
            {
                replacement.fail(why);
            }
        }
    }

    /// Answers the clients that wait for the end of a drain: there will be none, because of `why`.
    pub(super) fn refuse_drains(&mut self, why: &str) {
        let answer = Answer::failure(Answer::CONFLICT, why);
        let is_drain = |pending: &mut Pending| matches!(pending.work, Work::Drain);
        for pending in self.pending.extract_if(.., is_drain) {
            self.admin.answer(pending.client, &answer);
        }
    }

    /// Answers the clients whose orders are carried out, or will not be.
    fn answer_pending(&mut self) {
        let mut rest = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            match self.result(&pending.work) {
                Some(answer) => self.admin.answer(pending.client, &answer),
                None => rest.push(pending),
            }
        }
        self.pending = rest;
    }

    /// What an order has come to, if it has.
    fn result(&self, work: &Work) -> Option<Answer> {
        let replacement = match work {
            Work::Drain => {
                let is_drained = self.condition() == Condition::Drained;
                return is_drained.then(|| Answer::text(Answer::OK, "drained\n"));
            }
            Work::Stacks(question) => return self.stacks(question),
            Work::Replacement(replacement) => replacement,
        };
        let stopped = self.stopping.then(|| "the group has been stopped meanwhile".to_owned());
        let failure = replacement.failure.clone().or(stopped);
        let workers =
            replacement.old.iter().map(|(slot, old)| self.replaced(*slot, *old, replacement.begun));
        let workers: Vec<Option<Value>> = workers.collect();
        if let Some(why) = failure {
            let workers: Vec<Value> = workers.into_iter().flatten().collect();
            let serving = self.workers_ready();
            let value = json!({ "error": why, "replaced": workers, "workers_ready": serving });
            return Some(Answer::json(Answer::CONFLICT, &value));
        }
        let workers: Option<Vec<Value>> = workers.into_iter().collect();
        Some(Answer::json(Answer::OK, &json!({ "replaced": workers? })))
    }

    /// The old worker and the one in its place, where that is ready and no worker from before `begun` accepts any more:
    /// the client may ask for a page at once, and has the new code then.
    fn replaced(&self, index: usize, old: Option<i32>, begun: Instant) -> Option<Value> {
        let slot = self.slots.get(index)?;
        if slot.has_old_acceptor(begun) && !self.config.is_service() {
            return None;
        }
        // Where no worker served one was started at once, perhaps with the older code: another one follows.
        if slot.wanted.is_some_and(Reason::is_for_new_code) {
            return None;
        }
        let new = slot.current.as_ref();
        // A worker that does not always run may have had no successor.
        let is_spare = index >= self.config.processes.least as usize;
        match new {
            Some(worker) if worker.ready && Some(worker.pid) != old => {}
            None if is_spare && slot.wanted.is_none() => {}
            _ => return None,
        }
        let new = new.map(|worker| worker.pid);
        Some(json!({ "slot": index, "old_pid": old, "pid": new }))
    }
}
