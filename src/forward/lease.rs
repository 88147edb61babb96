//! The choice of a worker for a request, and the request's claim on it. It must never know what the request says.
#![forbid(unsafe_code)]

use super::connection::Connection;
use super::failure::ExitCause;
use super::group::{CLIENT_IDLE_TIME, Group};
use super::passed_over::PassedOver;
use super::stream::WorkerStream;
use crate::failure_flag::Flag;
use crate::groups::StartBlock;
use group_config::Interface;
use scoreboard::{Field, Record, now};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long another process of the slot is watched where one has exited in order: it may have been the one with the request.
const ORDERLY_EXIT_DELAY: Duration = Duration::from_millis(20);
/// The end of a worker shows on its connections before its manager has reported the exit.
const EXIT_REPORT_DELAY: Duration = Duration::from_millis(300);
/// How long the report is awaited where the process is known to be dead: on a crowded machine its manager comes late.
const MAX_EXIT_REPORT_DELAY: Duration = Duration::from_secs(2);
/// The interval at which the scoreboard is read for an exit that is to be reported.
pub(super) const EXIT_POLL: Duration = Duration::from_millis(5);
/// How long the replacement of a worker is awaited before its request is given up.
const REPLACEMENT_DELAY: Duration = Duration::from_secs(5);
/// The interval at which the scoreboard is read while a worker is awaited.
pub(super) const READY_POLL: Duration = Duration::from_millis(100);

/// A request's claim on a worker.
pub(super) struct WorkerLease<'a> {
    group: &'a Group,
    slot: usize,
    /// How many requests the worker had served when it was chosen.
    served: u64,
    /// When the request began to wait for a worker, in microseconds of [`now`].
    since: u64,
}

/// What has come of the wait for a worker that has yet to begin to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The worker serves, or has answered.
    Begun,
    /// It has not begun within socket-timeout.
    TimedOut,
    /// The client has left meanwhile.
    ClientLeft,
}

/// What the record of a worker that has ended says of that.
fn cause(record: Record<'_>) -> ExitCause {
    let flag = if record.is_out_of_memory() { Flag::OutOfMemory } else { Flag::Crashed };
    ExitCause { text: record.exit_description(), flag }
}

/// The prospects of a request at a worker, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Prospect {
    /// A thread is free.
    Free,
    /// The worker is to be started.
    NotReady,
    /// All threads are taken.
    Busy,
    /// The worker has let a request run into its time limit and finished none since.
    SuspectedHung,
    /// No worker is to be expected.
    None,
}

impl<'a> WorkerLease<'a> {
    /// Claims the least busy worker that is ready, the one with the fewest open WebSockets among those that are as busy;
    /// among equals always the same one, whose code and data are in the
    /// processor's caches. One that is not ready is chosen, and thereby started, when all threads of the others are
    /// taken; one that is suspected to hang when there is no other.
    ///
    /// `next` moves on from the worker that has just failed. `since` is when the request began to wait, in
    /// microseconds.
    pub(super) fn choose(
        group: &'a Group,
        passed_over: &PassedOver,
        next: bool,
        since: u64,
    ) -> Self {
        group.reclaim_dead_rows(since);
        let board = group.plan.board.view();
        let counters = &group.plan.counters;
        let config = &group.plan.definition.config;
        // Of a worker whose interface is its application's it is known once that serves.
        let is_told = config.interface == Interface::Auto;
        let may_have_sockets = config.interface != Interface::Wsgi;
        let capacity = u64::from(config.capacity());
        let rank = |slot: usize| {
            let told = if is_told { board.capacity(slot) } else { None };
            let capacity = told.map_or(capacity, |told| told.min(capacity));
            let claimed = counters.count(slot);
            let count = claimed + group.abandoned_requests(slot, &board, claimed);
            let prospect = match (board.is_ready(slot), count < capacity) {
                _ if passed_over.contains(slot) || board.start_failed_permanently(slot) => {
                    Prospect::None
                }
                _ if group.is_suspected_hung(slot, since) => Prospect::SuspectedHung,
                (true, true) => Prospect::Free,
                (false, true) => Prospect::NotReady,
                (_, false) => Prospect::Busy,
            };
            // An open WebSocket is no request, and work may come with it at any time.
            let sockets = if may_have_sockets { board.open_sockets(slot) } else { 0 };
            (prospect, count, sockets, claimed)
        };
        let slots = group.plan.sockets.len().max(1);
        let first = if next {
            group.round_robin.fetch_add(1, Ordering::Relaxed)
        } else {
            group.round_robin.load(Ordering::Relaxed)
        };
        loop {
            let best = (0..slots)
                .map(|step| (first + step) % slots)
                .map(|slot| (rank(slot), slot))
                .min_by_key(|(rank, _)| *rank);
            let (slot, claimed) = best.map_or((0, 0), |((.., claimed), slot)| (slot, claimed));
            // Fails where another thread or child has chosen the same worker meanwhile.
            if counters.add(group.row, slot, claimed) {
                let served = group.plan.board.served(slot);
                return Self { group, slot, served, since };
            }
        }
    }

