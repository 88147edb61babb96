//! What each thread of a worker does: it waits for an event, accepts a connection or takes an idle one, and
//! answers the requests that come on it.
#![forbid(unsafe_code)]

use crate::message::{Loaded, Report};
use crate::probe::{HttpCheck, Probe};
use crate::time_limit;
use crate::worker::connection::{Connection, Next};
use crate::worker::connections::Wakeup;
use crate::worker::error_response::cause_of;
use crate::worker::exchange::{FastCgiExchange, RequestInfo};
use crate::worker::file_version;
use crate::worker::loaded_scripts::{Held, InUse};
use crate::worker::pool::Pool;
use crate::worker::scheduler::BusyGuard;
use crate::worker::siblings::script_number;
use crate::worker::target::{Application, RequestParams};
use fastcgi::WireError;
use fastcgi::app_status::{self, Cause, NotLoaded, StatusOnly};
use host::{Reloading, Replacement, ScriptFile, Served, Target};
use scoreboard::{Field, now};
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use wsgi::{Exchange, FileVersion, Level};

/// Which code a request is to be served by (`WSGIScriptReloading`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WantedCode {
    /// The worker's, whatever it is.
    Any,
    /// That of the file: it waits for a worker that has it.
    New,
    /// The worker's, which has been started for the request.
    This,
}

/// What a request gets that has waited longer than queue-timeout.
pub(super) const QUEUE_TIMEOUT: StatusOnly = StatusOnly { status: 504, cause: Cause::QueueTimeout };
/// The line about it.
pub(super) const QUEUE_TIMEOUT_LINE: &[u8] =
    b"WSGI0243: the request waited longer than queue-timeout [QT]";

/// What a worker has of the script of a request.
struct ScriptState {
    /// The version of the file that the request came for.
    modified: Option<FileVersion>,
    /// `None` where it has not been served in that version.
    in_use: Option<InUse>,
    /// What the worker will have loaded then, where it has not been served.
    newly_loaded: Option<Loaded>,
    held: Held,
}

impl ScriptState {
    /// The script, where the worker has nothing of it.
    fn missing(&self) -> Option<&Loaded> {
        self.newly_loaded.as_ref().filter(|_| self.held == Held::Missing)
    }
}

/// A request that this worker may answer without its application.
pub(super) trait Unserved {
    /// Sends an error response.
    fn fail(&mut self, only: StatusOnly);
    /// Gives the request back to Apache's child, which sends it to another worker; `app_status` says why.
    fn give_back(&mut self, app_status: u32);
}

impl Unserved for FastCgiExchange<'_> {
    fn fail(&mut self, only: StatusOnly) {
        FastCgiExchange::fail(self, only);
    }

    fn give_back(&mut self, app_status: u32) {
        FastCgiExchange::give_back(self, app_status);
    }
}

/// A request that has begun.
pub(super) struct Admitted {
    pub(super) application: Arc<Application>,
    pub(super) wants_body: bool,
    pub(super) wants: WantedCode,
    /// It has waited longer than queue-timeout.
    pub(super) is_overdue: bool,
    /// The answer to a question about the daemon's health, which no application sees.
    pub(super) health: Option<StatusOnly>,
    /// The client asks for a WebSocket.
    pub(super) is_websocket: bool,
    /// The web server reads the body once the application asks for it.
    pub(super) is_body_withheld: bool,
    /// The client may get early hints.
    pub(super) takes_early_hints: bool,
}

impl Pool {
    /// What thread number `thread` does until [`Pool::listen`]'s `stop` is readable.
    pub(crate) fn serve(&self, thread: usize) {
        self.scheduler.register(thread);
        loop {
            self.scheduler.park(thread);
            let event = self.connections.wait();
            let busy = self.scheduler.begin_work(thread);
            match event {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => self.fail_fatally(&why),
                Ok(Wakeup::Stop) => return,
                Ok(Wakeup::Timer) => self.connections.close_late(&self.log),
                Ok(Wakeup::Accept) => self.acceptor.resume(&self.connections),
                Ok(Wakeup::Listener(index)) => self.accept(index, thread, &busy),
                Ok(Wakeup::Connection(place)) => {
                    if let Some(connection) = self.connections.take(place) {
                        self.serve_connection(connection, thread, &busy);
                    }
                }
            }
            if self.connections.is_draining() {
                self.wake_main_thread();
            }
        }
    }

    /// No event can be waited for any more: the application has closed the epoll instance. What its threads
    /// still hold may be closed as well, so the worker ends, and the manager starts another one at once.
    pub(super) fn fail_fatally(&self, why: &io::Error) -> ! {
        if !self.is_broken.swap(true, Ordering::SeqCst) {
            let line = format!(
                "this worker cannot wait for requests any more: {why}; perhaps the application has closed \
                 descriptors that are not its own; terminating it"
            );
            self.log.write(Level::Critical, line.as_bytes());
        }
        sys::exit_now(1)
    }

