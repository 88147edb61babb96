//! What the threads of a worker share, and what the main thread does with them: begin to accept, drain, answer
//! for them. What each thread does is in `serving`.
#![forbid(unsafe_code)]

use crate::connection_queue::WorkerQueue;
use crate::launch::SlotHandle;
use crate::log::Log;
use crate::log_limit::LogLimit;
use crate::message::{Channel, Loaded, Successor};
use crate::worker::acceptor::{Accepted, Acceptor};
use crate::worker::asgi::Slots;
use crate::worker::connections::Connections;
use crate::worker::failed_loads::FailedLoads;
use crate::worker::gil_probe::GilProbe;
use crate::worker::hang_report::HangReport;
use crate::worker::loaded_scripts::LoadedScripts;
use crate::worker::manager_channel::ManagerChannel;
use crate::worker::recycling::Recycling;
use crate::worker::response_claim::ResponseClaim;
use crate::worker::scheduler::Scheduler;
use crate::worker::siblings::{Siblings, script_number};
use crate::worker::stack_reporter::StackReporter;
use group_config::GroupConfig;
use host::Host;
use scoreboard::{Field, Record, Scoreboard};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;

/// The most attempts to accept at a socket that is about to be closed: what waits there at most, as Linux has it.
const MAX_ACCEPTED_AT_END: usize = 4096;

/// What the threads of a worker share.
pub(crate) struct Pool {
    pub(crate) config: GroupConfig,
    pub(crate) host: Host,
    pub(crate) log: Log,
    pub(crate) record: Record<'static>,
    /// All of the group.
    pub(super) board: Scoreboard<'static>,
    pub(crate) recycling: Recycling,
    pub(crate) scheduler: Scheduler,
    pub(crate) gil_probe: GilProbe,
    pub(crate) manager: ManagerChannel,
    pub(super) acceptor: Acceptor,
    /// Lines about requests without the secret.
    pub(super) rejections: LogLimit,
    /// Lines about heads of responses that are too long for some web servers.
    pub(super) long_heads: LogLimit,
    pub(super) connections: Connections,
    pub(super) loaded: LoadedScripts,
    pub(super) failed_loads: FailedLoads,
    pub(super) siblings: Siblings,
    /// Which of the threads have a request without an answer.
    pub(super) claims: Vec<ResponseClaim>,
    /// The log has been told that no event can be waited for any more.
    pub(super) is_broken: AtomicBool,
    /// Reports requests for which the worker is given up.
    pub(super) hang_report: HangReport,
    /// Reports to the manager what the threads do.
    pub(super) stacks: StackReporter,
    /// Wakes the main thread while it drains.
    main_thread: PipeWriter,
    /// The requests that the event loop has, where it serves applications of ASGI.
    pub(super) asgi: Option<Slots>,
}

impl Pool {
    /// Also gives the end of a pipe that is readable whenever the main thread has to look whether draining is
    /// over.
    pub(crate) fn new(
        config: GroupConfig,
        host: Host,
        log: Log,
        slot: &SlotHandle,
        listeners: Vec<OwnedFd>,
        queue: Option<WorkerQueue>,
        channel: Channel,
    ) -> io::Result<(Self, PipeReader)> {
        let (woken, main_thread) = io::pipe()?;
        let asgi = config
            .is_asgi()
            .then(|| Slots::new(config.capacity(), config.asgi.websocket_limit))
            .transpose()?;
        let claims: Vec<_> = (0..config.capacity()).map(|_| ResponseClaim::default()).collect();
        let pool = Self {
            // One thread of a loop is all that there is.
            recycling: Recycling::new(
                &config.timers,
                if asgi.is_some() { 1 } else { config.threads },
            ),
            scheduler: Scheduler::new(claims.len(), host.is_serial()),
            gil_probe: GilProbe::new(config.timers.deadlock_timeout),
            siblings: Siblings::of(slot, config.processes.most as usize),
            failed_loads: FailedLoads::default(),
            config,
            host,
            log,
            record: slot.record(),
            board: slot.memory.board,
            manager: ManagerChannel::new(channel),
            acceptor: Acceptor::new(listeners),
            rejections: LogLimit::default(),
            long_heads: LogLimit::default(),
            connections: Connections::new(queue)?,
            loaded: LoadedScripts::default(),
            claims,
            is_broken: AtomicBool::new(false),
            hang_report: HangReport::default(),
            stacks: StackReporter::default(),
            main_thread,
            asgi,
        };
        pool.record.set(Field::Capacity, pool.config.capacity().into());
        Ok((pool, woken))
    }

