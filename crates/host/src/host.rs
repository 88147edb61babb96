//! One process' Python: started once, serving from any thread. Its end is in `shutdown`.
#![forbid(unsafe_code)]

use crate::cpython::{PythonConfig, RunningPython, adopt, initialize};
use crate::gateway::consult::{Answer, Question, Unanswered, consult};
use crate::gateway::serve::serve;
use crate::gateway::target::{Served, Target};
use crate::interpreters::gil_mode::GilMode;
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::load::preload;
use crate::interpreters::prepare::Preparation;
use crate::interpreters::process_environment::ProcessEnvironment;
use crate::interpreters::registry::Registry;
use crate::log::{ServerLog, SharedLog};
use crate::observe::activity::Activity;
use crate::observe::slow::SlowRequestThread;
use crate::observe::thread_id::thread_id;
use crate::options::HostOptions;
use crate::telemetry::{Reporter, SlowRecords};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use wsgi::{Exchange, Level};

/// The Python side of this process.
pub struct Host {
    pub(crate) options: HostOptions,
    pub(crate) gil_mode: GilMode,
    pub(crate) log: SharedLog,
    environment: ProcessEnvironment,
    pub(crate) activity: Arc<Activity>,
    /// Started by the first request: a thread does not survive the fork of a process that preloads.
    pub(crate) slow: OnceLock<SlowRequestThread>,
    pub(crate) reporter: OnceLock<Reporter>,
    pub(crate) interpreters: Arc<Registry>,
    /// Uses of Python that keep it from being finalised: requests, and scripts.
    active: AtomicUsize,
    /// Short ones, the end of which finalisation waits for: what a process asks beside its requests.
    looks: AtomicUsize,
    /// Python is being finalised or has been.
    pub(crate) stopping: AtomicBool,
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

/// The version of the Python library that this process has, such as `3.11.2`, also before Python is started. The first
/// call is to be made while the process has one thread: CPython composes the text then.
pub fn running_version() -> &'static str {
    crate::cpython::version()
}

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
        Self::start_or_adopt(options, log, None)
    }

    /// Takes over the Python that its own program has started in this process, with the command line that these options
    /// make. The calling thread is the one that called the [entry point](crate::EntryPoint).
    ///
    /// # Errors
    /// When the main interpreter cannot be prepared.
    pub fn adopt(
        options: HostOptions,
        log: Arc<dyn ServerLog>,
        python: RunningPython,
    ) -> std::result::Result<Self, StartError> {
        Self::start_or_adopt(options, log, Some(python))
    }

    fn start_or_adopt(
        options: HostOptions,
        log: Arc<dyn ServerLog>,
        running: Option<RunningPython>,
    ) -> std::result::Result<Self, StartError> {
        // The first thread that asks for its number gets 0.
        thread_id();
        let gil_mode = GilMode::decide(&options, &log);
        let python = match running {
            Some(running) => adopt(running),
            None => initialize(&python_config(&options, gil_mode)?)
                .map_err(|why| StartError(why.to_string()))?,
        };
        let activity = Arc::new(Activity::new(false));
        let environment = ProcessEnvironment::current();
        let preparation = Preparation {
            options: &options,
            gil_mode,
            activity: &activity,
            log: &log,
            environment: &environment,
        };
        let main = preparation
            .interpreter(python, "")
            .ok_or_else(|| StartError("the main interpreter cannot be prepared".to_owned()))?;
        Ok(Self {
            interpreters: Arc::new(Registry::new(main)),
            options,
            gil_mode,
            log,
            environment,
            activity,
            slow: OnceLock::new(),
            reporter: OnceLock::new(),
            active: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        })
    }

    /// Starts to report to the telemetry service, where the configuration names one: once, in the process
    /// that serves, because the reporting thread does not survive a fork.
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
            // The first one stays.
            let _ = self.reporter.set(reporter);
        }
    }

    /// Reports that this process is to stop, and why.
    pub fn report_stopping(&self, reason: &str) {
        if let Some(reporter) = self.reporter.get() {
            reporter.stopping(reason, self.requests());
        }
    }

    /// Reports that this process ends although it has not stopped.
    pub fn report_end(&self, reason: &str) {
        if let Some(reporter) = self.reporter.get() {
            reporter.stopped(reason, false, self.requests());
        }
    }

    /// Serves one request. The calling thread must not be attached to any interpreter.
    pub fn serve(&self, target: &Target<'_>, exchange: &mut dyn Exchange) -> Served {
        let Some(_active) = self.guard_active() else { return Served::Failed(503) };
        let found = self.interpreter(target.application_group, target.main_interpreter);
        let Some(interpreter) = found else {
            let group = String::from_utf8_lossy(target.application_group);
            let line = format!(
                "WSGI0087: cannot create an interpreter for application group '{group}' [XH]"
            );
            exchange.log(Level::Error, line.as_bytes());
            return Served::Failed(500);
        };
        let group = &self.options.process_group;
        if let Some(limit) = self.options.slow_requests {
            self.slow.get_or_init(|| SlowRequestThread::start(limit, &self.activity, &self.log));
        }
        let may_be_slow = self.options.slow_requests.is_some() || self.options.observable;
        serve(&interpreter, group, target, exchange, &self.activity, may_be_slow)
    }

    /// Deletes what Python keeps for the calling thread, which has served, has made no interpreter, and will not serve
    /// again.
    pub fn release_thread(&self) {
        for interpreter in self.interpreters.all() {
            interpreter.python.release_thread_state();
        }
        self.activity.remove_thread();
    }

    /// Calls functions of one of the server's own scripts with the environ of a request. The calling thread must not be
    /// attached to any interpreter.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn consult(
        &self,
        question: &Question<'_>,
        exchange: &mut dyn Exchange,
    ) -> std::result::Result<Vec<Option<Answer>>, Unanswered> {
        let _active = self.guard_active().ok_or(Unanswered::Interpreter)?;
        let interpreter = self.interpreter(question.application_group, false);
        let interpreter = interpreter.ok_or(Unanswered::Interpreter)?;
        consult(&interpreter, &self.options.process_group, question, exchange)
    }

    /// Keeps Python from being finalised as long as the guard lives; `None` once that has begun.
    pub(crate) fn guard_active(&self) -> Option<ActiveGuard<'_>> {
        self.guard(&self.active)
    }

    /// The same for what takes no longer than a wait for the lock, and is no request.
    pub(crate) fn guard_look(&self) -> Option<ActiveGuard<'_>> {
        self.guard(&self.looks)
    }

    fn guard<'a>(&self, count: &'a AtomicUsize) -> Option<ActiveGuard<'a>> {
        // Counted before `stopping` is read, as `stop` sets it before it reads the count: one of the two threads sees
        // what the other has written.
        count.fetch_add(1, Ordering::SeqCst);
        let active = ActiveGuard(count);
        (!self.stopping.load(Ordering::SeqCst)).then_some(active)
    }

    /// Whether Python is being looked at beside the requests.
    pub(crate) fn is_looked_at(&self) -> bool {
        self.looks.load(Ordering::SeqCst) > 0
    }

    /// Loads a script before the first request needs it, as that request would; what goes wrong is
    /// logged, and tried again then. Returns whether the script is loaded.
    pub fn preload(&self, target: &Target<'_>) -> bool {
        let found = self.interpreter(target.application_group, target.main_interpreter);
        found.is_some_and(|interpreter| {
            preload(&interpreter, &self.options.process_group, target, &*self.log)
        })
    }

    /// Whether all of Python in this process runs under one lock.
    pub fn is_serial(&self) -> bool {
        let own = |own| self.gil_mode.own_gil(own);
        !self.gil_mode.free_threading && !self.options.interpreters().any(own)
    }

    /// How many requests are being served.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    /// How many requests are under way: an event loop is one use of Python, and has many.
    fn requests(&self) -> usize {
        match self.activity.loop_requests.event_loop() {
            Some(_) => usize::try_from(self.activity.active()).unwrap_or(usize::MAX),
            None => self.active(),
        }
    }

    /// The interpreter of an application group, made at its first request; `main`: the group has the main one.
    pub(crate) fn interpreter(&self, group: &[u8], main: bool) -> Option<Arc<Interpreter>> {
        let preparation = Preparation {
            options: &self.options,
            gil_mode: self.gil_mode,
            activity: &self.activity,
            log: &self.log,
            environment: &self.environment,
        };
        self.interpreters.get(group, main, &preparation)
    }
}

