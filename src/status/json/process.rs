//! Processes and the requests that they serve, as JSON. It must never know a group.
#![forbid(unsafe_code)]

use super::figures::seconds;
use crate::status::snapshot::{RunningRequest, WorkerStatus};
use crate::status::stack::{Stack, StackFrame};
use serde::{Serialize, Serializer};

/// A process of a group.
#[derive(Serialize)]
pub(super) struct Worker<'a> {
    #[serde(flatten)]
    process: Process<'a>,
    slot: usize,
    last_exit: Option<&'a str>,
}

/// One of a group, or one of Apache's own.
#[derive(Serialize)]
pub(super) struct Process<'a> {
    pid: u32,
    state: &'static str,
    age_seconds: f64,
    served: u64,
    resident_bytes: u64,
    private_bytes: u64,
    cpu_seconds: f64,
    #[serde(serialize_with = "requests")]
    requests: &'a [RunningRequest],
}

#[derive(Serialize)]
struct Request<'a> {
    age_seconds: f64,
    line: Option<&'a str>,
    stack: Option<RequestStack<'a>>,
}

#[derive(Serialize)]
struct RequestStack<'a> {
    age_seconds: f64,
    #[serde(serialize_with = "frames")]
    frames: &'a [StackFrame],
    is_cut: bool,
}

#[derive(Serialize)]
struct Frame<'a> {
    file: &'a str,
    line: u32,
    function: &'a str,
}

impl<'a> Worker<'a> {
    pub(super) fn of(worker: &'a WorkerStatus) -> Self {
        let last_exit = worker.last_exit.as_deref();
        Self { process: Process::of(worker), slot: worker.slot, last_exit }
    }
}

impl<'a> Process<'a> {
    pub(super) fn of(worker: &'a WorkerStatus) -> Self {
        Self {
            pid: worker.pid,
            state: worker.state,
            age_seconds: seconds(worker.age),
            served: worker.served,
            resident_bytes: worker.usage.resident,
            private_bytes: worker.usage.private,
            cpu_seconds: worker.usage.cpu as f64 / 1e3,
            requests: &worker.requests,
        }
    }
}

impl<'a> Request<'a> {
    fn of(request: &'a RunningRequest) -> Self {
        Self {
            age_seconds: seconds(request.age),
            line: request.line.as_deref(),
            stack: request.stack.as_ref().map(RequestStack::of),
        }
    }
}

impl<'a> RequestStack<'a> {
    fn of(stack: &'a Stack) -> Self {
        Self { age_seconds: seconds(stack.age), frames: &stack.frames, is_cut: stack.is_cut }
    }
}

impl<'a> Frame<'a> {
    fn of(frame: &'a StackFrame) -> Self {
        Self { file: &frame.file, line: frame.line, function: &frame.function }
    }
}

fn requests<S: Serializer>(requests: &&[RunningRequest], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(requests.iter().map(Request::of))
}

fn frames<S: Serializer>(frames: &&[StackFrame], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(frames.iter().map(Frame::of))
}
