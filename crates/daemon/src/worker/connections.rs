//! The open connections of a worker, and the epoll instance on which its threads wait for them.
//!
//! All active threads (see `scheduler`) wait on the one instance. The kernel wakes one of them for an event, the
//! one that began to wait last (`ep_poll` queues exclusive waiters at the head), so few threads stay in use, and
//! it reports each event once (`EPOLLONESHOT`). Between two requests, and while the rest of one is still to come, no thread
//! has a connection: it is kept here.
#![forbid(unsafe_code)]

use crate::connection_queue::WorkerQueue;
use crate::log::Log;
use crate::log_limit::LogLimit;
use crate::message::Successor;
use crate::worker::connection::{Connection, Socket};
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use sys::{EPOLLIN, EPOLLONESHOT, Epoll, Timer};
use wsgi::Level;

/// The open connections of a worker.
pub(super) struct Connections {
    epoll: Epoll,
    idle: Mutex<Idle>,
    /// Connections that are open, idle or not.
    open: AtomicUsize,
    draining: AtomicBool,
    /// When draining began.
    drain_start: OnceLock<Instant>,
    queue: Option<WorkerQueue>,
    /// While draining: idle connections are given to another worker.
    gives_away: AtomicBool,
    /// Its time comes when a request has not come whole in time.
    timer: Timer,
    /// Its time comes when listeners that could not accept are to be watched again.
    pause: Timer,
    /// Lines about the memory that requests need which have not come whole.
    evictions: LogLimit,
}

/// What a thread is woken for.
pub(super) enum Wakeup {
    /// The worker stops.
    Stop,
    /// A connection is pending at the listener of this index.
    Listener(usize),
    /// Something came on the connection in this place; see [`Connections::take`].
    Connection(usize),
    /// A request has not come whole in time; see [`Connections::close_late`].
    Timer,
    /// The pause is over that [`Connections::pause_listeners`] has begun.
    Accept,
}

impl Wakeup {
    fn of(token: u64) -> Self {
        let index = |token: u64| usize::try_from(token).unwrap_or(usize::MAX);
        match token {
            STOP_TOKEN => Self::Stop,
            TIMER_TOKEN => Self::Timer,
            PAUSE_TOKEN => Self::Accept,
            token if token < FIRST_CONNECTION_TOKEN => Self::Listener(index(token)),
            token => Self::Connection(index(token - FIRST_CONNECTION_TOKEN)),
        }
    }
}

/// Connections between two requests, by their place. A connection that is being served keeps its place, which is
/// empty meanwhile.
#[derive(Default)]
struct Idle {
    places: Vec<Option<IdleConnection>>,
    free: Vec<usize>,
    /// How often a connection has become idle.
    count: u64,
    /// Memory for reading. Where there are many connections, each has some while it is looked at, and none while it
    /// is idle.
    memory: Vec<Vec<u8>>,
    /// What all requests together need that have not come whole, in bytes.
    incomplete: usize,
    /// [`Connections::timer`] is set.
    timer_is_set: bool,
}

struct IdleConnection {
    /// What [`Idle::count`] was when it became idle.
    since: u64,
    /// What a request needs that has begun to come on it, in bytes.
    incomplete: usize,
    /// While draining: it is closed if no request has come by then.
    kept_until: Option<Instant>,
    connection: Box<Connection>,
}

/// Tokens below are the indices of listeners, tokens from here on the places of connections.
const FIRST_CONNECTION_TOKEN: u64 = 64;
const STOP_TOKEN: u64 = u64::MAX;
const TIMER_TOKEN: u64 = u64::MAX - 1;
const PAUSE_TOKEN: u64 = u64::MAX - 2;
/// So many connections have memory for reading of their own, and as much is kept for all others; more is given back.
const MEMORY_KEPT: usize = 64;
/// The most bytes that requests may need together which have not come whole.
const MAX_INCOMPLETE: usize = 64 * 1024 * 1024;
/// While draining: how long a connection of another web server than the Apache module is without a request before it
/// is closed.
const DRAIN_IDLE: Duration = Duration::from_millis(300);
/// And for how long new requests are taken on it.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

impl Connections {
    /// `queue` is where other web servers than the Apache module connect.
    pub(super) fn new(queue: Option<WorkerQueue>) -> io::Result<Self> {
        let (epoll, timer, pause) = (Epoll::new()?, Timer::new()?, Timer::new()?);
        epoll.add(timer.as_fd(), EPOLLONESHOT, TIMER_TOKEN)?;
        epoll.add(pause.as_fd(), EPOLLONESHOT, PAUSE_TOKEN)?;
        Ok(Self {
            epoll,
            timer,
            pause,
            evictions: LogLimit::default(),
            idle: Mutex::default(),
            open: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            drain_start: OnceLock::new(),
            queue,
            gives_away: AtomicBool::new(false),
        })
    }

