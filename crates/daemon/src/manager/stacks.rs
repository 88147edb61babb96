//! The Python stacks of a group's workers, for a client of its admin sockets: each worker is asked, and what has come
//! when all have answered, or time is over, is the answer. A worker that says nothing keeps nothing waiting.
#![forbid(unsafe_code)]

use super::admin_order::Answer;
use super::group::Group;
use super::pending::Work;
use super::slot::{Slot, Worker};
use super::stack_question::{AskedWorker, StackQuestion};
use crate::message::Command;
use crate::process_stacks::ProcessStacks;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long a worker may take. The command waits for six seconds.
const TIMEOUT: Duration = Duration::from_secs(4);

impl Group {
    /// Asks all workers, or the one with this process id.
    pub(super) fn begin_stacks(&mut self, only: Option<i32>) -> Result<Work, Answer> {
        self.stack_questions += 1;
        let number = self.stack_questions;
        let is_service = self.config.is_service();
        let mut workers = Vec::new();
        for (slot, worker) in self.slots.iter_mut().enumerate().flat_map(workers_of) {
            if only.is_none_or(|pid| pid == worker.pid) {
                workers.push(ask(slot, worker, number, is_service));
            }
        }
        match (only, workers.is_empty()) {
            (Some(pid), true) => {
                let why = format!("no worker is process {pid}");
                Err(Answer::failure(Answer::NOT_FOUND, &why))
            }
            _ => {
                let until = Instant::now() + TIMEOUT;
                Ok(Work::Stacks(StackQuestion { number, until, workers }))
            }
        }
    }

    /// Notes what a worker has answered.
    pub(super) fn note_stacks(&mut self, pid: i32, number: u64, mut stacks: ProcessStacks) {
        stacks.sanitise();
        for pending in &mut self.pending {
            let Work::Stacks(question) = &mut pending.work else { continue };
            let asked = question.workers.iter_mut().filter(|_| question.number == number);
            for worker in asked.filter(|worker| worker.pid == pid) {
                worker.stacks = Some(std::mem::take(&mut stacks));
            }
        }
    }

    /// The answer to the client, if it is complete, or has to do.
    pub(super) fn stacks(&self, question: &StackQuestion) -> Option<Answer> {
        let is_over = Instant::now() >= question.until;
        let is_gone =
            |pid| !self.slots.iter().flat_map(Slot::workers).any(|worker| worker.pid == pid);
        let answer = |asked: &AskedWorker| {
            let why = match (is_gone(asked.pid), is_over) {
                (true, _) => "the process has exited meanwhile",
                (false, true) => "the process has not answered in time",
                (false, false) => return asked.stacks.as_ref().map(|it| describe(asked, it)),
            };
            let none = || ProcessStacks::failure(why);
            Some(describe(asked, &asked.stacks.clone().unwrap_or_else(none)))
        };
        let workers: Option<Vec<Value>> = question.workers.iter().map(answer).collect();
        let value = json!({ "name": self.config.name, "workers": workers? });
        Some(Answer::json(Answer::OK, &value))
    }

    /// When a client that waits for stacks is answered at the latest.
    pub(super) fn stacks_deadline(&self) -> Option<Instant> {
        let questions = self.pending.iter().filter_map(|pending| match &pending.work {
            Work::Stacks(question) => Some(question.until),
            Work::Drain | Work::Replacement(_) => None,
        });
        questions.min()
    }
}

fn workers_of((index, slot): (usize, &mut Slot)) -> impl Iterator<Item = (usize, &mut Worker)> {
    slot.workers_mut().map(move |worker| (index, worker))
}

fn ask(slot: usize, worker: &mut Worker, question: u64, is_service: bool) -> AskedWorker {
    let why = match (is_service, worker.may_serve(), worker.channel_lost) {
        (true, ..) => Some("the stacks of service scripts are not read"),
        (_, false, _) => Some("it still loads its application"),
        (.., true) => Some("it cannot be asked any more"),
        _ => worker.channel.send(&Command::Stacks { question }).err().map(|_| "it cannot be asked"),
    };
    let state = match (worker.told.is_some(), worker.ready) {
        (true, _) => "leaving",
        (false, true) => "ready",
        (false, false) => "starting",
    };
    AskedWorker { slot, pid: worker.pid, state, stacks: why.map(ProcessStacks::failure) }
}

fn describe(worker: &AskedWorker, stacks: &ProcessStacks) -> Value {
    let AskedWorker { slot, pid, state, .. } = worker;
    let tasks = stacks.tasks.iter().map(|task| {
        json!({
            "name": task.name,
            "request": request(task.request.as_ref(), task.request_microseconds),
            "frames": task.frames,
            "frames_left_out": task.frames_left_out,
        })
    });
    let threads = stacks.threads.iter().map(|thread| {
        json!({
            "name": thread.name,
            "ident": thread.ident,
            "native_id": thread.native_id,
            "application_group": thread.application_group,
            "request": request(thread.request.as_ref(), thread.request_microseconds),
            "frames": thread.frames,
            "frames_left_out": thread.frames_left_out,
        })
    });
    json!({
        "slot": slot,
        "pid": pid,
        "state": state,
        "error": stacks.error,
        "incomplete": stacks.incomplete,
        "lock_obtained": stacks.lock_obtained,
        "threads": threads.collect::<Vec<Value>>(),
        "tasks": tasks.collect::<Vec<Value>>(),
    })
}

/// A request without its query, which may hold what is not for a terminal.
fn request(line: Option<&String>, microseconds: Option<u64>) -> Option<Value> {
    let line = line?.split('?').next().unwrap_or_default();
    Some(json!({ "line": line, "age_seconds": microseconds.unwrap_or(0) as f64 / 1e6 }))
}
