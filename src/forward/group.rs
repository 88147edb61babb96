//! A daemon process group as an Apache child sees it: where its workers listen, how busy they are, how
//! they died, and the connections kept to them.
#![forbid(unsafe_code)]

use super::connection::Connection;
use crate::config::{DaemonProcess, ServerIdentity};
use crate::groups::GroupPlan;
use crate::posix;
use fastcgi::Limits;
use scoreboard::{Record, Scoreboard, now};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A group in a child.
pub(crate) struct Group {
    name: String,
    plan: GroupPlan,
    kept: Vec<Mutex<Vec<Connection>>>,
    turn: AtomicUsize,
    /// Where this child counts.
    row: usize,
    /// When it last looked for children that died, in microseconds.
    looked: AtomicU64,
    /// Until when each worker is taken for hung, in microseconds.
    hung: Vec<AtomicU64>,
}

/// How often it looks.
const LOOK: u64 = 1_000_000;
/// For how long a worker that does not answer is spared at most.
const SPARED: Duration = Duration::from_secs(60);
/// A worker's end is known to its connections before its manager has noticed it.
const NOTICED: Duration = Duration::from_millis(300);
/// How often to look whether a worker that is waited for can still be expected.
pub(super) const GLANCE: Duration = Duration::from_millis(100);

impl Group {
    pub(crate) fn new(plan: GroupPlan) -> Self {
        let kept = plan.sockets.iter().map(|_| Mutex::default()).collect();
        let hung = plan.sockets.iter().map(|_| AtomicU64::new(0)).collect();
        let name = String::from_utf8_lossy(&plan.definition.name).into_owned();
        let row = plan.in_flight.claim_row(std::process::id(), posix::exists);
        let (turn, looked) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { name, plan, kept, turn, row, looked, hung }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn definition(&self) -> &DaemonProcess {
        &self.plan.definition
    }

    /// The server it was defined in.
    pub(crate) fn server(&self) -> &ServerIdentity {
        &self.plan.definition.server
    }

    pub(super) fn limits(&self) -> Limits {
        let head_line_bytes = self.plan.definition.header_buffer_size;
        let limits = Limits::default();
        // A line of that length may stand among others.
        let head_bytes = limits.head_bytes.max(2 * head_line_bytes);
        Limits { head_line_bytes, head_bytes, ..limits }
    }

    /// What the group's workers know Apache's requests by.
    pub(super) fn secret(&self) -> &str {
        &self.plan.secret
    }

    /// What workers write to the log unless a request says otherwise.
    pub(super) fn log_level(&self) -> u8 {
        self.plan.log_level
    }

    pub(super) fn response_buffer_size(&self) -> usize {
        self.plan.definition.response_buffer_size
    }

    pub(super) fn response_flush_delay(&self) -> Duration {
        self.plan.definition.response_flush_delay
    }

    /// How long the client may take over a piece of its answer, where that is not the server's `Timeout`.
    pub(super) fn response_timeout(&self) -> Option<Duration> {
        let definition = &self.plan.definition;
        definition.response_socket_timeout.or(definition.socket_timeout)
    }

    /// The same where the connection has no limit of its own.
    pub(super) fn client_timeout(&self) -> Duration {
        self.response_timeout().unwrap_or(self.plan.timeout)
    }

    /// How long a worker may neither take nor give a byte.
    pub(super) fn worker_timeout(&self) -> Duration {
        self.plan.definition.socket_timeout.unwrap_or(self.plan.timeout)
    }

    /// How often a request is tried.
    pub(super) fn attempts(&self) -> usize {
        2 * self.plan.sockets.len() + 1
    }

    /// The least busy worker that is there; among equals the next in turn, so that none is forgotten. One
    /// that is not there is chosen, and thereby started, when all threads of the others are taken, and one that
    /// seems to hang when nobody else is left.
    /// `elsewhere` moves on from the one that has just failed, `missing` is no longer there at all.
    pub(super) fn choose(
        &self,
        missing: Option<usize>,
        elsewhere: bool,
        now: u64,
    ) -> WorkerLease<'_> {
        let looked = self.looked.load(Ordering::Relaxed);
        if now.saturating_sub(looked) > LOOK {
            self.looked.store(now, Ordering::Relaxed);
            self.plan.in_flight.reclaim_dead_rows(posix::exists);
        }
        let board = self.plan.board.view();
        let threads = u64::from(self.plan.definition.threads);
        let rank = |slot: usize| {
            let claimed = self.plan.in_flight.count(slot);
            let count = claimed + self.left_behind(slot, &board, claimed);
            let distance = match (board.is_ready(slot), count < threads) {
                _ if missing == Some(slot) || board.start_failed_permanently(slot) => 4,
                _ if self.seems_to_hang(slot, now) => 3,
                (true, true) => 0,
                (false, true) => 1,
                (_, false) => 2,
            };
            (distance, count, claimed)
        };
        let slots = self.plan.sockets.len().max(1);
        let turn = if elsewhere {
            self.turn.fetch_add(1, Ordering::Relaxed)
        } else {
            self.turn.load(Ordering::Relaxed)
        };
        loop {
            let best = (0..slots)
                .map(|step| (turn + step) % slots)
                .map(|slot| (rank(slot), slot))
                .min_by_key(|(rank, _)| *rank);
            let ((_, _, claimed), slot) = best.unwrap_or_default();
            // Somebody else may have chosen the same one at this very moment.
            if self.plan.in_flight.add(self.row, slot, claimed) {
                let served = self.plan.board.served(slot);
                return WorkerLease { group: self, slot, served, since: now };
            }
        }
    }
}