    /// On which connections go from one worker to the next.
    pub(super) const fn queue(&self) -> Option<&WorkerQueue> {
        self.queue.as_ref()
    }

    /// Has [`Connections::wait`] report [`Wakeup::Stop`] to every thread once `stop` is readable or closed.
    pub(super) fn watch_stop(&self, stop: &PipeReader) -> io::Result<()> {
        self.epoll.add(stop.as_fd(), EPOLLIN, STOP_TOKEN)
    }

    /// Waits for connections at a listener, for one event.
    pub(super) fn watch_listener(&self, listener: BorrowedFd<'_>, index: usize) -> io::Result<()> {
        self.epoll.add(listener, EPOLLIN | EPOLLONESHOT, index as u64)
    }

    /// The same again after an event.
    pub(super) fn rewatch_listener(
        &self,
        listener: BorrowedFd<'_>,
        index: usize,
    ) -> io::Result<()> {
        self.epoll.rearm(listener, EPOLLIN | EPOLLONESHOT, index as u64)
    }

    /// Has [`Wakeup::Accept`] reported once so much time has passed; whether it will be.
    pub(super) fn pause_listeners(&self, pause: Duration) -> bool {
        let fd = self.pause.as_fd();
        let set = self.pause.set(pause);
        set.and_then(|()| self.epoll.rearm(fd, EPOLLIN | EPOLLONESHOT, PAUSE_TOKEN)).is_ok()
    }

    /// Waits for the listener no more.
    pub(super) fn unwatch_listener(&self, listener: BorrowedFd<'_>) {
        self.epoll.remove(listener);
    }

    /// Waits for the next event.
    pub(super) fn wait(&self) -> io::Result<Wakeup> {
        Ok(Wakeup::of(self.epoll.wait()?))
    }

    /// The next event, if there is one.
    pub(super) fn wait_now(&self) -> io::Result<Option<Wakeup>> {
        Ok(self.epoll.wait_now()?.map(Wakeup::of))
    }

    /// Readable while there is an event.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Whether something has come that no thread has taken.
    pub(super) fn has_event(&self) -> bool {
        self.epoll.has_event()
    }

    /// The connection in this place, if it is idle.
    pub(super) fn take(&self, place: usize) -> Option<Box<Connection>> {
        let mut idle = self.idle();
        let mut connection = idle.remove(place)?.connection;
        if !connection.wire.has_memory()
            && let Some(memory) = idle.memory.pop()
        {
            connection.wire.give_memory(memory);
        }
        Some(connection)
    }

