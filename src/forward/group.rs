//! A daemon process group as an Apache child sees it: its options, how busy its workers are, and the connections
//! that are kept to them. It must never know a request.
#![forbid(unsafe_code)]

use super::closer::Closer;
use super::connection::Connection;
use super::file_readers::FileReaders;
use super::idle::IdleConnections;
use super::spool_share::SpoolAllowance;
use crate::config::{DaemonProcess, ServerIdentity};
use crate::groups::GroupPlan;
use crate::hub::{GroupPlaces, Room};
use fastcgi::Limits;
use scoreboard::Scoreboard;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use wsgi::Level;

/// A group in a child.
pub(crate) struct Group {
    name: String,
    pub(super) plan: GroupPlan,
    /// The idle connections of this process, to the workers of all groups.
    idle: Arc<IdleConnections<Box<Connection>>>,
    /// The place of the group's first worker among those of all groups.
    first_worker: usize,
    /// Closes what no thread that serves may close.
    pub(super) closer: Arc<Closer>,
    /// Read the files of responses that no thread serves.
    pub(super) file_readers: Arc<FileReaders>,
    /// The workers run as the user that this process runs as. What another user's worker sends is closed, looked at
    /// or read by no thread that serves requests: each of that may wait for as long as that user likes.
    same_user: bool,
    /// Where the search for a worker begins.
    pub(super) round_robin: AtomicUsize,
    /// The row of `counters` in which this child counts.
    pub(super) row: usize,
    /// What its responses may have in files.
    pub(super) spool_allowance: SpoolAllowance,
    /// How many threads of this process may carry a WebSocket each.
    most_pinned: usize,
    /// The places that it has in the hub.
    pub(super) places: GroupPlaces,
    /// When dead rows were last reclaimed, in microseconds.
    reclaimed: AtomicU64,
    /// Until when each worker is suspected to hang, in microseconds.
    suspected_until: Vec<AtomicU64>,
}

/// How long a worker may be silent before the client's connection is looked at. A client that has closed its side
/// only is not told from one that has left, and gets no response after that.
pub(super) const CLIENT_IDLE_TIME: Duration = Duration::from_secs(5);
/// How long a request that no worker has read waits until it is found out whether one is to be expected: the record of a
/// worker that has been killed shows it as one that serves until its manager has noticed.
pub(super) const UNREAD_TIME: Duration = Duration::from_secs(1);
/// Microseconds between two searches for children that have crashed.
const RECLAIM_INTERVAL: u64 = 1_000_000;
/// For how long a worker that does not answer is avoided at most.
const MAX_SUSPECT_TIME: Duration = Duration::from_secs(60);

impl Group {
    /// The groups of a process with `threads` threads that serve requests.
    pub(crate) fn all(plans: Vec<GroupPlan>, threads: usize) -> Vec<Self> {
        let workers = plans.iter().map(|plan| plan.sockets.len()).sum();
        // Each thread has one in use at a time; a quiet site finds one all the same.
        let idle = Arc::new(IdleConnections::new(workers, threads + plans.len()));
        let is_alone = plans.iter().filter(|plan| plan.definition.config.threads > 0).count() < 2;
        let mut first_worker = 0;
        let groups = plans.into_iter().map(|plan| {
            let first = first_worker;
            first_worker += plan.sockets.len();
            Self::new(plan, Arc::clone(&idle), first, threads, is_alone)
        });
        groups.collect()
    }

