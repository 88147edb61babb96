//! All process groups and Apache's own children at one moment, as the shared memory shows them. It must never know how
//! that is shown.
//!
//! Workers can write anything to their scoreboard: numbers are taken as they are, texts are cut and escaped there, and
//! a process that does not belong to the group's user is not looked at.
#![forbid(unsafe_code)]

use crate::child::Child;
use crate::config::RequestLines;
use crate::forward::Group;
use crate::groups::{
    Configuration, RecentFailure, RequestCounters, ServerChildren, ServerCounters,
};
use crate::httpd::{Mpm, ServerInfo};
use crate::status::stack::Stack;
use group_config::Interface;
use scoreboard::{
    Children, Events, ExecutorLoads, Field, PythonVersion, RecentRequests, Record, RequestCounts,
    State, now,
};
use sys::ProcessUsage;

/// How many failures are shown, of all groups or of one.
const MAX_FAILURES: usize = 10;

/// What there is to show.
pub(crate) struct Snapshot {
    /// Microseconds since the server was started.
    pub(crate) uptime: u64,
    pub(crate) configuration: Configuration,
    /// httpd with its version, and the modules that name themselves.
    pub(crate) httpd: String,
    /// The Python of Apache's own processes; `None` where the module has none.
    pub(crate) python: Option<PythonVersion>,
    /// Microseconds since the epoch.
    pub(crate) now: u64,
    /// Requests that Apache's children have served or refused themselves.
    pub(crate) embedded: Requests,
    /// What runs in Apache's children; `None` where the configuration does not let them run Python.
    pub(crate) children: Option<ChildrenStatus>,
    pub(crate) groups: Vec<GroupStatus>,
    /// The latest first.
    pub(crate) failures: Vec<RecentFailure>,
}

/// Apache's children that have started Python, or are about to.
pub(crate) struct ChildrenStatus {
    /// By record.
    pub(crate) children: Vec<WorkerStatus>,
    /// Threads of each of them.
    pub(crate) threads: u64,
}

/// A process group.
pub(crate) struct GroupStatus {
    pub(crate) name: String,
    /// `wsgi`, `asgi` or `auto`.
    pub(crate) interface: &'static str,
    /// Requests that a worker serves at a time.
    pub(crate) capacity: u64,
    pub(crate) requests: Requests,
    /// Processor time of all its workers so far, in microseconds.
    pub(crate) cpu: u64,
    /// Requests that children have sent, or want to send, and that no worker has begun to serve.
    pub(crate) queue_depth: u64,
    pub(crate) workers: Vec<WorkerStatus>,
    /// Starts and exits of its workers.
    pub(crate) events: Events,
    /// What the executors of its event loops have to do; `None` where it has no event loops.
    pub(crate) executors: Option<ExecutorLoads>,
    /// The Python of its workers, once there was one.
    pub(crate) python: Option<PythonVersion>,
    /// When a worker was last replaced by a reload, in microseconds since the epoch; `None` where none was.
    pub(crate) reloaded: Option<u64>,
    /// WebSockets that its workers have open; `None` where they have no event loop.
    pub(crate) sockets: Option<u64>,
    /// Why no worker is to be expected.
    pub(crate) start_block: Option<String>,
    /// It serves requests, and is not one of service scripts.
    pub(crate) serves: bool,
    /// It has workers also while there are no requests.
    pub(crate) is_permanent: bool,
}

/// What became of requests.
#[derive(Default)]
pub(crate) struct Requests {
    /// Since the counters began.
    pub(crate) all: RequestCounts,
    /// In the last minute.
    pub(crate) recent: RecentRequests,
}

/// A worker, or the end of the last one of a slot; or one of Apache's children.
pub(crate) struct WorkerStatus {
    /// Of a child: the number of its record.
    pub(crate) slot: usize,
    pub(crate) pid: u32,
    pub(crate) state: &'static str,
    pub(crate) is_ready: bool,
    /// Microseconds since it was started.
    pub(crate) age: u64,
    /// Requests.
    pub(crate) served: u64,
    pub(crate) usage: ProcessUsage,
    /// WebSockets that it has open.
    pub(crate) sockets: u64,
    pub(crate) requests: Vec<RunningRequest>,
    /// How many more it serves, of which nothing is known.
    pub(crate) unlisted: u64,
    /// How the worker before it ended, if it left a record.
    pub(crate) last_exit: Option<String>,
}

