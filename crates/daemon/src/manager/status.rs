//! What a group is doing, as JSON. Names with a unit end with it; those that the status page of Apache has as well are the
//! same. Nothing is changed here.
#![forbid(unsafe_code)]

use super::group::Group;
use super::request_status::requests;
use super::slot::{Slot, Worker};
use crate::probe::Condition;
use group_config::Interface;
use scoreboard::{ExecutorLoad, ExecutorLoads, ExitReason, Field, now};
use serde_json::{Map, Value, json};
use std::time::Instant;
use sys::ProcessUsage;
use wsgi::Level;

impl Group {
    /// The group at this moment.
    pub(super) fn status(&self) -> Value {
        let events = self.memory.board.counters().read();
        let exits =
            ExitReason::ALL.map(|reason| (reason.name().to_owned(), events.exits(reason).into()));
        let slots = self.slots.iter().enumerate();
        let workers: Vec<Value> = slots.flat_map(|(index, slot)| self.slot(index, slot)).collect();
        let busy = self.busy();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "name": self.config.name,
            "condition": condition_name(self.condition()),
            "interface": self.interface_name(),
            "serves": !self.config.is_service(),
            "manager": {
                "pid": std::process::id(),
                "uid": sys::effective_uid(),
                "started_seconds": seconds(self.started_at.try_into().unwrap_or(0)),
                "age_seconds": self.started.elapsed().as_secs_f64(),
                "generation": self.config.generation,
            },
            "log_level": self.log_level().name(),
            "log_level_configured": Level::from_number(self.config.log_level).name(),
            "processes": { "least": self.config.processes.least, "most": self.config.processes.most },
            "capacity_per_worker": self.config.capacity(),
            "workers_ready": self.workers_ready(),
            "requests_active": busy,
            "queue_depth": self.apache_counts.queue_depth(busy),
            "oldest_request_seconds": seconds(self.oldest_request()),
            "requests": requests(&self.apache_counts),
            "executors": self.executors().as_ref().map(executors),
            "start_block": self.start_block(),
            "reloaded_seconds": self.memory.board.reloaded().map(since_epoch),
            "starts": events.starts,
            "exits": exits.into_iter().collect::<Map<String, Value>>(),
            "templates": self.templates.pids(),
            "workers": workers,
        })
    }

    /// Why no worker is to be expected in a slot.
    fn start_block(&self) -> Option<String> {
        let board = &self.memory.board;
        let cause = || self.start_cause.read();
        (0..self.slots.len()).find_map(|slot| board.start_block_reason(slot, cause))
    }

    /// Workers that take requests.
    pub(super) fn workers_ready(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_ready()).count()
    }

    /// Requests that are being served.
    pub(super) fn busy(&self) -> u64 {
        self.workers().map(|worker| worker.record.requests().len() as u64).sum()
    }

    /// What the executors of its event loops have to do; `None` where it has no event loops.
    pub(super) fn executors(&self) -> Option<ExecutorLoads> {
        let threads = self.config.threads.into();
        (self.config.interface != Interface::Wsgi).then(|| {
            let mut loads = ExecutorLoads::default();
            self.workers().for_each(|worker| loads.add(&worker.record, threads));
            loads
        })
    }

    /// Microseconds since the oldest request that is being served was begun.
    pub(super) fn oldest_request(&self) -> u64 {
        let requests = self.workers().flat_map(|worker| worker.record.requests());
        requests.map(|(since, _)| now().saturating_sub(since)).max().unwrap_or(0)
    }

    /// The interface of its applications.
    pub(super) const fn interface_name(&self) -> &'static str {
        match self.config.interface {
            Interface::Wsgi => "wsgi",
            Interface::Asgi => "asgi",
            Interface::Auto => "auto",
        }
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.slots.iter().flat_map(Slot::workers)
    }

    /// The workers of a slot; where it has none, but has had or is to have one, why.
    fn slot(&self, index: usize, slot: &Slot) -> Vec<Value> {
        let last_exit = self.memory.board.ended(index, 0).map(|record| record.exit_description());
        let pause = slot.not_before.saturating_duration_since(Instant::now());
        let busy = slot.workers().map(|worker| worker.record.requests().len() as u64).sum();
        let waiting = self.apache_counts.waiting(index, busy);
        let describe = |worker: &Worker| {
            let mut value = worker_status(index, worker);
            value["last_exit"] = json!(last_exit);
            // What waits for the slot is taken by the worker that serves.
            let serves = slot.current.as_ref().is_some_and(|it| it.pid == worker.pid);
            value["waiting"] = json!(waiting.filter(|_| serves));
            value
        };
        let mut workers: Vec<Value> = slot.workers().map(describe).collect();
        let is_missing = index < self.config.processes.least as usize || last_exit.is_some();
        if slot.current.is_none() && is_missing {
            workers.push(json!({
                "slot": index,
                "pid": null,
                "state": "gone",
                "restart_in_seconds": pause.as_secs_f64(),
                "failed_starts": slot.failures,
                "requests": [],
                "last_exit": last_exit,
            }));
        }
        workers
    }
}

fn executors(loads: &ExecutorLoads) -> Value {
    let load = |load: ExecutorLoad| json!({ "threads": load.threads, "busy": load.busy, "waiting": load.waiting });
    loads
        .each()
        .map(|(executor, it)| (executor.name().to_owned(), load(it)))
        .collect::<Map<_, _>>()
        .into()
}

fn worker_status(index: usize, worker: &Worker) -> Value {
    let pid = u32::try_from(worker.pid).unwrap_or(0);
    let usage = ProcessUsage::of_child(pid).unwrap_or_default();
    let requests = worker.record.busy_threads().map(|(thread, since, line)| {
        // The query may hold what is not for a terminal.
        let line = line.split('?').next().unwrap_or_default();
        let age = seconds(now().saturating_sub(since));
        json!({ "thread": thread, "age_seconds": age, "line": line })
    });
    let requests: Vec<Value> = requests.collect();
    json!({
        "slot": index,
        "pid": pid,
        "state": match (worker.told, worker.ready) {
            (Some(_), _) => "leaving",
            (None, true) => "ready",
            (None, false) => "starting",
        },
        "told": worker.told.map(|reason| reason.event_name()),
        "age_seconds": worker.started.elapsed().as_secs_f64(),
        "served": worker.record.get(Field::Served),
        "busy": requests.len(),
        "resident_bytes": usage.resident,
        "private_bytes": usage.private,
        "cpu_seconds": usage.cpu as f64 / 1e3,
        "requests": requests,
    })
}

/// The name of a condition.
const fn condition_name(condition: Condition) -> &'static str {
    match condition {
        Condition::Starting => "starting",
        Condition::Ready => "ready",
        Condition::Draining => "draining",
        Condition::Drained => "drained",
    }
}

/// Seconds since the epoch, of microseconds of [`now`].
fn since_epoch(then: u64) -> f64 {
    let epoch = u64::try_from(wsgi::epoch_micros()).unwrap_or(0);
    seconds(epoch.saturating_sub(now().saturating_sub(then)))
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
