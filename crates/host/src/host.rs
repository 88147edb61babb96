//! One process' Python: started once, serving from any thread, stopped once.
#![forbid(unsafe_code)]

use crate::cpython::{
    Attachment, PythonConfig, Result, Shelf, ThreadState, end_interpreter, finalize, initialize,
};
use crate::failure;
use crate::gateway::consult::{Answer, Question, Unanswered, consult};
use crate::gateway::current;
use crate::gateway::serve::serve;
use crate::gateway::target::{Served, Target};
use crate::interpreters::interpreter::{Interpreter, Interpreters, is_attached};
use crate::interpreters::load::preload;
use crate::interpreters::modes::Modes;
use crate::interpreters::state::Room;
use crate::interpreters::yielding::Yielding;
use crate::log::{ServerLog, SharedLog};
use crate::observe::activity::Activity;
use crate::observe::events::{Event, Subscribers};
use crate::observe::slow::SlowWatch;
use crate::observe::thread_id::thread_id;
use crate::options::HostOptions;
use crate::telemetry::{Reporter, SlowRecords};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use wsgi::{Exchange, Level};

/// The Python side of this process.
pub struct Host {
    pub(crate) options: HostOptions,
    pub(crate) modes: Modes,
    pub(crate) log: SharedLog,
    pub(crate) activity: Arc<Activity>,
    /// Started by the first request: a thread does not survive the fork of a process that preloads.
    slow: OnceLock<SlowWatch>,
    reporter: OnceLock<Reporter>,
    pub(crate) main: Arc<Interpreter>,
    /// By application group; the empty name is the main interpreter.
    interpreters: Interpreters,
    creating: Mutex<()>,
    /// Requests being served.
    active: AtomicUsize,
    /// Python is being finalised or is gone.
    stopping: AtomicBool,
    /// The group whose application runs in the main interpreter by design decision D5.
    adopted: Mutex<Option<Box<[u8]>>>,
}

/// Why Python did not start.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// The interpreter this crate was built for, as a path.
pub const BUILT_FOR: &str = env!("HOST_PYTHON_EXECUTABLE");
/// Its version, such as `3.11`.
pub const PYTHON_VERSION: &str = env!("HOST_PYTHON_VERSION");

impl Host {
    /// Starts Python in this process. The calling thread is Python's main thread and has to be the
    /// one that calls [`Host::stop`].
    ///
    /// # Errors
    /// When CPython does not start, or the main interpreter cannot be prepared.
    pub fn start(
        options: HostOptions,
        log: Arc<dyn ServerLog>,
    ) -> std::result::Result<Self, StartError> {
        thread_id();
        let modes = Modes::decide(&options, &log);
        let (program_name, home) = installation(options.python_home.as_deref());
        let config = PythonConfig {
            program_name,
            home,
            write_bytecode: options.write_bytecode,
            optimization_level: options.optimize,
            warnings: options.warnings.clone(),
            free_threading: modes.free_threading,
            hash_seed: options.hash_seed,
        };
        let seat = initialize(&config).map_err(|why| StartError(why.to_string()))?;
        let activity = Arc::new(Activity::new(false));
        let room = prepare(seat, "", &options, modes, &activity, &log)
            .ok_or_else(|| StartError("the main interpreter cannot be prepared".to_owned()))?;
        let main = Arc::new(Interpreter::new(String::new(), 0, seat, room));
        let interpreters = HashMap::from([(Box::default(), Arc::clone(&main))]);
        Ok(Self {
            options,
            modes,
            log,
            activity,
            slow: OnceLock::new(),
            reporter: OnceLock::new(),
            main,
            interpreters: Arc::new(RwLock::new(interpreters)),
            creating: Mutex::default(),
            active: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            adopted: Mutex::default(),
        })
    }

    /// Begins to report to the telemetry service, where the configuration names one: once, in the process
    /// that serves, because the thread that does it survives no fork.
    pub fn report(&self) {
        let Some(telemetry) = &self.options.telemetry else { return };
        if let Some(limit) = self.options.slow_requests {
            let threads = self.options.threads_per_process;
            let user_agent = telemetry.capture_user_agent;
            let records = SlowRecords::new(limit, telemetry.interval, threads, user_agent);
            self.activity.keep_slow_records(records);
        }
        let (activity, interpreters) = (&self.activity, &self.interpreters);
        let reporter = Reporter::start(&self.options, telemetry, activity, interpreters, &self.log);
        if let Some(reporter) = reporter {
            // A second one would only be stopped again.
            let _ = self.reporter.set(reporter);
        }
    }