    fn accept(&self, listener: usize, thread: usize, busy: &BusyGuard<'_>) {
        if self.connections.is_draining() {
            return;
        }
        let accepted = self.acceptor.accept(listener, &self.connections, &self.config, &self.log);
        if let Some(connection) = accepted.connection() {
            connection.wait_for_first_bytes();
            self.serve_connection(connection, thread, busy);
        }
    }

    /// Serves what has come on a connection, then leaves it idle.
    fn serve_connection(&self, connection: Box<Connection>, thread: usize, busy: &BusyGuard<'_>) {
        let mut current = Some(connection);
        while let Some(mut connection) = current.take() {
            match connection.next_request() {
                Next::Request => {
                    busy.next_item();
                    current = self.answer(connection, thread);
                }
                Next::Nothing => current = self.connections.put_back(connection, &self.log),
                Next::TooSlow => self.connections.close_too_slow(connection, &self.log),
                Next::Closed(why) => self.end_connection(connection, why),
            }
        }
    }

    /// Records that a request has begun which has come on a connection and has this place; `None` where it is not from
    /// the web server of the group. What is overdue is to be answered with 504. A question about the daemon's health needs no
    /// secret: no load balancer can send one with its checks.
    pub(super) fn admit(&self, connection: &mut Connection, place: usize) -> Option<Admitted> {
        let application = connection.application(&self.config);
        let params = RequestParams::read(connection.wire.params(), connection.is_remote());
        let health = params.probe.and_then(|probe| self.health(probe));
        if !application.is_trusted && health.is_none() {
            self.rejections.write(&self.log, Level::Error, || {
                let peer = connection.peer();
                format!("rejected a request without the group's secret, which {peer} has sent")
            });
            return None;
        }
        let time = now();
        let line = [params.method, b" ", params.uri];
        self.record.begin(place, line, time, application.is_activity);
        self.recycling.before_request(time);
        let queue_time = queue_time(params.queued);
        let wants = self.wanted_code(&application, params.waiting_since);
        let RequestParams { wants_body, is_websocket, .. } = params;
        let RequestParams { is_body_withheld, takes_early_hints, .. } = params;
        connection.queue_time = queue_time;
        let limit = time_limit::enabled(self.config.timers.queue_timeout);
        let is_overdue = limit.is_some_and(|limit| Duration::from_micros(queue_time) > limit);
        Some(Admitted {
            application,
            wants_body,
            wants,
            is_overdue,
            health,
            is_websocket,
            is_body_withheld,
            takes_early_hints,
        })
    }

    /// Ends a connection whose web server has closed it, or has sent what is not FastCGI: a health check in HTTP is
    /// answered, because that is all that some load balancers can send to the port that they use.
    #[cold]
    pub(super) fn end_connection(&self, connection: Box<Connection>, why: Option<WireError>) {
        if let Some(why) = why
            && !self.answers_http(&connection)
        {
            let line = format!("a connection was closed: {why}");
            self.log.write(Level::Info, line.as_bytes());
        }
        self.connections.close(connection);
    }

    /// Answers a health check in HTTP that has come on a connection whole; whether it is one.
    fn answers_http(&self, connection: &Connection) -> bool {
        let Some(check) = HttpCheck::read(connection.wire.unread()) else { return false };
        let Some(answer) = self.health(check.probe) else { return false };
        // What does not fit in the buffer of a new connection has no reader.
        connection.send_now(&[IoSlice::new(&check.answer(answer.status))]).is_ok()
    }

    /// The answer to a question about the daemon's health; `None` where that is a path of the application's.
    fn health(&self, probe: Probe) -> Option<StatusOnly> {
        self.config.front_ends().filter(|it| it.answers_probes)?;
        let is_unwanted = probe == Probe::Ready && self.board.is_draining();
        let status = if is_unwanted { 503 } else { 200 };
        Some(StatusOnly { status, cause: Cause::Stopping })
    }

