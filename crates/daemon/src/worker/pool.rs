//! The threads of a worker and the connections they take turns at.
//!
//! All threads that are up (see `crew`) wait on one epoll instance. The kernel wakes one of them for an
//! event, the one that came last (`ep_poll` queues exclusive waiters at the head), so few threads stay hot,
//! and an event comes once (EPOLLONESHOT).
//! Between requests a connection belongs to nobody.
#![forbid(unsafe_code)]

use crate::config::GroupConfig;
use crate::log::Log;
use crate::message::{Channel, Loaded, Reason, Report};
use crate::posix::{self, EPOLLIN, EPOLLONESHOT, Epoll};
use crate::worker::connection::{Connection, Next};
use crate::worker::exchange::{Facts, FastCgiExchange};
use crate::worker::fd_limit::{self, Shortage};
use crate::worker::file_time;
use crate::worker::forks;
use crate::worker::recycling::Recycling;
use crate::worker::response_claim::Turn;
use crate::worker::scheduler::{Crew, Work};
use crate::worker::target::{Application, Asked};
use host::{Host, ScriptFile, Served, Target};
use scoreboard::{Record, now};
use std::ffi::OsStr;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wsgi::Level;

/// What the threads of a worker share.
pub(crate) struct Pool {
    pub(crate) config: GroupConfig,
    pub(crate) host: Host,
    pub(crate) log: Log,
    pub(crate) record: Record<'static>,
    pub(crate) recycling: Recycling,
    pub(crate) crew: Crew,
    epoll: Epoll,
    listeners: Vec<UnixListener>,
    /// Those between two requests.
    waiting: Mutex<Waiting>,
    /// Connections that are open.
    open: AtomicUsize,
    draining: AtomicBool,
    /// It has been told that nothing can be waited for any more.
    broken: AtomicBool,
    shortage: Shortage,
    channel: Mutex<Channel>,
    loaded: Mutex<Vec<Loaded>>,
    /// Whose turn it is to answer, by thread.
    turns: Vec<Turn>,
    /// When somebody last got Python's lock just to see whether it is to be had: microseconds since
    /// `started`, by a clock that nobody sets.
    last_turn: AtomicU64,
    started: Instant,
    /// Wakes the main thread when a connection is gone while draining.
    nudge: PipeWriter,
}

/// Connections by their place. One that is being served keeps its place, and leaves it empty.
#[derive(Default)]
struct Waiting {
    places: Vec<Option<Idle>>,
    free: Vec<usize>,
    /// How often one has begun to wait.
    count: u64,
}

/// A connection that waits, and which one it was to begin to.
struct Idle {
    number: u64,
    connection: Box<Connection>,
}

/// Tokens of connections begin here; below are the listeners.
const FIRST: u64 = 64;
const STOP: u64 = u64::MAX;

impl Pool {
    pub(crate) fn new(
        config: GroupConfig,
        host: Host,
        log: Log,
        record: Record<'static>,
        listeners: Vec<UnixListener>,
        channel: Channel,
    ) -> io::Result<(Self, PipeReader)> {
        let (nudged, nudge) = io::pipe()?;
        let recycling = Recycling::new(&config.timers, config.threads);
        let turns: Vec<_> = (0..config.threads).map(|_| Turn::default()).collect();
        let crew = Crew::new(turns.len(), host.is_serial());
        let pool = Self {
            config,
            host,
            log,
            record,
            recycling,
            crew,
            epoll: Epoll::new()?,
            listeners,
            waiting: Mutex::default(),
            open: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            shortage: Shortage::new(),
            channel: Mutex::new(channel),
            loaded: Mutex::default(),
            turns,
            last_turn: AtomicU64::new(0),
            started: Instant::now(),
            nudge,
        };
        Ok((pool, nudged))
    }

