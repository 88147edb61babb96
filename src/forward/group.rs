//! A daemon process group as an Apache child sees it: where its workers listen, how busy they are, and
//! the connections kept to them.
#![forbid(unsafe_code)]

use super::connection::Connection;
use crate::config::{DaemonProcess, ServerIdentity};
use crate::posix::SharedCounters;
use fastcgi::Limits;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the parent knows of a group when it forks its children.
#[derive(Clone)]
pub(crate) struct GroupPlan {
    pub(crate) definition: DaemonProcess,
    /// Where each worker listens, by slot.
    pub(crate) sockets: Vec<PathBuf>,
    /// Requests under way, over all children, by slot.
    pub(crate) busy: Arc<SharedCounters>,
    /// `Timeout` of the server.
    pub(crate) timeout: Duration,
}

/// A group in a child.
pub(crate) struct Group {
    name: String,
    plan: GroupPlan,
    kept: Vec<Mutex<Vec<Connection>>>,
    turn: AtomicUsize,
}

impl Group {
    pub(crate) fn new(plan: GroupPlan) -> Self {
        let kept = plan.sockets.iter().map(|_| Mutex::default()).collect();
        let name = String::from_utf8_lossy(&plan.definition.name).into_owned();
        Self { name, plan, kept, turn: AtomicUsize::new(0) }
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
        Limits { head_line_bytes, ..Limits::default() }
    }

    pub(super) fn response_buffer_size(&self) -> usize {
        self.plan.definition.response_buffer_size
    }

    pub(super) fn response_flush_delay(&self) -> Duration {
        self.plan.definition.response_flush_delay
    }

    /// How often a request is tried.
    pub(super) fn attempts(&self) -> usize {
        2 * self.plan.sockets.len() + 1
    }

    /// The least busy worker; among equals the next in turn, so that none is forgotten. `elsewhere` moves
    /// on from the one that has just failed.
    pub(super) fn choose(&self, elsewhere: bool) -> WorkerLease<'_> {
        let slots = self.plan.sockets.len().max(1);
        let turn = if elsewhere {
            self.turn.fetch_add(1, Ordering::Relaxed)
        } else {
            self.turn.load(Ordering::Relaxed)
        };
        let slot = (0..slots)
            .map(|step| (turn + step) % slots)
            .min_by_key(|&slot| self.plan.busy.get(slot).load(Ordering::Relaxed))
            .unwrap_or(0);
        self.plan.busy.get(slot).fetch_add(1, Ordering::Relaxed);
        WorkerLease { group: self, slot }
    }
}

/// A request's claim on a worker.
pub(super) struct WorkerLease<'a> {
    group: &'a Group,
    slot: usize,
}

impl WorkerLease<'_> {
    /// A kept connection, else a new one.
    pub(super) fn connect(&self) -> io::Result<Connection> {
        let Some(kept) = self.group.kept.get(self.slot) else {
            return Err(io::Error::other("the group has no worker"));
        };
        loop {
            let connection = kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match connection {
                None => break,
                Some(connection) if connection.is_fresh() => return Ok(connection),
                // The worker has closed it meanwhile.
                Some(stale) => drop(stale),
            }
        }
        let plan = &self.group.plan;
        let path = plan.sockets.get(self.slot).ok_or(io::ErrorKind::NotFound)?;
        let timeout = plan.definition.socket_timeout.unwrap_or(plan.timeout);
        let patience = Instant::now() + plan.definition.connect_timeout;
        loop {
            match Connection::open(path, timeout, self.group.limits()) {
                // The backlog is full, or the socket is just being made.
                Err(why)
                    if matches!(
                        why.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused
                    ) && Instant::now() < patience =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                opened => return opened,
            }
        }
    }

    /// Keeps the connection for the next request, if it can be.
    pub(super) fn finish(self, connection: Connection) {
        if connection.is_fresh()
            && let Some(kept) = self.group.kept.get(self.slot)
        {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Drop for WorkerLease<'_> {
    fn drop(&mut self) {
        self.group.plan.busy.get(self.slot).fetch_sub(1, Ordering::Relaxed);
    }
}