    /// Reports that this process is to stop, and why.
    pub fn report_stopping(&self, reason: &str) {
        if let Some(reporter) = self.reporter.get() {
            reporter.stopping(reason, self.active());
        }
    }

    /// Reports that this process ends although it has not stopped.
    pub fn report_end(&self, reason: &str) {
        if let Some(reporter) = self.reporter.get() {
            reporter.stopped(reason, false, self.active());
        }
    }

    /// Serves one request. The calling thread must not hold any interpreter.
    pub fn serve(&self, target: &Target<'_>, exchange: &mut dyn Exchange) -> Served {
        let Some(_active) = self.enter() else { return Served::Failed(503) };
        let found = self.interpreter(target.application_group, target.main_interpreter);
        let Some(interpreter) = found else {
            let group = String::from_utf8_lossy(target.application_group);
            let line =
                format!("WSGI0087: cannot create an interpreter for application group '{group}'");
            exchange.log(Level::Error, line.as_bytes());
            return Served::Failed(500);
        };
        let group = &self.options.process_group;
        if let Some(limit) = self.options.slow_requests {
            self.slow.get_or_init(|| SlowWatch::start(limit, &self.activity, &self.log));
        }
        let may_be_slow = self.options.slow_requests.is_some() || self.options.interruptible;
        serve(&interpreter, group, target, exchange, &self.activity, may_be_slow)
    }

    /// The calling thread, which has served and made no interpreter, will not serve again. What Python keeps for
    /// it goes.
    pub fn leave(&self) {
        let all: Vec<_> = self.table().values().map(Arc::clone).collect();
        all.iter().for_each(|interpreter| interpreter.leave());
        self.activity.leave();
    }