/// Counts as a use of Python that finalisation has to wait for.
pub(crate) struct ActiveGuard<'a>(&'a AtomicUsize);

impl Drop for ActiveGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What CPython is started with.
///
/// # Errors
/// Those of [`installation`].
fn python_config(
    options: &HostOptions,
    gil_mode: GilMode,
) -> std::result::Result<PythonConfig, StartError> {
    let (program_name, home) = installation(options.python_home.as_deref())?;
    Ok(PythonConfig {
        program_name,
        home,
        write_bytecode: options.write_bytecode,
        optimization_level: options.optimize,
        warnings: options.warnings.clone(),
        free_threading: gil_mode.free_threading,
        hash_seed: options.hash_seed,
        locale_utf8_mode: options.locale_utf8_mode,
    })
}

/// Program name and home for `python-home`: a virtual environment is recognised by its
/// `pyvenv.cfg` and is found by CPython from its `bin/python`; anything else is a prefix. Without one
/// it is the installation this module was built for.
///
/// # Errors
/// Where there is nothing of Python, which may have been removed since it was checked: CPython would write a page about
/// its paths and name another cause.
fn installation(
    home: Option<&Path>,
) -> std::result::Result<(Option<PathBuf>, Option<PathBuf>), StartError> {
    let Some(home) = home else {
        return Ok((Some(PathBuf::from(BUILT_FOR)).filter(|path| path.is_file()), None));
    };
    let names =
        |why: fmt::Arguments<'_>| StartError(format!("the Python home '{}' {why}", home.display()));
    if home.join("pyvenv.cfg").is_file() {
        return Ok((Some(home.join("bin/python")), None));
    }
    home.metadata().map_err(|why| names(format_args!("cannot be looked at: {why}")))?;
    if !is_prefix(home) {
        return Err(names(format_args!(
            "is neither a virtual environment (no pyvenv.cfg) nor the prefix of a Python {PYTHON_VERSION} (no \
             lib/python{PYTHON_VERSION}/os.py)"
        )));
    }
    Ok((None, Some(home.to_owned())))
}

/// Whether there is a standard library below `home`.
fn is_prefix(home: &Path) -> bool {
    let version = PYTHON_VERSION;
    let modules = ["lib", "lib64"].into_iter().flat_map(|lib| {
        ["/os.py", "/os.pyc", "t/os.py", "t/os.pyc"]
            .map(|module| home.join(format!("{lib}/python{version}{module}")))
    });
    let archive = home.join(format!("lib/python{}.zip", version.replace('.', "")));
    modules.chain([archive]).any(|path| path.is_file())
}