    /// Answers the request that has come on a connection; gives the connection back if there is more to do on it
    /// at once.
    fn answer(&self, mut connection: Box<Connection>, thread: usize) -> Option<Box<Connection>> {
        let Some(admitted) = self.admit(&mut connection, thread) else {
            self.connections.close(connection);
            return None;
        };
        let Admitted { application, wants, is_overdue, health, .. } = admitted;
        let info = RequestInfo {
            wants_body: admitted.wants_body,
            is_body_withheld: admitted.is_body_withheld,
            front_ends: self.config.front_ends(),
            log_threshold: self.log.threshold_of_request(application.log_level),
            long_heads: &self.long_heads,
        };
        let _guard = RequestGuard { pool: self, thread, is_activity: application.is_activity };
        let release = |connection, complete| {
            if complete {
                return self.connections.put_back(connection, &self.log);
            }
            self.connections.close(connection);
            None
        };
        let claim = self.claims.get(thread)?;
        let shared = Arc::clone(&application);
        let mut exchange =
            FastCgiExchange::new(connection, shared, info, &self.log, claim, &release);
        if let Some(health) = health {
            exchange.fail(health);
        } else if is_overdue {
            exchange.log(Level::Error, QUEUE_TIMEOUT_LINE);
            exchange.fail(QUEUE_TIMEOUT);
        } else {
            self.run_application(&application, wants, &mut exchange, |target, exchange| {
                self.host.serve(target, exchange)
            });
        }
        exchange.into_connection()
    }

    /// Notes that the request of a thread is over, and has the worker replaced where it has reached a limit.
    pub(super) fn note_end(&self, thread: usize, is_activity: bool) {
        let Self { record, recycling, manager, .. } = self;
        let served = record.end(thread, now(), is_activity);
        if let Some((reason, detail)) = recycling.after_request(served, record) {
            manager.request_replacement(reason, detail);
        }
    }

    /// Which code a request wants that may wait for a worker `since` then.
    fn wanted_code(&self, application: &Application, since: Option<u64>) -> WantedCode {
        match since.filter(|_| application.from_module && application.reloading) {
            // This worker started while the request waited: there is none with newer code.
            Some(since) if since > 0 && self.record.get(Field::Started) > since => WantedCode::This,
            Some(_) => WantedCode::New,
            None => WantedCode::Any,
        }
    }

