//! The status as JSON. Names with a unit end with it.
//!
//! What is written is borrowed from the snapshot, without a tree of values between: a server may have hundreds of groups.
#![forbid(unsafe_code)]

mod figures;
mod process;

use super::snapshot::{GroupStatus, Snapshot};
use crate::failure_flag::Flags;
use crate::groups::RecentFailure;
use figures::{Executors, Exits, Requests, StartTime, Times, seconds};
use process::{Process, Worker};
use scoreboard::PythonVersion;
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// About what a group with one worker takes, in bytes.
const GROUP_BYTES: usize = 6 * 1024;

/// The text.
pub(super) fn page(snapshot: &Snapshot) -> String {
    let mut text = Vec::with_capacity(GROUP_BYTES * (snapshot.groups.len() + 2));
    // Writing to memory does not fail, and no key is anything but a text.
    let _ = serde_json::to_writer_pretty(&mut text, &Whole::of(snapshot));
    text.push(b'\n');
    String::from_utf8(text).unwrap_or_default()
}

#[derive(Serialize)]
struct Whole<'a> {
    version: &'static str,
    httpd: &'a str,
    python: Option<Python>,
    uptime_seconds: f64,
    configuration: Configuration,
    embedded: Embedded<'a>,
    #[serde(serialize_with = "groups")]
    groups: &'a [GroupStatus],
    failures: Vec<Failure<'a>>,
}

#[derive(Serialize)]
struct Configuration {
    generation: u64,
    loaded_seconds: f64,
}

#[derive(Serialize)]
struct Python {
    version: String,
    abi: String,
}

/// Requests of Apache's own processes; without the others where these do not run Python.
#[derive(Serialize)]
struct Embedded<'a> {
    #[serde(flatten)]
    requests: Requests<'a>,
    #[serde(flatten)]
    children: Option<Children<'a>>,
}

#[derive(Serialize)]
struct Children<'a> {
    children_ready: u64,
    threads_per_child: u64,
    requests_active: u64,
    oldest_request_seconds: f64,
    children: Vec<Process<'a>>,
}

#[derive(Serialize)]
struct Group<'a> {
    name: &'a str,
    interface: &'static str,
    capacity_per_worker: u64,
    workers_ready: u64,
    requests_active: u64,
    queue_depth: u64,
    oldest_request_seconds: f64,
    executors: Option<Executors>,
    start_block: Option<&'a str>,
    starts: u64,
    exits: Exits<'a>,
    start_time: StartTime,
    gil_wait: GilWait,
    reloaded_seconds: Option<f64>,
    cpu_seconds: f64,
    python: Option<Python>,
    websockets: Option<WebSockets>,
    event_loop_lag: Option<Times>,
    requests: Requests<'a>,
    workers: Vec<Worker<'a>>,
}

#[derive(Serialize)]
struct GilWait {
    probes: u64,
    sum_seconds: f64,
}

#[derive(Serialize)]
struct WebSockets {
    open: u64,
    messages_received: u64,
    messages_sent: u64,
}

#[derive(Serialize)]
struct Failure<'a> {
    time_seconds: f64,
    flags: String,
    status: u16,
    host: Cow<'a, str>,
    group: Cow<'a, str>,
    script: Cow<'a, str>,
    request: Cow<'a, str>,
}

fn groups<S: Serializer>(groups: &&[GroupStatus], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(groups.iter().map(Group::of))
}

impl<'a> Whole<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            httpd: &snapshot.httpd,
            python: snapshot.python.map(Python::of),
            uptime_seconds: seconds(snapshot.uptime),
            configuration: Configuration {
                generation: snapshot.configuration.generation,
                loaded_seconds: seconds(snapshot.configuration.loaded),
            },
            embedded: Embedded {
                requests: Requests::of(&snapshot.embedded),
                children: snapshot.children.as_ref().map(|all| Children {
                    children_ready: all.ready(),
                    threads_per_child: all.threads,
                    requests_active: all.busy(),
                    oldest_request_seconds: seconds(all.oldest()),
                    children: all.children.iter().map(Process::of).collect(),
                }),
            },
            groups: &snapshot.groups,
            failures: snapshot.failures.iter().map(Failure::of).collect(),
        }
    }
}

impl Python {
    fn of(python: PythonVersion) -> Self {
        Self { version: python.to_string(), abi: python.abi() }
    }
}

impl<'a> Group<'a> {
    fn of(group: &'a GroupStatus) -> Self {
        let events = &group.events;
        Self {
            name: &group.name,
            interface: group.interface,
            capacity_per_worker: group.capacity,
            workers_ready: group.ready(),
            requests_active: group.busy(),
            queue_depth: group.queue_depth,
            oldest_request_seconds: seconds(group.oldest()),
            executors: group.executors.map(Executors),
            start_block: group.start_block.as_deref(),
            starts: events.starts,
            exits: Exits(events),
            start_time: StartTime::of(events),
            gil_wait: GilWait {
                probes: events.lock_probes,
                sum_seconds: seconds(events.lock_wait),
            },
            reloaded_seconds: group.reloaded.map(seconds),
            cpu_seconds: seconds(group.cpu),
            python: group.python.map(Python::of),
            websockets: group.sockets.map(|open| WebSockets {
                open,
                messages_received: events.messages_received,
                messages_sent: events.messages_sent,
            }),
            event_loop_lag: group.sockets.map(|_| Times::of(&events.loop_lag)),
            requests: Requests::of(&group.requests),
            workers: group.workers.iter().map(Worker::of).collect(),
        }
    }
}

impl<'a> Failure<'a> {
    fn of(failure: &'a RecentFailure) -> Self {
        let text = String::from_utf8_lossy;
        Self {
            time_seconds: seconds(failure.time),
            flags: Flags::from_bits(failure.flags).to_string(),
            status: failure.status,
            host: text(&failure.host),
            group: text(&failure.group),
            script: text(&failure.script),
            request: text(&failure.request),
        }
    }
}