impl Group {
    /// How many requests the worker still has that nobody waits for any more, and no child counts: its
    /// application has not noticed yet. Looked at only where there may be some: what a worker says of itself
    /// comes a moment later than what children know.
    fn left_behind(&self, slot: usize, board: &Scoreboard<'_>, claimed: u64) -> u64 {
        let then = self.plan.in_flight.last_abandoned(slot);
        if then == 0 {
            return 0;
        }
        board.serving(slot, then).map_or_else(
            || {
                self.plan.in_flight.clear_abandoned(slot, then);
                0
            },
            |count| count.saturating_sub(claimed),
        )
    }

    fn seems_to_hang(&self, slot: usize, now: u64) -> bool {
        self.hung.get(slot).is_some_and(|until| until.load(Ordering::Relaxed) > now)
    }
}

/// A request's claim on a worker.
pub(super) struct WorkerLease<'a> {
    group: &'a Group,
    slot: usize,
    /// How many requests it had served by then.
    served: u64,
    /// When the request came.
    since: u64,
}

impl WorkerLease<'_> {
    /// Which worker it is.
    pub(super) const fn slot(&self) -> usize {
        self.slot
    }

    /// A kept connection, else a new one, for which it waits until `patience` runs out.
    pub(super) fn connect(&self, patience: Instant) -> io::Result<Connection> {
        let Some(kept) = self.group.kept.get(self.slot) else {
            return Err(io::Error::other("the group has no worker"));
        };
        let connection = kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(connection) = connection {
            return Ok(connection);
        }
        let plan = &self.group.plan;
        let path = plan.sockets.get(self.slot).ok_or(io::ErrorKind::NotFound)?;
        let timeout = self.group.worker_timeout();
        // A socket whose backlog is full lets us wait. It never refuses: Apache's parent holds it.
        let wait = patience.saturating_duration_since(Instant::now());
        let opened = Connection::open(path, wait, timeout, self.group.limits());
        let connection = opened.map_err(|why| {
            if Instant::now() >= patience {
                self.timed_out();
            }
            let hint = match why.kind() {
                io::ErrorKind::PermissionDenied => " (WSGISocketPrefix says where sockets go)",
                _ => "",
            };
            io::Error::new(why.kind(), format!("{}: {why}{hint}", path.display()))
        })?;
        let (send, receive) =
            (plan.definition.send_buffer_size, plan.definition.receive_buffer_size);
        // What the one end sends is what the other receives: the options are meant from the worker's end.
        posix::set_buffers(connection.as_fd(), receive, send)?;
        Ok(connection)
    }

    /// Waits until the worker serves or answers, as long as there is a prospect of it; whether that was in time.
    ///
    /// # Errors
    /// The sentence that says why there is none.
    pub(super) fn await_start(&self, connection: &Connection) -> Result<bool, String> {
        let patience = Instant::now() + self.group.worker_timeout();
        while !self.is_there() && !connection.waits_for_input(GLANCE) {
            self.start_block_reason().map_or(Ok(()), Err)?;
            if Instant::now() > patience {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether there is a worker that serves.
    pub(super) fn is_there(&self) -> bool {
        self.group.plan.board.view().is_ready(self.slot)
    }

    /// Why no worker is to be expected here, if that is so.
    pub(super) fn start_block_reason(&self) -> Option<String> {
        self.group.plan.board.view().start_block_reason(self.slot)
    }

    /// How the worker died, if it did, since the request came. Waits a moment for its manager to notice.
    pub(super) fn exit_description(&self) -> Option<String> {
        let patience = Instant::now() + NOTICED;
        loop {
            let board = self.group.plan.board.view();
            if let Some(dead) = board.ended(self.slot, self.since) {
                return Some(Record::exit_description(&dead));
            }
            if Instant::now() > patience {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// It has not answered in time. If it has finished no other request meanwhile either it may hang
    /// altogether, and for a while others get what comes. Else this one takes long, and no more.
    pub(super) fn timed_out(&self) {
        let Some(hung) = self.group.hung.get(self.slot) else { return };
        if self.group.plan.board.served(self.slot) == self.served {
            let spared = self.group.worker_timeout().min(SPARED).as_micros();
            let until = now().saturating_add(u64::try_from(spared).unwrap_or(0));
            hung.store(until, Ordering::Relaxed);
        }
    }

    /// Nobody waits for the request any more.
    pub(super) fn give_up(&self) {
        self.group.plan.in_flight.record_abandoned(self.slot, now());
    }

    /// Closes the connections that are kept to this worker. One that is being ended loses them one after the
    /// other: what is sent on those that it still has is lost, and to send it again is a risk each time.
    pub(super) fn forget_kept(&self) {
        if let Some(kept) = self.group.kept.get(self.slot) {
            let doomed = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
            drop(doomed);
        }
    }

    /// Keeps the connection for the next request, if it can be.
    pub(super) fn finish(self, mut connection: Connection) {
        connection.mark_used();
        if connection.is_given_up() {
            self.give_up();
        }
        if connection.is_reusable()
            && let (Some(kept), Some(hung)) =
                (self.group.kept.get(self.slot), self.group.hung.get(self.slot))
        {
            hung.store(0, Ordering::Relaxed);
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Drop for WorkerLease<'_> {
    fn drop(&mut self) {
        self.group.plan.in_flight.remove(self.group.row, self.slot);
    }
}
