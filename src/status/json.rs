//! The status as JSON. Names with a unit end with it.
#![forbid(unsafe_code)]

use super::snapshot::{GroupStatus, Requests, Snapshot, WorkerStatus};
use super::stack::{Stack, StackFrame};
use crate::failure_flag::{Flag, Flags};
use crate::groups::RecentFailure;
use scoreboard::{
    Events, ExecutorLoad, ExecutorLoads, ExitReason, Histogram, Percentile, PythonVersion,
    RequestCounts, START_BOUNDS, percentile,
};
use serde_json::{Map, Value, json};

/// The text.
pub(super) fn page(snapshot: &Snapshot) -> String {
    let whole = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "httpd": snapshot.httpd,
        "python": snapshot.python.map(python),
        "uptime_seconds": seconds(snapshot.uptime),
        "configuration": {
            "generation": snapshot.configuration.generation,
            "loaded_seconds": seconds(snapshot.configuration.loaded),
        },
        "embedded": embedded(snapshot),
        "groups": snapshot.groups.iter().map(group).collect::<Vec<_>>(),
        "failures": snapshot.failures.iter().map(failure).collect::<Vec<_>>(),
    });
    format!("{whole:#}\n")
}

fn embedded(snapshot: &Snapshot) -> Value {
    let mut embedded = requests(&snapshot.embedded);
    if let (Some(map), Some(all)) = (embedded.as_object_mut(), &snapshot.children) {
        let figures = [
            ("children_ready", json!(all.ready())),
            ("threads_per_child", json!(all.threads)),
            ("requests_active", json!(all.busy())),
            ("oldest_request_seconds", json!(seconds(all.oldest()))),
            ("children", json!(all.children.iter().map(process).collect::<Vec<_>>())),
        ];
        map.extend(figures.map(|(name, value)| (name.to_owned(), value)));
    }
    embedded
}

fn group(group: &GroupStatus) -> Value {
    let exits = ExitReason::ALL.map(|reason| (reason.name(), group.events.exits(reason)));
    json!({
        "name": group.name,
        "interface": group.interface,
        "capacity_per_worker": group.capacity,
        "workers_ready": group.ready(),
        "requests_active": group.busy(),
        "queue_depth": group.queue_depth,
        "oldest_request_seconds": seconds(group.oldest()),
        "executors": group.executors.as_ref().map(executors),
        "start_block": group.start_block,
        "starts": group.events.starts,
        "exits": exits.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>(),
        "start_time": start_time(&group.events),
        "gil_wait": {
            "probes": group.events.lock_probes,
            "sum_seconds": seconds(group.events.lock_wait),
        },
        "reloaded_seconds": group.reloaded.map(seconds),
        "cpu_seconds": seconds(group.cpu),
        "python": group.python.map(python),
        "websockets": group.sockets.map(|open| json!({
            "open": open,
            "messages_received": group.events.messages_received,
            "messages_sent": group.events.messages_sent,
        })),
        "event_loop_lag": group.sockets.map(|_| histogram(&group.events.loop_lag)),
        "requests": requests(&group.requests),
        "workers": group.workers.iter().map(worker).collect::<Vec<_>>(),
    })
}

fn executors(loads: &ExecutorLoads) -> Value {
    let load = |load: ExecutorLoad| json!({ "threads": load.threads, "busy": load.busy, "waiting": load.waiting });
    loads
        .each()
        .map(|(executor, it)| (executor.name().to_owned(), load(it)))
        .collect::<Map<_, _>>()
        .into()
}

fn python(python: PythonVersion) -> Value {
    json!({ "version": python.to_string(), "abi": python.abi() })
}

fn worker(worker: &WorkerStatus) -> Value {
    let mut value = process(worker);
    if let Some(map) = value.as_object_mut() {
        map.insert("slot".to_owned(), json!(worker.slot));
        map.insert("last_exit".to_owned(), json!(worker.last_exit));
    }
    value
}

/// One of a group, or one of Apache's own.
fn process(worker: &WorkerStatus) -> Value {
    let requests = worker.requests.iter().map(|request| {
        json!({
            "age_seconds": seconds(request.age),
            "line": request.line,
            "stack": request.stack.as_ref().map(stack),
        })
    });
    json!({
        "pid": worker.pid,
        "state": worker.state,
        "age_seconds": seconds(worker.age),
        "served": worker.served,
        "resident_bytes": worker.usage.resident,
        "private_bytes": worker.usage.private,
        "cpu_seconds": worker.usage.cpu as f64 / 1e3,
        "requests": requests.collect::<Vec<_>>(),
    })
}

fn stack(stack: &Stack) -> Value {
    let frame =
        |it: &StackFrame| json!({ "file": it.file, "line": it.line, "function": it.function });
    json!({
        "age_seconds": seconds(stack.age),
        "frames": stack.frames.iter().map(frame).collect::<Vec<_>>(),
        "is_cut": stack.is_cut,
    })
}

fn counts(counts: &RequestCounts) -> Value {
    let classes = RequestCounts::CLASS_NAMES
        .into_iter()
        .zip(counts.classes)
        .map(|(class, count)| (class.to_owned(), Value::from(count)));
    let flags = Flag::ALL.into_iter().filter_map(|flag| {
        let count = counts.flags.get(flag as usize).copied().filter(|count| *count > 0)?;
        Some((flag.code().to_owned(), Value::from(count)))
    });
    json!({
        "total": counts.total(),
        "by_class": classes.collect::<Map<_, _>>(),
        "by_flag": flags.collect::<Map<_, _>>(),
        "duration": histogram(&counts.duration),
        "queue": histogram(&counts.queue),
    })
}

/// All, and those of the last minute.
fn requests(requests: &Requests) -> Value {
    let (mut all, mut recent) = (counts(&requests.all), counts(&requests.recent.counts));
    if let (Some(all), Some(map)) = (all.as_object_mut(), recent.as_object_mut()) {
        map.insert("window_seconds".to_owned(), json!(seconds(requests.recent.time)));
        all.insert("per_second".to_owned(), json!(requests.recent.per_second()));
        all.insert("recent".to_owned(), recent);
    }
    all
}

fn start_time(events: &Events) -> Value {
    let times = &events.start_times;
    let percentile = |percent| {
        percentile(&START_BOUNDS, times, percent).and_then(Percentile::value).map(seconds)
    };
    json!({
        "count": times.iter().copied().fold(0, u64::saturating_add),
        "sum_seconds": seconds(events.start_sum),
        "p50_seconds": percentile(50),
        "p95_seconds": percentile(95),
    })
}

fn histogram(histogram: &Histogram) -> Value {
    let percentile =
        |percent| histogram.percentile(percent).and_then(Percentile::value).map(seconds);
    let (above, bound) = histogram.above();
    json!({
        "count": histogram.count(),
        "sum_seconds": seconds(histogram.sum),
        "p50_seconds": percentile(50),
        "p95_seconds": percentile(95),
        "p99_seconds": percentile(99),
        "bound_seconds": seconds(bound),
        "above_bound": above,
    })
}

fn failure(failure: &RecentFailure) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    json!({
        "time_seconds": seconds(failure.time),
        "flags": Flags::from_bits(failure.flags).to_string(),
        "status": failure.status,
        "host": text(&failure.host),
        "group": text(&failure.group),
        "script": text(&failure.script),
        "request": text(&failure.request),
    })
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