/// A request that is being served.
pub(crate) struct RunningRequest {
    /// Microseconds since it was begun.
    pub(crate) age: u64,
    /// Method and target, as far as they are to be shown.
    pub(crate) line: Option<String>,
    /// Of the oldest request of a worker, once it is older than a second.
    pub(crate) stack: Option<Stack>,
}

impl Snapshot {
    /// That of this moment; with `only` that of the group of this name alone.
    pub(crate) fn take(child: &Child, lines: RequestLines, only: Option<&str>) -> Self {
        let counters = ServerCounters::get();
        let groups = child.groups.iter().filter(|group| only.is_none_or(|it| group.name() == it));
        let own = counters.filter(|_| only.is_none()).map(|it| &it.embedded);
        let of_groups = groups.clone().map(|group| &*group.plan().requests);
        let failures = last_failures(own.into_iter().chain(of_groups), lines);
        Self {
            uptime: counters.map_or(0, |it| now().saturating_sub(it.since)),
            configuration: counters.map(ServerCounters::configuration).unwrap_or_default(),
            httpd: ServerInfo::description(),
            python: child.python_version,
            now: epoch(),
            embedded: counters.map(|it| Requests::of(&it.embedded)).unwrap_or_default(),
            children: ServerChildren::get()
                .filter(|_| child.options.embedded_python)
                .map(|board| ChildrenStatus::of(board, lines)),
            groups: groups.map(|group| GroupStatus::of(group, lines)).collect(),
            failures,
        }
    }
}

impl Requests {
    fn of(counters: &RequestCounters) -> Self {
        let all = counters.read();
        Self { recent: counters.recent(&all), all }
    }
}

impl ChildrenStatus {
    fn of(board: Children<'_>, lines: RequestLines) -> Self {
        let uid = sys::effective_uid();
        let generation = ServerCounters::get().map_or(0, |it| it.configuration().generation);
        let children = board.records().filter_map(|(number, record)| {
            // The parent frees the records of those that it finds gone, of all but a few.
            let is_there = |it: &WorkerStatus| sys::is_alive(it.pid);
            let mut child = worker(number, &record, uid, lines, &None).filter(is_there)?;
            // event and prefork tell a child that it is to leave only once it has no request any more.
            if child.is_ready && record.get(Field::Generation) < generation {
                (child.state, child.is_ready) = ("leaving", false);
            }
            Some(child)
        });
        let threads = Mpm::query().threads.unsigned_abs();
        Self { children: children.collect(), threads }
    }

    /// Children that take requests.
    pub(crate) fn ready(&self) -> u64 {
        self.children.iter().filter(|child| child.is_ready).count() as u64
    }

    /// Threads that run Python.
    pub(crate) fn busy(&self) -> u64 {
        self.children.iter().map(WorkerStatus::busy).fold(0, u64::saturating_add)
    }

    /// Microseconds since the oldest request that is being served was begun.
    pub(crate) fn oldest(&self) -> u64 {
        self.children.iter().map(WorkerStatus::oldest).max().unwrap_or(0)
    }
}