    /// Asks one of the server's own scripts about a request. The calling thread must not hold any
    /// interpreter.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn consult(
        &self,
        question: &Question<'_>,
        exchange: &mut dyn Exchange,
    ) -> std::result::Result<Vec<Option<Answer>>, Unanswered> {
        let _active = self.enter().ok_or(Unanswered::Interpreter)?;
        let interpreter = self.interpreter(question.application_group, false);
        let interpreter = interpreter.ok_or(Unanswered::Interpreter)?;
        consult(&interpreter, &self.options.process_group, question, exchange)
    }

    /// Keeps Python from being finalised as long as the guard lives; `None` once it is being.
    pub(crate) fn enter(&self) -> Option<Active<'_>> {
        // Counted before looking, as `stop` says that it stops before it counts: one of them sees the
        // other.
        self.active.fetch_add(1, Ordering::SeqCst);
        let active = Active(&self.active);
        (!self.stopping.load(Ordering::SeqCst)).then_some(active)
    }

    /// Loads a script before the first request needs it, as that request would; what goes wrong is
    /// logged, and tried again then. Says whether it is loaded.
    pub fn preload(&self, target: &Target<'_>) -> bool {
        let found = self.interpreter(target.application_group, target.main_interpreter);
        found.is_some_and(|interpreter| {
            preload(&interpreter, &self.options.process_group, target, &*self.log)
        })
    }

    /// Tells the applications of a signal this process got (`process_signal`). Runs their callbacks.
    pub fn signal(&self, name: &str, number: i32) {
        for interpreter in self.listening() {
            let Some(attachment) = interpreter.attach() else { continue };
            let py = attachment.py();
            let subscribers = &interpreter.room.subscribers;
            let event = Event::new(py, "process_signal").and_then(|event| {
                event.put("signame", &py.str(name)?)?;
                event.put("signum", &py.int(number.into())?).map(|()| event)
            });
            self.tell(subscribers, &subscribers.signals, event);
        }
    }

    /// The interpreters in which somebody has subscribed to something.
    fn listening(&self) -> Vec<Arc<Interpreter>> {
        let listens = |interpreter: &&Arc<Interpreter>| interpreter.room.subscribers.any();
        self.table().values().filter(listens).map(Arc::clone).collect()
    }

    /// Whether all of Python in this process runs under one lock.
    pub fn is_serial(&self) -> bool {
        let own = |own| self.modes.own_gil(own);
        !self.modes.free_threading && !self.options.interpreters().any(own)
    }

    /// How many requests are being served.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    /// Tells the applications that the process stops, and why. Then ends the interpreters and finalises
    /// Python: `threading` shutdown and `atexit` of each sub-interpreter, then of the main one. Leaves
    /// Python as it is while requests are being served (their threads could not survive it) and where
    /// the configuration says so.
    ///
    /// The calling thread may be in the middle of a request (prefork ends its children in a signal handler). If
    /// it is in Python code then, that holds the lock and will not go on: applications cannot be told.
    pub fn stop(&self, reason: &str) {
        if is_attached() {
            self.log.log(
                Level::Info,
                b"a request is in Python code; applications are not told of the end",
            );
            return self.report_end(reason);
        }
        current::forget();
        let Some(reporter) = self.reporter.get() else { return self.stop_python(reason) };
        reporter.stopping(reason, self.active());
        let active = self.active();
        // It has to be let in, too.
        let yielding = (active == 0).then(|| Yielding::of(self.table().values()));
        reporter.finish(active == 0);
        if let Some(yielding) = yielding {
            yielding.leave_all();
        }
        self.stop_python(reason);
        reporter.stopped(reason, active == 0, active);
    }

    fn stop_python(&self, reason: &str) {
        if let Some(slow) = self.slow.get() {
            slow.stop(self.active() == 0);
        }
        if !self.options.destroy_interpreters {
            self.say_stopping(reason);
            return;
        }
        self.stopping.store(true, Ordering::SeqCst);
        if self.active() > 0 {
            self.say_stopping(reason);
            self.log.log(Level::Info, b"requests are still being served; Python is not finalised");
            return;
        }
        let Some(main) = self.main.seat() else { return };
        self.say_stopping(reason);
        let all = std::mem::take(&mut *self.table_mut());
        let mut yielding = Yielding::of(all.values());
        let mut finalisable = true;
        for interpreter in all.into_values() {
            if !Arc::ptr_eq(&interpreter, &self.main) {
                finalisable &= self.end(&interpreter, main, &mut yielding);
            }
        }
        if finalisable {
            self.log.log(Level::Debug, b"finalising Python");
            yielding.leave(&self.main);
            finalize(main);
        } else {
            // Threads that cannot be ended still use the runtime; only say good-bye.
            let attachment = main.attach();
            self.good_bye(&attachment, "");
        }
    }

    /// `process_stopping`, in every interpreter in which somebody wants to hear it.
    fn say_stopping(&self, reason: &str) {
        let listening = self.listening();
        // They have to be let in, too.
        let yielding = (!listening.is_empty()).then(|| Yielding::of(self.table().values()));
        for interpreter in listening {
            let Some(attachment) = interpreter.attach() else { continue };
            let py = attachment.py();
            let subscribers = &interpreter.room.subscribers;
            let event = Event::new(py, "process_stopping")
                .and_then(|event| event.put("shutdown_reason", &py.str(reason)?).map(|()| event));
            self.tell(subscribers, &subscribers.shutdown, event);
        }
        if let Some(yielding) = yielding {
            yielding.leave_all();
        }
    }

    /// Publishes an event of the process.
    fn tell<'py>(
        &self,
        subscribers: &Subscribers,
        special: &Shelf,
        event: Result<'py, Event<'py>>,
    ) {
        match event {
            Ok(event) => subscribers.publish(Some(special), &event, &mut |level, line| {
                self.log.log(level, line.as_bytes());
            }),
            Err(raised) => {
                let exception = raised.take();
                self.log
                    .log(Level::Error, b"WSGI0104: an event of the process cannot be published");
                failure::traceback(&exception, &mut |level, line| {
                    self.log.log(level, line.as_bytes());
                });
            }
        }
    }

    /// Ends one sub-interpreter; says whether it is gone.
    fn end(
        &self,
        interpreter: &Arc<Interpreter>,
        main: ThreadState,
        yielding: &mut Yielding,
    ) -> bool {
        let Some(seat) = interpreter.seat() else { return false };
        let attachment = seat.attach();
        // First: threading waits for the thread it takes for its main one, which is the one that
        // created the interpreter, and that one's end is the end of its seat.
        for other in interpreter.take_other_seats() {
            other.give_up(&attachment);
        }
        self.good_bye(&attachment, &interpreter.name);
        drop(attachment);
        yielding.leave(interpreter);
        let attachment = seat.attach();
        let company = seat.has_company(&attachment);
        drop(attachment);
        if company {
            let line = format!(
                "daemon threads are still running in sub-interpreter '{}'; it is not destroyed",
                interpreter.name
            );
            self.log.log(Level::Info, line.as_bytes());
            yielding.enter(interpreter);
            return false;
        }
        end_interpreter(seat, main);
        true
    }

    /// What CPython does first when an interpreter ends, done by hand to see afterwards whether
    /// daemon threads are left, which it would take for a fatal error: wait for the other threads of
    /// `threading`, then run `atexit`.
    fn good_bye(&self, attachment: &Attachment, name: &str) {
        let py = attachment.py();
        let steps = || {
            let threading = py.import(c"threading")?;
            threading.call_method(c"_shutdown", [])?;
            // It must not be called again by CPython: it asserts that it is the first time.
            let nothing = py.import(c"builtins")?.attribute(c"bool")?;
            threading.set_attribute(c"_shutdown", &nothing)?;
            py.import(c"atexit")?.call_method(c"_run_exitfuncs", [])?;
            if self.options.interpreter(name).restrict_stdout {
                // CPython flushes it at the end, and would complain that it cannot.
                py.set_sys(c"stdout", &py.none())?;
            }
            Ok(())
        };
        if let Err(raised) = steps() {
            let raised: crate::cpython::Raised<'_> = raised;
            let exception = raised.take();
            self.log
                .log(Level::Error, b"WSGI0098: exception raised while an interpreter was ended");
            failure::traceback(&exception, &mut |level, line| self.log.log(level, line.as_bytes()));
        }
    }

    /// The interpreter of an application group, made now if need be; `main` is whether the group has
    /// the main one.
    pub(crate) fn interpreter(&self, group: &[u8], main: bool) -> Option<Arc<Interpreter>> {
        if main || group.is_empty() {
            self.adopt(group);
            return Some(Arc::clone(&self.main));
        }
        if let Some(known) = self.table().get(group) {
            return Some(Arc::clone(known));
        }
        let _creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.table().get(group).map(Arc::clone);
        known.or_else(|| self.create(group))
    }

    fn create(&self, group: &[u8]) -> Option<Arc<Interpreter>> {
        let name = String::from_utf8_lossy(group).into_owned();
        let place =
            failure::Place { application_group: &name, process_group: &self.options.process_group };
        let own_gil = self.modes.own_gil(self.options.interpreter(&name));
        let with = if own_gil { " with own GIL" } else { "" };
        self.log.log(Level::Info, format!("Creating {place}{with}.").as_bytes());
        let main = self.main.seat()?;
        let seat = if own_gil { main.new_isolated_interpreter() } else { main.new_interpreter() };
        let Some(seat) = seat else {
            self.log.log(Level::Critical, format!("WSGI0035: cannot create {place}").as_bytes());
            return None;
        };
        let room = prepare(seat, &name, &self.options, self.modes, &self.activity, &self.log)?;
        let mut table = self.table_mut();
        let index = table.len();
        let interpreter = Arc::new(Interpreter::new(name, index, seat, room));
        table.insert(group.into(), Arc::clone(&interpreter));
        Some(interpreter)
    }

    /// Tells the main interpreter's `mod_wsgi` module the name of the group it stands in for.
    fn adopt(&self, group: &[u8]) {
        if group.is_empty() {
            return;
        }
        let mut adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner);
        if adopted.as_deref() == Some(group) {
            return;
        }
        *adopted = Some(group.into());
        drop(adopted);
        let Some(attachment) = self.main.attach() else { return };
        let py = attachment.py();
        let module = self.main.room.module.get(py);
        let set =
            py.latin1(group).and_then(|name| module.set_attribute(c"application_group", &name));
        if let Err(raised) = set {
            raised.clear();
        }
    }

    pub(crate) fn table(
        &self,
    ) -> std::sync::RwLockReadGuard<'_, HashMap<Box<[u8]>, Arc<Interpreter>>> {
        self.interpreters.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Box<[u8]>, Arc<Interpreter>>> {
        self.interpreters.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody uses Python.
pub(crate) struct Active<'a>(&'a AtomicUsize);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Prepares the interpreter in which `seat` is; what goes wrong is logged.
fn prepare(
    seat: ThreadState,
    name: &str,
    options: &HostOptions,
    modes: Modes,
    activity: &Arc<Activity>,
    log: &SharedLog,
) -> Option<Room> {
    let attachment = seat.attach();
    match Room::prepare(attachment.py(), name, options, modes, activity, log) {
        Ok(room) => Some(room),
        Err(raised) => {
            let exception = raised.take();
            let headline = "WSGI0188: exception raised while an interpreter was prepared";
            log.log(Level::Critical, headline.as_bytes());
            failure::traceback(&exception, &mut |level, line| log.log(level, line.as_bytes()));
            None
        }
    }
}

/// Program name and home for `python-home`: a virtual environment is recognised by its
/// `pyvenv.cfg` and is found by CPython from its `bin/python`; anything else is a prefix. Without one
/// it is the installation this module was built for.
fn installation(home: Option<&Path>) -> (Option<PathBuf>, Option<PathBuf>) {
    match home {
        Some(home) if home.join("pyvenv.cfg").is_file() => (Some(home.join("bin/python")), None),
        Some(home) => (None, Some(home.to_owned())),
        None => (Some(PathBuf::from(BUILT_FOR)).filter(|path| path.is_file()), None),
    }
}