    fn new(
        plan: GroupPlan,
        idle: Arc<IdleConnections<Box<Connection>>>,
        first_worker: usize,
        threads: usize,
        is_alone: bool,
    ) -> Self {
        let slots = plan.sockets.len();
        let row = plan.counters.claim_row(std::process::id(), sys::is_alive);
        Self {
            name: String::from_utf8_lossy(&plan.definition.name).into_owned(),
            idle,
            first_worker,
            closer: Arc::default(),
            file_readers: Arc::default(),
            same_user: plan.worker_uid == sys::effective_uid(),
            round_robin: AtomicUsize::new(0),
            row,
            spool_allowance: SpoolAllowance::new(&plan, row),
            most_pinned: threads / 2,
            places: GroupPlaces::new(is_alone),
            reclaimed: AtomicU64::new(0),
            suspected_until: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            plan,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The level that an administrator has set for lines of its workers.
    pub(super) fn log_level(&self) -> Option<Level> {
        self.plan.board.view().log_level().map(Level::from_number)
    }

    /// What the parent has handed to its children about it.
    pub(crate) const fn plan(&self) -> &GroupPlan {
        &self.plan
    }

    pub(crate) fn definition(&self) -> &DaemonProcess {
        &self.plan.definition
    }

    /// The server the group was defined in.
    pub(crate) fn server(&self) -> &ServerIdentity {
        &self.plan.definition.server
    }

    /// Whether workers may send open files instead of their bytes.
    pub(super) fn takes_files(&self) -> bool {
        self.same_user && !self.closer.distrusts_group()
    }

    pub(super) fn limits(&self) -> Limits {
        let head_line_bytes = self.plan.definition.forwarding.header_buffer_size;
        let limits = Limits::default();
        // A line of that length may stand among others.
        let head_bytes = limits.head_bytes.max(2 * head_line_bytes);
        Limits { head_line_bytes, head_bytes, ..limits }
    }

    pub(super) fn response_buffer_size(&self) -> usize {
        self.plan.definition.forwarding.response_buffer_size
    }

    /// Bytes of a request body that are gathered before a worker is chosen.
    pub(super) fn request_buffer_size(&self) -> u64 {
        self.plan.definition.forwarding.request_buffer_size
    }

    /// Bytes of a response that may wait in a file for the client.
    pub(super) fn response_spool_size(&self) -> u64 {
        self.plan.definition.forwarding.response_spool_size
    }

    pub(super) fn response_flush_delay(&self) -> Duration {
        self.plan.definition.forwarding.response_flush_delay
    }

    /// How long the client may take to read a piece of its response, where that is not the server's `Timeout`.
    pub(super) fn response_timeout(&self) -> Option<Duration> {
        let definition = &self.plan.definition;
        definition.forwarding.response_socket_timeout.or(definition.config.timers.socket_timeout)
    }

    /// How long the client may take over a piece of its body where the connection has no limit of its own.
    pub(super) fn client_timeout(&self) -> Duration {
        self.response_timeout().unwrap_or(self.plan.timeout)
    }

    /// An idle connection to the worker, if there is any.
    pub(super) fn take_idle(&self, slot: usize) -> Option<Box<Connection>> {
        self.idle.take(self.first_worker + slot)
    }

    /// Keeps a connection to the worker for the next request.
    pub(super) fn keep_idle(&self, slot: usize, mut connection: Box<Connection>) {
        connection.shrink();
        self.idle.keep(self.first_worker + slot, connection, scoreboard::now());
    }

    /// Closes the idle connections to the worker.
    pub(super) fn drop_idle(&self, slot: usize) {
        self.idle.drop_all(self.first_worker + slot);
    }

    /// Closes the idle connections of all groups, because this process has too many open files; whether there were
    /// any.
    pub(super) fn drop_every_idle(&self) -> bool {
        self.idle.drop_every()
    }

    /// How long a worker may neither take nor send a byte.
    pub(super) fn worker_timeout(&self) -> Duration {
        self.plan.definition.config.timers.socket_timeout.unwrap_or(self.plan.timeout)
    }

    /// How long a worker may take to start: `startup-timeout`, else as long as it may be silent.
    pub(super) fn start_timeout(&self) -> Duration {
        self.plan.definition.config.timers.startup_timeout.unwrap_or_else(|| self.worker_timeout())
    }

    /// How many threads of this process may carry a WebSocket each: half of them, so that the rest serve requests.
    pub(super) const fn most_pinned(&self) -> usize {
        self.most_pinned
    }

    /// The line, once a minute, about a group that may have no more connections without a thread, whose place is `room`.
    pub(super) fn share_line(&self, room: Room) -> Option<String> {
        let Room::ShareUsed(own, all) = room else { return None };
        self.places.is_to_be_told(scoreboard::now()).then(|| {
            format!(
                "WSGI0270: daemon process '{}' has {own} event streams, other responses that pause, and WebSockets \
                 without a thread of Apache, of {all} in this process of Apache: further ones hold threads, and what \
                 is left is for other process groups",
                self.name
            )
        })
    }

    /// To how many workers a request is sent at most.
    pub(super) fn attempts(&self) -> usize {
        2 * self.plan.sockets.len() + 1
    }

    /// Subtracts what children that crashed had counted, once an interval.
    pub(super) fn reclaim_dead_rows(&self, now: u64) {
        if now.saturating_sub(self.reclaimed.load(Ordering::Relaxed)) > RECLAIM_INTERVAL {
            self.reclaimed.store(now, Ordering::Relaxed);
            self.plan.counters.reclaim_dead_rows(sys::is_alive);
        }
    }

    /// How many requests the worker still has that were abandoned, and that no child counts: its application has
    /// not noticed yet. The scoreboard is read only where there may be some, since what a worker publishes comes
    /// later than what children count.
    pub(super) fn abandoned_requests(
        &self,
        slot: usize,
        board: &Scoreboard<'_>,
        claimed: u64,
    ) -> u64 {
        let then = self.plan.counters.last_abandoned(slot);
        if then == 0 {
            return 0;
        }
        board.serving(slot, then).map_or_else(
            || {
                self.plan.counters.clear_abandoned(slot, then);
                0
            },
            |count| count.saturating_sub(claimed),
        )
    }

    pub(super) fn is_suspected_hung(&self, slot: usize, now: u64) -> bool {
        self.suspected_until.get(slot).is_some_and(|until| until.load(Ordering::Relaxed) > now)
    }

    /// Has requests avoid a worker for a while.
    pub(super) fn suspect(&self, slot: usize, now: u64) {
        let time = self.worker_timeout().min(MAX_SUSPECT_TIME).as_micros();
        self.suspect_until(slot, now.saturating_add(u64::try_from(time).unwrap_or(0)));
    }

    pub(super) fn clear_suspicion(&self, slot: usize) {
        self.suspect_until(slot, 0);
    }

    fn suspect_until(&self, slot: usize, until: u64) {
        if let Some(word) = self.suspected_until.get(slot) {
            word.store(until, Ordering::Relaxed);
        }
    }
}