    pub(super) const fn group(&self) -> &'a Group {
        self.group
    }

    /// The slot of the worker.
    pub(super) const fn slot(&self) -> usize {
        self.slot
    }

    /// An idle connection, else a new one, which may take until `deadline`.
    pub(super) fn connect(&self, deadline: Instant) -> io::Result<Box<Connection>> {
        let plan = &self.group.plan;
        let Some(path) = plan.sockets.get(self.slot) else {
            return Err(io::Error::other("the group has no worker"));
        };
        let closer = &self.group.closer;
        if closer.is_stuck() {
            return Err(io::Error::other(
                "descriptors that its workers have sent cannot be closed",
            ));
        }
        let files = self.group.takes_files();
        while let Some(connection) = self.group.take_idle(self.slot) {
            if files || !connection.takes_files() {
                return Ok(connection);
            }
        }
        let timeout = self.group.worker_timeout();
        // A socket whose backlog is full makes connect(2) wait. It never refuses: Apache's parent holds it.
        let wait = deadline.saturating_duration_since(Instant::now());
        let connect = || WorkerStream::connect(path, plan.worker_uid, wait, files, closer);
        let stream = match connect() {
            Err(why) if sys::is_out_of_descriptors(&why) && self.group.drop_every_idle() => {
                connect()
            }
            stream => stream,
        };
        let stream = stream.map_err(|why| {
            if Instant::now() >= deadline {
                self.suspect_if_hung();
            }
            let hint = match why.kind() {
                io::ErrorKind::PermissionDenied => " (WSGISocketPrefix says where sockets go)",
                _ => "",
            };
            io::Error::new(why.kind(), format!("{}: {why}{hint}", path.display()))
        })?;
        let (send, receive) = (
            plan.definition.config.limits.send_buffer_size,
            plan.definition.config.limits.receive_buffer_size,
        );
        // What one end sends is what the other receives: the options are those of the worker's end.
        sys::set_buffers(stream.as_fd(), receive, send)?;
        let closer = Arc::clone(closer);
        Connection::new(stream, closer, files, timeout, self.group.limits()).map(Box::new)
    }

    /// Waits until the worker serves or answers, as long as it is to be expected and the `client` has not left.
    ///
    /// # Errors
    /// Why no worker is to be expected.
    pub(super) fn await_start(
        &self,
        connection: &Connection,
        client: Option<BorrowedFd<'_>>,
    ) -> Result<Start, StartBlock> {
        let begun = Instant::now();
        while !self.is_ready() && !connection.waits_for_input(READY_POLL) {
            // A worker that leaves serves the requests that it has read.
            self.start_block().filter(|_| connection.is_unread()).map_or(Ok(()), Err)?;
            let waited = begun.elapsed();
            if waited > self.group.worker_timeout() {
                return Ok(Start::TimedOut);
            }
            if waited > CLIENT_IDLE_TIME && client.is_some_and(sys::has_ended) {
                return Ok(Start::ClientLeft);
            }
        }
        Ok(Start::Begun)
    }

    /// Whether there is a worker that serves.
    pub(super) fn is_ready(&self) -> bool {
        self.group.plan.board.view().is_ready(self.slot)
    }

    /// Why no worker is to be expected in this slot; `None` if one is.
    pub(super) fn start_block(&self) -> Option<StartBlock> {
        self.group.plan.start_block(self.slot)
    }

    /// How the worker exited since the request came, if it did. Waits a moment for its manager to report the exit.
    pub(super) fn exit_cause(&self) -> Option<ExitCause> {
        self.exit().map(cause)
    }

    /// How the worker exited since the request came, after its report has been `awaited` for so long; `Continue` where it
    /// is to be awaited longer.
    pub(super) fn exit_report(&self, awaited: Duration) -> ControlFlow<Option<ExitCause>> {
        self.look_for_exit(awaited).map_break(|exit| exit.map(cause))
    }

    fn exit(&self) -> Option<Record<'_>> {
        let begun = Instant::now();
        loop {
            match self.look_for_exit(begun.elapsed()) {
                ControlFlow::Break(exit) => return exit,
                ControlFlow::Continue(()) => std::thread::sleep(EXIT_POLL),
            }
        }
    }

    fn look_for_exit(&self, awaited: Duration) -> ControlFlow<Option<Record<'_>>> {
        let board = self.group.plan.board.view();
        // Before the look for the report: a process that has been reported is among these no more.
        let has_other = board.pids(self.slot).next().is_some();
        let is_dead = awaited > ORDERLY_EXIT_DELAY && board.pids(self.slot).any(sys::is_dead);
        let exited = board.ended(self.slot, self.since);
        // A worker that was replaced ends in order, beside the replacement that the request may have had.
        let is_certain = exited.is_some_and(|exit| !has_other || exit.get(Field::LastExit) != 0);
        let delay = if exited.is_some() { ORDERLY_EXIT_DELAY } else { EXIT_REPORT_DELAY };
        if is_certain || awaited > MAX_EXIT_REPORT_DELAY || (awaited > delay && !is_dead) {
            return ControlFlow::Break(exited);
        }
        ControlFlow::Continue(())
    }

    /// Waits until two workers of the group serve, up to `deadline`; whether they do. The request may have ended its
    /// worker, and must not end the last one.
    pub(super) fn await_two_workers(&self, deadline: Instant) -> bool {
        let slots = self.group.plan.sockets.len();
        // Before the exit is reported, the slot looks as if it had a worker.
        let exit = self.exit();
        if exit.is_some_and(|exit| exit.get(Field::LastExit) == 0) {
            // It has left of its own will.
            return true;
        }
        // The replacement of the only worker has no other request yet.
        if slots < 2 {
            return true;
        }
        let deadline = deadline.min(Instant::now() + REPLACEMENT_DELAY);
        loop {
            let board = self.group.plan.board.view();
            if (0..slots).filter(|slot| board.is_ready(*slot)).count() >= 2 {
                return true;
            }
            // Where the group does not start, none is to be expected.
            let hopeless = (0..slots).all(|slot| board.start_failed_permanently(slot));
            if hopeless || Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(EXIT_POLL);
        }
    }

    /// Has other requests avoid the worker for a while, if it has finished none since it was chosen: it may hang.
    /// Otherwise only this request takes long.
    pub(super) fn suspect_if_hung(&self) {
        if self.group.plan.board.served(self.slot) == self.served {
            self.group.suspect(self.slot, now());
        }
    }

    /// Records that the request is of no more use, although the worker still has it.
    pub(super) fn record_abandoned(&self) {
        self.group.plan.counters.record_abandoned(self.slot, now());
    }

    /// Closes the idle connections to the worker. A worker that is stopping closes them one after the other: what
    /// is sent over those that are left is lost, and each time there is a risk in sending it again.
    pub(super) fn drop_idle_connections(&self) {
        self.group.drop_idle(self.slot);
    }

    /// The worker has answered: it does not hang.
    pub(super) fn clear_suspicion(&self) {
        self.group.clear_suspicion(self.slot);
    }

    /// Gives the worker back, and keeps the connection for the next request if it can be.
    pub(super) fn finish(self, connection: Box<Connection>) {
        self.give_back(connection);
    }

    /// Keeps the connection for the next request if it can be.
    pub(super) fn give_back(&self, mut connection: Box<Connection>) {
        connection.mark_used();
        if connection.is_abandoned() {
            self.record_abandoned();
        }
        if connection.is_reusable() {
            self.group.clear_suspicion(self.slot);
            self.group.keep_idle(self.slot, connection);
        }
    }
}

impl Drop for WorkerLease<'_> {
    fn drop(&mut self) {
        self.group.plan.counters.remove(self.group.row, self.slot);
    }
}