    /// Has `serve` have the application answer the request, or gives it back: where it `wants` new code and this worker has old, and
    /// where this worker cannot load the script and another one has it.
    pub(super) fn run_application<E: Unserved>(
        &self,
        application: &Application,
        wants: WantedCode,
        exchange: &mut E,
        serve: impl FnOnce(&Target<'_>, &mut E) -> Served,
    ) {
        let script = self.examine(application);
        let has_old_code = matches!(script.held, Held::Stale | Held::Outdated);
        if has_old_code && wants == WantedCode::New {
            return exchange.give_back(app_status::OUTDATED);
        }
        let elsewhere = script
            .missing()
            .filter(|it| application.tries_others && self.siblings.have(script_number(it)));
        if let Some(missing) = elsewhere
            && let Some(status) = self.failed_loads.pending(missing, Instant::now())
        {
            return exchange.give_back(not_loaded(missing, status));
        }
        let replacement = Replacement::new(wants == WantedCode::New);
        let asks = application.reloading && wants != WantedCode::This;
        let target = self.target(application, &script, &replacement, asks);
        let target = Target { is_elsewhere: elsewhere.is_some(), ..target };
        let served = serve(&target, exchange);
        end_in_forked_child();
        let (wanted, loaded) = versions(script.newly_loaded.as_ref(), &replacement);
        if replacement.is_requested() {
            self.request_replacement(application, loaded.clone(), wanted);
        }
        match served {
            Served::Failed(status) => {
                exchange.fail(StatusOnly { status, cause: cause_of(status) });
            }
            Served::LoadFailed(status) => {
                exchange.fail(StatusOnly { status, cause: Cause::Load });
            }
            Served::GivenBack => exchange.give_back(app_status::OUTDATED),
            Served::NotLoaded(status) => match elsewhere {
                Some(missing) => {
                    self.failed_loads.note(missing, status, Instant::now());
                    exchange.give_back(not_loaded(missing, status));
                }
                None => exchange.fail(StatusOnly { status, cause: Cause::Load }),
            },
            Served::Done => {
                if let Some(loaded) = loaded.filter(|_| script.held != Held::Outdated) {
                    self.recycling.loaded();
                    self.note_loaded(loaded);
                }
            }
        }
    }

    /// What this worker has of the application's script. A version that is found stale for the first time is reported.
    fn examine(&self, application: &Application) -> ScriptState {
        let modified = application.modified();
        // Most requests are for what has been served before.
        let in_use = self.in_use(application, modified);
        let newly_loaded = in_use.is_none().then(|| self.newly_loaded(application, modified));
        let held = newly_loaded
            .as_ref()
            .map_or(Held::Loaded, |wanted| self.loaded.find(wanted, application.reloading));
        if let (Held::Stale, Some(stale)) = (held, &newly_loaded) {
            self.manager.report(&Report::Stale(stale.clone()));
        }
        ScriptState { modified, in_use, newly_loaded, held }
    }

    /// The application as Python is to serve it. `asks`: a script that has been served may ask for its reload.
    fn target<'a>(
        &self,
        application: &'a Application,
        script: &ScriptState,
        replacement: &'a Replacement,
        asks: bool,
    ) -> Target<'a> {
        let may_ask = asks && script.in_use.is_some_and(|script| script.may_ask_for_reload);
        // Another thread may be loading the script, or have loaded it and not noted that yet.
        let may_load = application.reloading && script.missing().is_some();
        let newly_loaded = script.newly_loaded.as_ref();
        Target {
            script: ScriptFile {
                path: &application.script,
                modified: newly_loaded.map_or(script.modified, |wanted| wanted.modified),
                // A worker that has the script is replaced, not made to load it again: other modules that have
                // changed are imported anew then, too.
                reloading: if may_load { Reloading::ByReplacement } else { Reloading::Never },
                case_sensitive: self.config.python.case_sensitive,
                replacement: (may_ask || may_load).then_some(replacement),
            },
            callable: &application.callable,
            application_group: &application.application_group,
            main_interpreter: self.config.main_interpreter(),
            is_elsewhere: false,
        }
    }

    /// Has this worker replaced: its script has changed to the version `wanted`, or has asked for its reload. `loaded`:
    /// what has been loaded of it, where that had not been noted.
    fn request_replacement(
        &self,
        application: &Application,
        loaded: Option<Loaded>,
        wanted: Option<FileVersion>,
    ) {
        if let Some(loaded) = loaded {
            // The request that has loaded it may still be running.
            self.note_loaded(loaded);
        }
        let group = self.own_group(application);
        if let Some(outdated) = self.loaded.mark_outdated(&application.script, group, wanted) {
            self.manager.report(&Report::Stale(outdated));
        }
    }

    /// The application group in which this worker has the application.
    fn own_group<'a>(&self, application: &'a Application) -> &'a [u8] {
        if self.config.main_interpreter() { b"" } else { &application.application_group }
    }

    /// The application's script, where it has been served in the state `modified` of its file.
    fn in_use(&self, application: &Application, modified: Option<FileVersion>) -> Option<InUse> {
        let state = modified.filter(|_| application.reloading);
        self.loaded.current(&application.script, self.own_group(application), state)
    }

    /// What this worker will have loaded when it has served the application, in the state `modified` of the file.
    fn newly_loaded(&self, application: &Application, modified: Option<FileVersion>) -> Loaded {
        let group = self.own_group(application);
        let path = Path::new(OsStr::from_bytes(&application.script)).to_owned();
        Loaded {
            application_group: String::from_utf8_lossy(group).into_owned(),
            // The web server may have looked at the file long ago: the body of the request came after that.
            modified: modified.map(|then| file_version::version(&path).unwrap_or(then)),
            callable: Some(String::from_utf8_lossy(&application.callable).into_owned()),
            path,
        }
    }
}

/// How long a request has waited, in microseconds. `queued`: when the web server began to look for a worker, in
/// microseconds since the epoch; 0 or none: unknown.
fn queue_time(queued: Option<i64>) -> u64 {
    let queued = queued.filter(|queued| *queued > 0);
    queued.map_or(0, |then| u64::try_from(wsgi::epoch_micros().saturating_sub(then)).unwrap_or(0))
}

/// Of a script that this worker had not noted as loaded: the version that a request came for, and what has been
/// loaded, which need not be that one.
fn versions(
    newly_loaded: Option<&Loaded>,
    replacement: &Replacement,
) -> (Option<FileVersion>, Option<Loaded>) {
    let wanted = newly_loaded.and_then(|wanted| wanted.modified);
    let loaded = newly_loaded.map(|wanted| Loaded {
        modified: replacement.loaded_version().unwrap_or(wanted.modified),
        ..wanted.clone()
    });
    (wanted, loaded)
}

/// Has another worker serve a request whose script cannot be loaded here, or the client get `status`.
fn not_loaded(script: &Loaded, status: u16) -> u32 {
    NotLoaded { status, script: script_number(script) }.to_wire()
}

/// Ends a process that the application has forked and that has returned from the application. The request, its line
/// on the scoreboard and its answer belong to the worker, and another thread of the worker may have had any of its
/// locks when it forked: nothing may be locked before this.
pub(super) fn end_in_forked_child() {
    if sys::in_forked_child() {
        sys::exit_now(0);
    }
}

/// A request is over when this is dropped, however it ends.
struct RequestGuard<'a> {
    pool: &'a Pool,
    thread: usize,
    is_activity: bool,
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        end_in_forked_child();
        self.pool.note_end(self.thread, self.is_activity);
    }
}