impl GroupStatus {
    fn of(group: &Group, lines: RequestLines) -> Self {
        let (plan, definition) = (group.plan(), group.definition());
        let board = plan.board.view();
        let slots = plan.sockets.len();
        // Before the running processes: what ends meanwhile is in neither figure, and not in both.
        let events = board.counters().read();
        let (mut workers, mut executors) = (Vec::new(), ExecutorLoads::default());
        for slot in 0..slots {
            let records = board.records(slot);
            let exit = board.ended(slot, 0).map(|record| record.exit_description());
            for record in records {
                if let Some(worker) = worker(slot, &record, plan.worker_uid, lines, &exit) {
                    workers.push(worker);
                    executors.add(&record, definition.config.threads.into());
                }
            }
            // The slot has no worker, and one that ended.
            if workers.last().is_none_or(|last| last.slot != slot) && exit.is_some() {
                workers.push(WorkerStatus::gone(slot, exit));
            }
        }
        let asked: u64 = (0..slots).map(|slot| plan.counters.count(slot)).sum();
        let busy = workers.iter().map(|worker| worker.requests.len() as u64).sum();
        let running = workers.iter().map(|worker| worker.usage.cpu.saturating_mul(1000));
        let cpu = running.fold(events.cpu, u64::saturating_add);
        let sockets = workers.iter().map(|worker| worker.sockets).fold(0, u64::saturating_add);
        Self {
            name: group.name().to_owned(),
            interface: match definition.config.interface {
                Interface::Wsgi => "wsgi",
                Interface::Asgi => "asgi",
                Interface::Auto => "auto",
            },
            capacity: definition.config.capacity().into(),
            requests: Requests::of(&plan.requests),
            cpu: plan.requests.highest_cpu(cpu),
            queue_depth: asked.saturating_sub(busy),
            workers,
            executors: (definition.config.interface != Interface::Wsgi).then_some(executors),
            events,
            start_block: (0..slots).find_map(|slot| plan.start_block(slot)).map(|block| block.why),
            python: board.python(),
            reloaded: board
                .reloaded()
                .map(|then| epoch().saturating_sub(now().saturating_sub(then))),
            sockets: definition.config.may_be_asgi().then_some(sockets),
            serves: definition.config.threads > 0,
            is_permanent: definition.config.processes.least > 0,
        }
    }

    /// Workers that take requests.
    pub(crate) fn ready(&self) -> u64 {
        self.workers.iter().filter(|worker| worker.is_ready).count() as u64
    }

    /// Requests that are being served.
    pub(crate) fn busy(&self) -> u64 {
        self.workers.iter().map(WorkerStatus::busy).fold(0, u64::saturating_add)
    }

    /// Microseconds since the oldest request that is being served was begun.
    pub(crate) fn oldest(&self) -> u64 {
        self.workers.iter().map(WorkerStatus::oldest).max().unwrap_or(0)
    }

    /// Whether a request would be served: by a worker that is ready, or by one that is started for it.
    pub(crate) fn is_ready(&self) -> bool {
        let would_start = !self.is_permanent && self.start_block.is_none();
        !self.serves || self.ready() > 0 || would_start
    }
}

impl WorkerStatus {
    fn gone(slot: usize, last_exit: Option<String>) -> Self {
        Self {
            slot,
            pid: 0,
            state: "gone",
            is_ready: false,
            age: 0,
            served: 0,
            usage: ProcessUsage::default(),
            sockets: 0,
            requests: Vec::new(),
            unlisted: 0,
            last_exit,
        }
    }

    /// Requests that it serves.
    fn busy(&self) -> u64 {
        self.unlisted.saturating_add(self.requests.len() as u64)
    }

    /// Microseconds since the oldest one was begun.
    fn oldest(&self) -> u64 {
        self.requests.iter().map(|request| request.age).max().unwrap_or(0)
    }
}

fn worker(
    slot: usize,
    record: &Record<'_>,
    uid: u32,
    lines: RequestLines,
    last_exit: &Option<String>,
) -> Option<WorkerStatus> {
    let state = record.get(Field::State);
    let name = match state {
        _ if state == State::Starting as u64 => "starting",
        _ if state == State::Ready as u64 => "ready",
        _ if state == State::Leaving as u64 => "leaving",
        _ => return None,
    };
    let (now, pid) = (now(), u32::try_from(record.get(Field::Pid)).unwrap_or(0));
    let written = record.stack().read();
    let requests = record.busy_threads().map(|(thread, since, line)| RunningRequest {
        age: now.saturating_sub(since),
        line: shown(line, lines),
        // What was written of another request is outdated.
        stack: written
            .as_ref()
            .filter(|it| it.thread == thread && it.since == since)
            .map(|it| Stack::of(it, now)),
    });
    Some(WorkerStatus {
        slot,
        pid,
        state: name,
        is_ready: state == State::Ready as u64,
        age: now.saturating_sub(record.get(Field::Started)),
        served: record.get(Field::Served),
        usage: ProcessUsage::of(pid, uid).unwrap_or_default(),
        sockets: record.get(Field::Sockets),
        requests: requests.collect(),
        // Below 0 where a process that was killed has not counted one.
        unlisted: i64::try_from(record.get(Field::Unlisted)).map_or(0, i64::unsigned_abs),
        last_exit: last_exit.clone(),
    })
}