    /// Begins to accept. Once `stop` is readable, every thread returns from [`Pool::serve`].
    pub(crate) fn listen(&self, stop: &PipeReader) -> io::Result<()> {
        self.listen_for_stop(stop)?;
        self.acceptor.listen(&self.connections)
    }

    /// Once `stop` is readable, what serves ends.
    pub(super) fn listen_for_stop(&self, stop: &PipeReader) -> io::Result<()> {
        match &self.asgi {
            Some(slots) => slots.watch_stop(stop),
            None => self.connections.watch_stop(stop),
        }
    }

    /// Accepts no more, and gives every connection between two requests to the `successor`, or ends it. To be called
    /// again while there are connections whose first request has not come.
    pub(crate) fn drain(&self, successor: Successor) {
        self.connections.start_draining(successor);
        self.acceptor.stop(&self.connections);
        self.connections.close_idle();
    }

    /// Lets no web server connect any more, where the socket ends with the manager: it would wait in vain, and the next
    /// manager could not listen on the path. Apache keeps its sockets for the next manager.
    pub(super) fn give_up_socket(&self) {
        if self.owns_sockets() {
            self.acceptor.shut_down();
        }
    }

    fn owns_sockets(&self) -> bool {
        self.config.front_ends().is_some_and(|it| !it.sockets_are_inherited)
    }

    /// Where the whole group stops: takes the connections that wait at its own sockets, and lets nothing more connect, so
    /// that a web server is refused and turns to another machine.
    pub(super) fn close_sockets(&self) {
        if !self.owns_sockets() || !self.board.is_draining() {
            return;
        }
        for index in 0..self.acceptor.count() {
            // What may not connect keeps nothing that waits behind it from being served, nor the socket open.
            for _ in 0..MAX_ACCEPTED_AT_END {
                match self.acceptor.accept(index, &self.connections, &self.config, &self.log) {
                    Accepted::Connection(connection) => {
                        self.connections.put_back(connection, &self.log);
                    }
                    Accepted::Retry => {}
                    Accepted::Nothing => break,
                }
            }
        }
        self.give_up_socket();
    }

    /// Whether every connection is closed and no request is in Python.
    pub(crate) fn is_drained(&self) -> bool {
        let is_idle = match &self.asgi {
            Some(slots) => slots.is_idle(),
            None => self.host.active() == 0,
        };
        self.connections.is_empty() && is_idle
    }

    /// Whether a WebSocket is open.
    pub(super) fn has_open_sockets(&self) -> bool {
        self.asgi.as_ref().is_some_and(|slots| slots.open_sockets() > 0)
    }

    /// How many WebSockets are open, where nothing else is.
    pub(super) fn only_sockets(&self) -> Option<usize> {
        let slots = self.asgi.as_ref()?;
        (self.connections.is_empty() && slots.has_no_request()).then(|| slots.open_sockets())
    }

    /// Has the main thread look whether draining is over.
    pub(super) fn wake_main_thread(&self) {
        // A full pipe wakes as well.
        let _ = (&self.main_thread).write(&[0]);
    }

    /// Whether nothing is left but overdue requests, and no connection is open on which another one may come.
    pub(super) fn has_only_overdue_requests(&self) -> bool {
        // In this order: a request that begins meanwhile is among the requests.
        let open = self.connections.open();
        let requests = self.record.requests();
        let is_overdue = |(since, _): &(u64, String)| self.recycling.is_overdue(*since);
        !requests.is_empty() && open <= requests.len() && requests.iter().all(is_overdue)
    }

    /// Answers the requests without an answer of which `is_meant` says so, given when they began, with `status`; `why`
    /// goes to the log, with the code of the line and the flag of the request.
    pub(super) fn answer_outstanding(
        &self,
        is_meant: impl Fn(u64) -> bool,
        status: u16,
        (code, flag): (&str, &str),
        why: &str,
    ) {
        for (thread, since, line) in self.record.busy_threads() {
            if is_meant(since)
                && let Some(claim) = self.claims.get(thread)
            {
                let line = format!("{code}: {line}: {why} [{flag}]");
                claim.answer_for_thread(status, line.as_bytes());
            }
        }
    }

    /// The manager could not load newer code: what is outdated stays. `refused` is the file that was tried.
    pub(crate) fn keep_code(&self, refused: Option<&Loaded>) {
        self.loaded.keep(refused);
    }

    /// Notes a script that has been loaded.
    pub(crate) fn note_loaded(&self, loaded: Loaded) {
        if self.loaded.note(&loaded) {
            self.failed_loads.forget(&loaded);
            self.record.note_script(script_number(&loaded));
            self.manager.report_loaded(loaded);
        }
    }
}