    /// Counts a connection that has been accepted.
    pub(super) fn count_opened(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts a connection that is gone.
    pub(super) fn count_closed(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many connections are open, idle or not.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Whether no connection is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open() == 0
    }

    /// Lets a connection be idle until its next request, or until more has come of it; gives the connection back if there is
    /// something to do.
    pub(super) fn put_back(
        &self,
        mut connection: Box<Connection>,
        log: &Log,
    ) -> Option<Box<Connection>> {
        let closes = connection.wire.must_close();
        if closes && !connection.lingers() {
            self.close(connection);
            return None;
        }
        let params_until = connection.awaits_params().filter(|_| !closes);
        if closes {
            self.close_overdue();
        } else if !connection.wire.is_idle() && params_until.is_none() {
            return Some(connection);
        }
        if !closes && self.give_away(&connection) {
            self.leave(connection);
            return None;
        }
        let idle = self.idle();
        let kept_until = self.drain_grace(&connection);
        if self.is_draining()
            && kept_until.is_none()
            && !closes
            && params_until.is_none()
            && !connection.awaits_first_request()
        {
            drop(idle);
            if connection.shutdown_read() {
                return Some(connection);
            }
            self.close(connection);
            return None;
        }
        self.keep(idle, connection, kept_until, log);
        None
    }

    /// Keeps a connection until something comes on it.
    fn keep(
        &self,
        mut idle: MutexGuard<'_, Idle>,
        mut connection: Box<Connection>,
        kept_until: Option<Instant>,
        log: &Log,
    ) {
        let is_watched = connection.place.is_some();
        let place = connection.place.unwrap_or_else(|| idle.free_place());
        connection.place = Some(place);
        idle.count += 1;
        let since = idle.count;
        let token = FIRST_CONNECTION_TOKEN + place as u64;
        let watch = if is_watched { Epoll::rearm } else { Epoll::add };
        if let Err(why) = watch(&self.epoll, connection.as_fd(), EPOLLIN | EPOLLONESHOT, token) {
            drop(idle);
            log.write(Level::Error, format!("cannot wait for a connection: {why}").as_bytes());
            return self.close(connection);
        }
        if idle.places.len() > MEMORY_KEPT
            && let Some(memory) = connection.wire.take_memory()
            && idle.memory.len() < MEMORY_KEPT
        {
            idle.memory.push(memory);
        }
        // A thread that gets the event meanwhile waits for the lock, which is still held.
        let params_until = connection.awaits_params();
        let incomplete = params_until.map_or(0, |_| connection.wire.held());
        idle.insert(place, IdleConnection { since, incomplete, kept_until, connection });
        if let Some(until) = params_until {
            self.set_timer(&mut idle, until);
            self.limit_incomplete(idle, log);
        }
    }

    /// Has [`Wakeup::Timer`] reported then, unless it will be sooner.
    fn set_timer(&self, idle: &mut Idle, until: Instant) {
        if !idle.timer_is_set {
            let set = self.timer.set(until.saturating_duration_since(Instant::now()));
            let fd = self.timer.as_fd();
            let set = set.and_then(|()| self.epoll.rearm(fd, EPOLLIN | EPOLLONESHOT, TIMER_TOKEN));
            // Without the timer the connections are closed when the worker stops.
            idle.timer_is_set = set.is_ok();
        }
    }

    /// Closes connections while requests that have not come whole need too much memory, those with the most first.
    fn limit_incomplete(&self, mut idle: MutexGuard<'_, Idle>, log: &Log) {
        let mut closing = Vec::new();
        while idle.incomplete > MAX_INCOMPLETE
            && let Some(place) = idle.largest_incomplete()
        {
            closing.extend(idle.remove(place));
        }
        drop(idle);
        for idle in closing {
            self.evictions.write(log, Level::Warning, || {
                let peer = idle.connection.peer();
                format!(
                    "WSGI0262: a connection of {peer} was closed: requests that have not come whole need more than {} MB",
                    MAX_INCOMPLETE >> 20
                )
            });
            self.close(idle.connection);
        }
    }

    /// Closes connections on which a request has not come whole in time. To be called at [`Wakeup::Timer`].
    pub(super) fn close_late(&self, log: &Log) {
        let now = Instant::now();
        let (mut closing, mut next) = (Vec::new(), None::<Instant>);
        let mut idle = self.idle();
        idle.timer_is_set = false;
        for place in 0..idle.places.len() {
            match idle.params_until(place) {
                Some(until) if until <= now => closing.extend(idle.remove(place)),
                Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
                None => {}
            }
        }
        if let Some(next) = next {
            self.set_timer(&mut idle, next);
        }
        drop(idle);
        closing.into_iter().for_each(|idle| self.close_too_slow(idle.connection, log));
    }

    /// Closes a connection on which a request has not come whole in time.
    pub(super) fn close_too_slow(&self, connection: Box<Connection>, log: &Log) {
        log.write(Level::Info, b"a connection was closed: no request has come in time");
        self.close(connection);
    }

    /// Closes the connection that has been idle longest, if there is one.
    pub(super) fn close_oldest_idle(&self) -> bool {
        let mut idle = self.idle();
        for place in idle.oldest_first() {
            // Where a request came before the shutdown, epoll has or will have an event for the connection.
            if let Some(oldest) = idle.remove_if(place, |idle| !idle.connection.shutdown_read()) {
                drop(idle);
                self.close(oldest.connection);
                return true;
            }
        }
        false
    }

    /// Whether [`Connections::drain`] has been called.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// From now on no connection becomes idle.
    pub(super) fn start_draining(&self, successor: Successor) {
        self.gives_away.store(successor == Successor::Ready, Ordering::SeqCst);
        self.drain_start.get_or_init(Instant::now);
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Gives every idle connection to another worker, or closes it. To be called again while there are connections whose
    /// first request has not come.
    pub(super) fn close_idle(&self) {
        let (mut closing, mut leaving) = (Vec::new(), Vec::new());
        let now = Instant::now();
        let mut all = self.idle();
        for place in 0..all.places.len() {
            let Some(mut idle) = all.remove(place) else { continue };
            if self.give_away(&idle.connection) {
                leaving.push(idle.connection);
                continue;
            }
            let grace = self.drain_grace(&idle.connection);
            idle.kept_until = idle.kept_until.or(grace);
            let kept = grace.is_some() && idle.kept_until.is_some_and(|until| now < until);
            let is_coming = idle.connection.awaits_params().is_some_and(|until| now < until);
            let awaited = idle.connection.awaits_first_request() || is_coming || kept;
            let stays = awaited || idle.connection.is_lingering();
            if stays || idle.connection.shutdown_read() {
                // Its event is still to come.
                all.insert(place, idle);
            } else {
                closing.push(idle.connection);
            }
        }
        drop(all);
        closing.into_iter().for_each(|connection| self.close(connection));
        leaving.into_iter().for_each(|connection| self.leave(connection));
    }

    /// Gives a connection between two requests to another worker, if there is one that goes on with it; whether it has
    /// been given. The module's connections are in a state that only this worker knows, and need not go on.
    fn give_away(&self, connection: &Connection) -> bool {
        let queue = self.queue.as_ref().filter(|_| self.gives_away.load(Ordering::SeqCst));
        // Nor can the beginning of a request go on.
        let may = !connection.is_over()
            && !connection.is_from_module()
            && connection.awaits_params().is_none();
        queue.is_some_and(|queue| may && queue.push(connection.as_fd()))
    }

    /// Ends this worker's part in a connection that has been given away.
    fn leave(&self, connection: Box<Connection>) {
        self.forget(&connection);
        connection.leave();
        self.count_closed();
    }

    /// The socket of a connection that serves no requests any more, and does not count as one.
    pub(super) fn detach(&self, connection: &Connection) -> Arc<Socket> {
        self.forget(connection);
        self.count_closed();
        Arc::clone(connection.socket())
    }

    /// Closes connections that have waited too long for the rest of a request.
    fn close_overdue(&self) {
        let mut idle = self.idle();
        let overdue =
            |idle: &IdleConnection| idle.connection.is_over() && !idle.connection.is_lingering();
        let places = 0..idle.places.len();
        let closing: Vec<_> = places.filter_map(|place| idle.remove_if(place, overdue)).collect();
        drop(idle);
        closing.into_iter().for_each(|it| self.close(it.connection));
    }

    /// Until when a connection that is idle now is kept while draining, if at all. A web server that is not the Apache
    /// module does not send a request again when it is closed in that moment, and it uses its connections often.
    fn drain_grace(&self, connection: &Connection) -> Option<Instant> {
        let start = self.drain_start.get()?;
        let keeps = !connection.is_from_module() && start.elapsed() < DRAIN_GRACE;
        keeps.then(|| Instant::now() + DRAIN_IDLE)
    }

    /// Ends a connection that is not idle.
    pub(super) fn close(&self, connection: Box<Connection>) {
        self.forget(&connection);
        connection.close();
        self.count_closed();
    }

    /// Waits for nothing on a connection any more, and frees its place.
    fn forget(&self, connection: &Connection) {
        self.epoll.remove(connection.as_fd());
        if let Some(place) = connection.place {
            self.idle().free.push(place);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn free_place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        })
    }

    fn insert(&mut self, place: usize, connection: IdleConnection) {
        self.incomplete += connection.incomplete;
        if let Some(place) = self.places.get_mut(place) {
            *place = Some(connection);
        }
    }

    /// Takes the connection in this place out, if there is one.
    fn remove(&mut self, place: usize) -> Option<IdleConnection> {
        let removed = self.places.get_mut(place)?.take()?;
        self.incomplete -= removed.incomplete;
        Some(removed)
    }

    fn remove_if(
        &mut self,
        place: usize,
        is_meant: impl FnOnce(&IdleConnection) -> bool,
    ) -> Option<IdleConnection> {
        let idle = self.places.get(place)?.as_ref()?;
        if is_meant(idle) { self.remove(place) } else { None }
    }

    /// Until when the request has to come whole that has begun to come on the connection in this place.
    fn params_until(&self, place: usize) -> Option<Instant> {
        self.places.get(place)?.as_ref()?.connection.awaits_params()
    }

    /// The place of the connection whose request needs the most memory, of those that have not come whole.
    fn largest_incomplete(&self) -> Option<usize> {
        let needs = |(place, idle): (usize, &Option<IdleConnection>)| {
            idle.as_ref().filter(|idle| idle.incomplete > 0).map(|idle| (idle.incomplete, place))
        };
        (0..).zip(&self.places).filter_map(needs).max().map(|(_, place)| place)
    }

    /// The places of idle connections that have had a request, or have waited for their first one too long, the
    /// one that has been idle longest first.
    fn oldest_first(&self) -> impl Iterator<Item = usize> + use<> {
        let candidate = |(index, place): (usize, &Option<IdleConnection>)| {
            let idle = place.as_ref().filter(|idle| !idle.connection.awaits_first_request());
            idle.map(|idle| (idle.since, index))
        };
        let mut places: Vec<_> = (0..).zip(&self.places).filter_map(candidate).collect();
        places.sort_unstable();
        places.into_iter().map(|(_, place)| place)
    }
}