/// Microseconds since the epoch.
fn epoch() -> u64 {
    u64::try_from(wsgi::epoch_micros()).unwrap_or(0)
}

/// The last of all that have failed, the latest first.
fn last_failures<'c>(
    counters: impl Iterator<Item = &'c RequestCounters>,
    lines: RequestLines,
) -> Vec<RecentFailure> {
    let mut failures: Vec<_> = counters.flat_map(|it| it.failures.read()).collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.time));
    failures.truncate(MAX_FAILURES);
    if lines == RequestLines::Off {
        failures.iter_mut().for_each(|failure| failure.request.clear());
    }
    failures
}

/// What is shown of the line of a request.
fn shown(line: String, lines: RequestLines) -> Option<String> {
    match lines {
        RequestLines::Off => None,
        RequestLines::Path => Some(line.split('?').next().unwrap_or_default().to_owned()),
        RequestLines::Full => Some(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{html, json, openmetrics};
    use proptest::prelude::*;
    use scoreboard::{Scoreboard, StartCause};
    use std::sync::atomic::AtomicU64;

    /// A group of two workers with two threads, as it is in these words.
    fn group(words: &[AtomicU64]) -> GroupStatus {
        let board = Scoreboard::new(words, 2, 2);
        let exit = board.ended(1, 0).map(|record| record.exit_description());
        let workers = (0..2).flat_map(|slot| {
            let exit = &exit;
            let of = move |record| worker(slot, &record, 0, RequestLines::Full, exit);
            board.records(slot).filter_map(of)
        });
        let mut executors = ExecutorLoads::default();
        for record in (0..2).flat_map(|slot| board.records(slot)) {
            executors.add(&record, 2);
        }
        GroupStatus {
            name: "<b>".to_owned(),
            interface: "wsgi",
            capacity: 2,
            requests: Requests::default(),
            cpu: u64::MAX,
            queue_depth: 0,
            workers: workers.collect(),
            events: board.counters().read(),
            executors: Some(executors),
            start_block: board.start_block_reason(0, || StartCause(words).read()),
            python: board.python(),
            reloaded: board.reloaded(),
            sockets: Some(board.open_sockets(0)),
            serves: true,
            is_permanent: true,
        }
    }

    /// Two children with two threads, as they are in these words.
    fn children(words: &[AtomicU64]) -> ChildrenStatus {
        let board = Children::new(words, 2, 2);
        let of = |(number, record)| worker(number, &record, 0, RequestLines::Full, &None);
        ChildrenStatus { children: board.records().filter_map(of).collect(), threads: 2 }
    }

    proptest! {
        #[test]
        fn arbitrary_words_of_a_scoreboard_make_pages_all_the_same(
            words in prop::collection::vec(prop_oneof![0..4_u64, any::<u64>()], 0..=Scoreboard::size(2, 2))
        ) {
            let words: Vec<_> = words.into_iter().map(AtomicU64::new).collect();
            let snapshot = Snapshot {
                uptime: 1,
                configuration: Configuration::default(),
                httpd: "Apache/2.4".to_owned(),
                python: None,
                now: 0,
                embedded: Requests::default(),
                children: Some(children(&words)),
                groups: vec![group(&words)],
                failures: Vec::new(),
            };
            prop_assert!(!html::page(&snapshot).contains("<b>"));
            prop_assert!(json::page(&snapshot).contains("<b>"));
            let text = openmetrics::page(&snapshot, true);
            prop_assert!(text.lines().all(|line| line.len() < 200));
        }
    }

    #[test]
    fn line_of_a_request_is_shown_as_far_as_the_directive_says() {
        let line = || "GET /a?token=x".to_owned();
        assert_eq!(shown(line(), RequestLines::Off), None);
        assert_eq!(shown(line(), RequestLines::Path).as_deref(), Some("GET /a"));
        assert_eq!(shown(line(), RequestLines::Full).as_deref(), Some("GET /a?token=x"));
    }
}
