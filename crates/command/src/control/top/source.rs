//! Asks the managers on a thread of its own, and hands on what they say. It draws nothing.

use crate::control::find;
use crate::control::group::Group;
use crate::control::printable::printable;
use crate::control::report::{Report, reports};
use crate::control::stacks;
use crate::options::OfGroups;
use serde_json::Value;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// How often groups are asked how they are.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// How long a manager may take, without another `--timeout`. The others wait for one that takes longer.
pub(super) const LIMIT: Duration = Duration::from_secs(2);
/// The same where workers are asked as well.
const STACKS_LIMIT: Duration = Duration::from_secs(6);

/// What has been told.
pub(super) enum Told {
    /// How the groups are, and when that was.
    Status(Result<Vec<Report>, String>, Instant),
    /// The stacks of a worker as text, by its process id.
    Stacks(u64, String),
}

/// Of which worker the stacks are asked for.
#[derive(Clone, Debug)]
pub(super) struct StacksOf {
    pub(super) group: Group,
    pub(super) pid: u64,
}

/// The thread that asks.
pub(super) struct Source {
    questions: Sender<StacksOf>,
    told: Receiver<Told>,
}

impl Source {
    pub(super) fn start(options: OfGroups) -> Self {
        let (questions, asked) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || run(&options, &asked, &tell));
        Self { questions, told }
    }

    /// Asks for the stacks of a worker.
    pub(super) fn ask_stacks(&self, question: StacksOf) {
        // The thread ends after this only.
        let _ = self.questions.send(question);
    }

    /// What has been told since the last call.
    pub(super) fn told(&self) -> impl Iterator<Item = Told> {
        self.told.try_iter()
    }
}

fn run(options: &OfGroups, asked: &Receiver<StacksOf>, tell: &Sender<Told>) {
    let limit = |standard| options.control.timeout.map_or(standard, Duration::from_secs);
    let mut next = Instant::now();
    loop {
        let now = Instant::now();
        let told = match asked.recv_timeout(next.saturating_duration_since(now)) {
            Ok(question) => Told::Stacks(question.pid, stacks_of(&question, limit(STACKS_LIMIT))),
            Err(RecvTimeoutError::Timeout) => {
                next = now + INTERVAL;
                let groups = find::groups(&options.control, options.group.as_deref());
                let reports = groups.map(|groups| reports(groups, limit(LIMIT)));
                Told::Status(reports.map_err(|why| why.to_string()), Instant::now())
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if tell.send(told).is_err() {
            return;
        }
    }
}

fn stacks_of(question: &StacksOf, limit: Duration) -> String {
    let target = format!("/-/stacks?pid={}", question.pid);
    match question.group.ask("GET", &target, limit) {
        Ok(reply) => {
            let body = serde_json::from_str(&reply.body).unwrap_or(Value::Null);
            match body["error"].as_str() {
                Some(why) => printable(why),
                None if reply.code != 200 => printable(reply.body.trim()),
                None => stacks::text(body["workers"].as_array().map_or(&[], Vec::as_slice)),
            }
        }
        Err(why) => printable(&why.to_string()),
    }
}