    /// Begins to accept.
    pub(crate) fn listen(&self, stop: &PipeReader) -> io::Result<()> {
        self.epoll.add(stop.as_fd(), EPOLLIN, STOP)?;
        for (token, listener) in (0..).zip(&self.listeners) {
            listener.set_nonblocking(true)?;
            self.epoll.add(listener.as_fd(), EPOLLIN | EPOLLONESHOT, token)?;
        }
        Ok(())
    }

    /// Accepts no more, and ends every connection between two requests. To be called again while there
    /// are connections whose first request has not come.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.listeners.iter().for_each(|listener| self.epoll.remove(listener.as_fd()));
        let mut idle = Vec::new();
        for place in &mut self.waiting().places {
            if let Some(waiting) = place.take() {
                if waiting.connection.is_fresh() || waiting.connection.say_good_bye() {
                    // Its event is still to come.
                    *place = Some(waiting);
                } else {
                    idle.push(waiting.connection);
                }
            }
        }
        idle.into_iter().for_each(|connection| self.close(connection));
    }

    /// `deadlock-timeout` in seconds, where it is on.
    pub(crate) fn deadlock_timeout(&self) -> Option<f64> {
        self.config.timers.deadlock_timeout.filter(|seconds| *seconds > 0.0)
    }

    /// How often somebody looks whether Python's lock is to be had.
    pub(crate) fn deadlock_tick(&self) -> Option<Duration> {
        let limit = self.deadlock_timeout()?;
        Some(Duration::from_secs_f64((limit / 10.0).clamp(0.1, 30.0)))
    }

    /// Takes Python's lock and gives it back, and notes that it was to be had.
    pub(crate) fn take_turn(&self) {
        if self.host.probe_gil() {
            let passed = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.last_turn.store(passed, Ordering::Relaxed);
        }
    }

    /// Whether nobody has got Python's lock for `deadlock-timeout`.
    pub(crate) fn is_deadlocked(&self) -> bool {
        let last = Duration::from_micros(self.last_turn.load(Ordering::Relaxed));
        let waited = self.started.elapsed().saturating_sub(last);
        self.deadlock_timeout().is_some_and(|limit| waited.as_secs_f64() > limit)
    }

    /// Answers every request that has no answer yet with `status`; `why` goes to the log.
    pub(crate) fn give_up(&self, status: u16, why: &str) {
        for (thread, _, line) in self.record.busy_threads() {
            if let Some(turn) = self.turns.get(thread) {
                turn.give_up(status, format!("{line}: {why}").as_bytes());
            }
        }
    }

    /// Whether every connection is gone.
    pub(crate) fn is_drained(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0 && self.host.active() == 0
    }

    /// What each of the threads does until [`Pool::listen`]'s `stop` says so.
    pub(crate) fn serve(&self, thread: usize) {
        self.crew.join(thread);
        loop {
            self.crew.rest(thread);
            let event = self.epoll.wait();
            let work = self.crew.work(thread);
            match event {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => self.break_down(&why),
                Ok(STOP) => return,
                Ok(token) if token < FIRST => self.accept(token, thread, &work),
                Ok(token) => {
                    let index = usize::try_from(token - FIRST).unwrap_or(usize::MAX);
                    let taken = self.waiting().places.get_mut(index).and_then(Option::take);
                    if let Some(waiting) = taken {
                        self.converse(waiting.connection, thread, &work);
                    }
                }
            }
            if self.draining.load(Ordering::SeqCst) {
                // A full pipe wakes as well.
                let _ = (&self.nudge).write(&[0]);
            }
        }
    }

    /// Tells the manager something.
    pub(crate) fn tell(&self, report: &Report) {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        // The main thread sees that the manager is gone.
        let _ = channel.send(report);
    }

    /// Asks to be replaced, once.
    pub(crate) fn retire(&self, reason: Reason, detail: String) {
        if self.recycling.ask_once() {
            self.tell(&Report::Replace { reason, detail });
        }
    }

    /// Notes a script that has been loaded.
    pub(crate) fn note_loaded(&self, loaded: Loaded) {
        let mut known = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |other: &&mut Loaded| {
            other.path == loaded.path && other.application_group == loaded.application_group
        };
        match known.iter_mut().find(same) {
            Some(known) if known.callable.is_some() || loaded.callable.is_none() => return,
            // Loaded at the start; now it is known what requests call in it.
            Some(known) => known.callable.clone_from(&loaded.callable),
            None => known.push(loaded.clone()),
        }
        drop(known);
        self.tell(&Report::Loaded(loaded));
    }

    /// Nothing can be waited for any more: the application has closed what is not its own. What its other
    /// threads still hold cannot be trusted either, so the manager is to start another worker at once.
    fn break_down(&self, why: &io::Error) -> ! {
        if !self.broken.swap(true, Ordering::SeqCst) {
            let line = format!(
                "this worker cannot wait for requests any more: {why}; perhaps the application has closed \
                 descriptors that are not its own; it is ended"
            );
            self.log.write(Level::Critical, line.as_bytes());
        }
        posix::exit_now(1)
    }

    fn accept(&self, token: u64, thread: usize, work: &Work<'_>) {
        if self.draining.load(Ordering::SeqCst) {
            return;
        }
        let listener = usize::try_from(token).ok().and_then(|index| self.listeners.get(index));
        let Some(listener) = listener else { return };
        let accepted = listener.accept();
        // It fails when draining began just now.
        let _ = self.epoll.rearm(listener.as_fd(), EPOLLIN | EPOLLONESHOT, token);
        match accepted {
            Ok((stream, _)) => {
                self.open.fetch_add(1, Ordering::SeqCst);
                match self.welcome(self.make_room(stream)) {
                    Some(connection) => {
                        connection.linger();
                        self.converse(connection, thread, work);
                    }
                    None => drop(self.open.fetch_sub(1, Ordering::SeqCst)),
                }
            }
            // Another process was faster.
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) => {
                // A place that somebody keeps without need is enough to go on.
                let freed = fd_limit::is_one(&why) && self.give_up_the_longest_idle();
                self.shortage.complain(&self.log, &why);
                if !freed {
                    // Not to be asked for a thousand times a second.
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    /// Where descriptors get scarce another connection goes for this one.
    fn make_room(&self, stream: UnixStream) -> UnixStream {
        if self.shortage.is_near(stream.as_raw_fd()) && self.give_up_the_longest_idle() {
            self.shortage.warn(&self.log);
            // Takes the number that has become free: the high ones remain the application's.
            return stream.try_clone().unwrap_or(stream);
        }
        stream
    }

    fn welcome(&self, stream: UnixStream) -> Option<Box<Connection>> {
        if let Some(allowed) = &self.config.allowed_uids {
            let peer = posix::peer_uid(stream.as_fd());
            if !peer.as_ref().is_ok_and(|uid| allowed.contains(uid)) {
                let who = peer.map_or_else(|why| why.to_string(), |uid| format!("uid {uid}"));
                let line = format!("a connection was refused: {who} is not allowed to connect");
                self.log.write(Level::Error, line.as_bytes());
                return None;
            }
        }
        let limits = &self.config.limits;
        let sized =
            posix::set_buffers(stream.as_fd(), limits.send_buffer_size, limits.receive_buffer_size);
        if let Err(why) = sized {
            let line = format!("cannot set the buffer sizes of a connection: {why}");
            self.log.write(Level::Warning, line.as_bytes());
        }
        let timeout = self.config.timers.socket_timeout.filter(|seconds| *seconds > 0.0);
        let timeout = timeout.map(Duration::from_secs_f64);
        Connection::new(stream, self.config.threads, timeout).ok().map(Box::new)
    }

    /// Serves what has come on a connection, then lets it wait for more.
    fn converse(&self, connection: Box<Connection>, thread: usize, work: &Work<'_>) {
        let mut current = Some(connection);
        while let Some(mut connection) = current.take() {
            match connection.next_request() {
                Next::Request => {
                    work.goes_on();
                    current = self.answer(connection, thread);
                }
                Next::Nothing => current = self.put_back(connection),
                Next::Closed(why) => {
                    if let Some(why) = why {
                        let line = format!("a connection was closed: {why}");
                        self.log.write(Level::Info, line.as_bytes());
                    }
                    self.close(connection);
                }
            }
        }
    }

    /// Lets a connection wait for its next request; gives it back if there is something to do.
    fn put_back(&self, mut connection: Box<Connection>) -> Option<Box<Connection>> {
        if connection.wire.must_close() {
            self.close(connection);
            return None;
        }
        if !connection.wire.is_idle() {
            return Some(connection);
        }
        let mut waiting = self.waiting();
        if self.draining.load(Ordering::SeqCst) && !connection.is_fresh() {
            drop(waiting);
            if connection.say_good_bye() {
                return Some(connection);
            }
            self.close(connection);
            return None;
        }
        let known = connection.place.is_some();
        let index = connection.place.unwrap_or_else(|| {
            waiting.free.pop().unwrap_or_else(|| {
                waiting.places.push(None);
                waiting.places.len() - 1
            })
        });
        let token = FIRST + index as u64;
        connection.place = Some(index);
        waiting.count += 1;
        let number = waiting.count;
        let watch = if known { Epoll::rearm } else { Epoll::add };
        if let Err(why) = watch(&self.epoll, connection.as_fd(), EPOLLIN | EPOLLONESHOT, token) {
            drop(waiting);
            self.log.write(Level::Error, format!("cannot wait for a connection: {why}").as_bytes());
            self.close(connection);
            return None;
        }
        // Whoever gets the event waits for this lock.
        if let Some(place) = waiting.places.get_mut(index) {
            *place = Some(Idle { number, connection });
        }
        None
    }

    /// Ends the connection that has waited longest between two requests, if there is one.
    fn give_up_the_longest_idle(&self) -> bool {
        let mut waiting = self.waiting();
        let mut idle: Vec<_> = (0..).zip(&waiting.places).filter_map(number_of).collect();
        idle.sort_unstable();
        for (_, index) in idle {
            let Some(place) = waiting.places.get_mut(index) else { continue };
            // Where its good-bye came too late its event is still to come.
            if let Some(oldest) = place.take_if(|idle| !idle.connection.say_good_bye()) {
                drop(waiting);
                self.close(oldest.connection);
                return true;
            }
        }
        false
    }

    fn answer(&self, mut connection: Box<Connection>, thread: usize) -> Option<Box<Connection>> {
        let application = connection.application(&self.config);
        if !application.is_trusted {
            self.log.write(Level::Error, b"a request that does not come from Apache was refused");
            self.close(connection);
            return None;
        }
        let asked = Asked::read(connection.wire.params());
        let time = now();
        let line = [asked.method, b" ", asked.uri];
        self.record.begin(thread, line, time, application.is_activity);
        self.recycling.before_request(time);
        let overdue = self.waited_too_long(asked.queued);
        let facts = Facts {
            wants_body: asked.wants_body,
            mounted_at_root: self.config.application.is_some(),
            log_level: application.log_level.unwrap_or(self.config.log_level),
        };
        let _ended = Ended { pool: self, thread, is_activity: application.is_activity };
        let release = |connection, complete| {
            if complete {
                return self.put_back(connection);
            }
            self.close(connection);
            None
        };
        let turn = self.turns.get(thread)?;
        let shared = Arc::clone(&application);
        let mut exchange =
            FastCgiExchange::new(connection, shared, facts, &self.log, turn, &release);
        if overdue {
            self.log.write(Level::Warning, b"a request waited longer than queue-timeout; 504");
            exchange.fail(504);
            return exchange.into_connection();
        }
        let modified = application.modified();
        // Most requests are for what has been served before.
        let news = (!self.is_current(&application, modified)).then(|| {
            let path = Path::new(OsStr::from_bytes(&application.script)).to_owned();
            let group = self.group_of(&application);
            Loaded {
                application_group: String::from_utf8_lossy(group).into_owned(),
                // The web server may have looked at it long ago: the body came after that.
                modified: modified.map(|then| file_time::modified(&path).unwrap_or(then)),
                callable: Some(String::from_utf8_lossy(&application.callable).into_owned()),
                path,
            }
        });
        let is_loaded =
            news.as_ref().is_none_or(|news| self.is_loaded(news, application.reloading));
        let target = Target {
            script: ScriptFile {
                path: &application.script,
                modified,
                // A worker that has it is replaced, not loaded anew: then other modules are new too.
                reloading: application.reloading && !is_loaded,
                case_sensitive: self.config.python.case_sensitive,
            },
            callable: &application.callable,
            application_group: &application.application_group,
            main_interpreter: self.config.main_interpreter(),
        };
        match self.host.serve(&target, &mut exchange) {
            Served::Failed(status) => exchange.fail(status),
            Served::Done => {
                if let Some(news) = news {
                    self.recycling.loaded();
                    self.note_loaded(news);
                }
            }
        }
        exchange.into_connection()
    }

    /// The application group whose interpreter has the script.
    fn group_of<'a>(&self, application: &'a Application) -> &'a [u8] {
        if self.config.main_interpreter() { &[] } else { &application.application_group }
    }

    /// Whether this worker has the script in the state that is asked for, and has told so.
    fn is_current(&self, asked: &Application, modified: Option<i64>) -> bool {
        let known = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().any(|known| {
            known.callable.is_some()
                && known.path.as_os_str().as_bytes() == asked.script
                && known.application_group.as_bytes() == self.group_of(asked)
                && (!asked.reloading || modified.is_none() || known.modified == modified)
        })
    }

    /// Whether this worker has the script. If it has another state of it, the manager hears of it.
    fn is_loaded(&self, asked: &Loaded, reloading: bool) -> bool {
        let mut known = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |other: &&mut Loaded| {
            other.path == asked.path && other.application_group == asked.application_group
        };
        let Some(known) = known.iter_mut().find(same) else { return false };
        if reloading && known.modified != asked.modified && asked.modified.is_some() {
            // Once for each state of the file.
            known.modified = asked.modified;
            self.tell(&Report::Stale(asked.clone()));
        }
        true
    }

    fn waited_too_long(&self, queued: Option<i64>) -> bool {
        let (Some(limit), Some(queued)) = (self.config.timers.queue_timeout, queued) else {
            return false;
        };
        let waited = || wsgi::epoch_micros().saturating_sub(queued);
        limit > 0.0 && queued > 0 && waited() as f64 > limit * 1e6
    }

    fn close(&self, connection: Box<Connection>) {
        self.epoll.remove(connection.as_fd());
        if let Some(place) = connection.place {
            self.waiting().free.push(place);
        }
        connection.close();
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its turn and its place, where it is between two requests.
fn number_of((index, place): (usize, &Option<Idle>)) -> Option<(u64, usize)> {
    place.as_ref().filter(|idle| !idle.connection.is_fresh()).map(|idle| (idle.number, index))
}

/// A request is over, however it ends.
struct Ended<'a> {
    pool: &'a Pool,
    thread: usize,
    is_activity: bool,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if forks::is_one() {
            // The request, its line on the scoreboard and its answer are the worker's.
            posix::exit_now(0);
        }
        let served = self.pool.record.end(self.thread, now(), self.is_activity);
        if let Some((reason, detail)) = self.pool.recycling.after_request(served, &self.pool.record)
        {
            self.pool.retire(reason, detail);
        }
    }
}
