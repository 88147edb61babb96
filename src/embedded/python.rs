//! Python in one of Apache's own processes: started with the process where the configuration names a script that runs
//! there, else by the first use of it. It must never know what uses it.
#![forbid(unsafe_code)]

use super::locale::{self, TextEncoding};
use super::own_record::{OwnRecord, RunningRequest};
use super::stack_writer::StackWriter;
use super::start::{host_options, preload};
use crate::config::ProcessOptions;
use crate::groups::ServerCounters;
use crate::httpd::{Mpm, Request, Server, ServerLogHandle};
use host::{Host, HostOptions, ServerLog, StartError};
use scoreboard::{State, now};
use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use wsgi::Level;

/// Python in this process, started or not.
pub(crate) struct EmbeddedPython {
    host: OnceLock<Arc<Host>>,
    /// Held while Python is started.
    start: Mutex<Start>,
    log: Arc<ServerLogHandle>,
    /// Each child of prefork has one thread: the one that serves, and that ends the process.
    has_one_thread: bool,
    threads: u64,
    /// When the process was started, in microseconds of [`now`].
    began: u64,
    /// The number of the configuration that the process serves.
    configuration: u64,
    /// This process on the scoreboard, once it needs Python; `None` where it has no record there.
    own: OnceLock<Option<Arc<OwnRecord>>>,
    /// Writes where requests are in Python, once that has been started.
    stacks: Mutex<Option<StackWriter>>,
}

/// What has become of the start, beside the [`Host`].
#[derive(Default)]
struct Start {
    /// How text is encoded, once the process has been prepared for a start by another thread than its main one.
    encoding: Option<TextEncoding>,
    /// It cannot be tried again.
    has_failed: bool,
    /// The thread that has started Python and ends it, where that is not the main thread of the process.
    thread: Option<PythonThread>,
}

/// CPython is ended by the thread that has started it, and threads that serve may end sooner.
struct PythonThread {
    /// Whatever comes, or the end of the channel, is the end of Python.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// Why there is no Python.
enum StartFailure {
    Python(StartError),
    Thread(io::Error),
    Panicked,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Python(why) => why.fmt(f),
            Self::Thread(why) => write!(f, "there is no thread for it: {why}"),
            Self::Panicked => f.write_str("its thread has panicked"),
        }
    }
}

/// That of the main thread of a program.
const STACK_SIZE: usize = 8 << 20;

impl EmbeddedPython {
    /// In a new process, by its main thread before it has others; `None` where the configuration keeps Python out.
    /// `at_once`: Python is started now.
    pub(crate) fn new(
        options: &ProcessOptions,
        sole: bool,
        at_once: bool,
        main: Server<'_>,
    ) -> Option<Self> {
        if !options.embedded_python {
            return None;
        }
        let mpm = Mpm::query();
        let python = Self {
            host: OnceLock::new(),
            start: Mutex::default(),
            log: Arc::new(ServerLogHandle::of(main)),
            has_one_thread: mpm.name == "prefork",
            threads: mpm.threads.unsigned_abs(),
            began: now(),
            configuration: ServerCounters::get().map_or(0, |it| it.configuration().generation),
            own: OnceLock::new(),
            stacks: Mutex::default(),
        };
        // Another module may have begun threads: what CPython changes in the process must not be left to others then.
        let prepared = if at_once { None } else { locale::prepare().ok() };
        if prepared.is_some() {
            python.lock().encoding = prepared;
            return Some(python);
        }
        python.own();
        match python.started(start_host(host_options(options), &python.log)) {
            None => {
                python.lock().has_failed = true;
                python.set_state(State::Gone);
            }
            Some(host) => {
                for script in options.import_scripts(b"") {
                    preload(&host, options, sole, script);
                }
                host.report();
                python.set_state(State::Ready);
            }
        }
        Some(python)
    }

    /// The calling thread needs Python for `request` until what this returns is dropped: for its application, where
    /// `is_served`, or for a script that is asked about it. `None` where this process has no record for that.
    pub(crate) fn begin(
        &self,
        request: &Request<'_>,
        is_served: bool,
    ) -> Option<RunningRequest<'_>> {
        Some(self.own()?.begin(request, is_served))
    }

    /// Says on the scoreboard that this process takes no new requests. Async-signal-safe.
    pub(crate) fn note_leaving(&self) {
        self.set_state(State::Leaving);
    }

    fn own(&self) -> Option<&Arc<OwnRecord>> {
        let Self { began, threads, configuration, .. } = *self;
        let claim = || OwnRecord::claim(began, threads, configuration).map(Arc::new);
        self.own.get_or_init(claim).as_ref()
    }

    fn set_state(&self, state: State) {
        if let Some(Some(own)) = self.own.get() {
            own.set_state(state);
        }
    }

    /// Python, which is started where it has not been; `None` where it could not be.
    pub(crate) fn host(&self, options: &ProcessOptions) -> Option<&Host> {
        if self.host.get().is_none() {
            self.start_late(options);
        }
        self.host.get().map(AsRef::as_ref)
    }

    /// Ends Python, where it has been started: on the main thread, once no other one serves, or, under prefork, from a
    /// signal handler.
    pub(crate) fn stop(&self) {
        let Some(host) = self.host.get() else { return };
        // The request that the handler has interrupted holds what the stop would wait for: Python's lock,
        // Rust's locks, malloc's (docs/safety.md, "prefork ends a child in a signal handler").
        if self.has_one_thread && host.active() > 0 {
            return;
        }
        // It is locked while it is set, which is just being done then.
        if let Some(stacks) = self.stacks.try_lock().ok().and_then(|mut stacks| stacks.take()) {
            stacks.stop();
        }
        let own = if self.has_one_thread { None } else { self.lock().thread.take() };
        match own {
            None => host.stop(""),
            Some(PythonThread { stop, thread }) => {
                // Where the thread has gone, so has what it was for.
                let _ = stop.send(());
                let _ = thread.join();
            }
        }
    }

    fn start_late(&self, options: &ProcessOptions) {
        let mut start = self.lock();
        // Another thread may have started it while this one waited.
        if start.has_failed || self.host.get().is_some() {
            return;
        }
        let locale_utf8_mode = start.encoding.map(TextEncoding::utf8_mode);
        let options = HostOptions { locale_utf8_mode, ..host_options(options) };
        let result = if self.has_one_thread {
            start_host(options, &self.log).map(|host| (host, None))
        } else {
            self.start_thread(options).map(|(host, thread)| (host, Some(thread)))
        };
        let result = result.map(|(host, thread)| {
            start.thread = thread;
            host
        });
        // Another time there may be a thread.
        start.has_failed =
            result.as_ref().is_err_and(|why| !matches!(why, StartFailure::Thread(_)));
        let host = self.started(result);
        match host {
            Some(_) => self.set_state(State::Ready),
            None if start.has_failed => self.set_state(State::Gone),
            None => {}
        }
        drop(start);
        if let Some(host) = host {
            host.report();
        }
    }

    /// Starts Python on a thread that stays for its end.
    fn start_thread(
        &self,
        options: HostOptions,
    ) -> Result<(Arc<Host>, PythonThread), StartFailure> {
        let (answer, started) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        let log = Arc::clone(&self.log);
        let builder = std::thread::Builder::new().name("wsgi-python".to_owned());
        let run = move || run(options, &log, &answer, &stopped);
        let thread = builder.stack_size(STACK_SIZE).spawn(run).map_err(StartFailure::Thread)?;
        let host = started.recv().unwrap_or(Err(StartFailure::Panicked))?;
        Ok((host, PythonThread { stop, thread }))
    }

    /// Keeps what has been started, or logs why it has not.
    fn started(&self, result: Result<Arc<Host>, StartFailure>) -> Option<Arc<Host>> {
        match result {
            Ok(host) => {
                // There is none yet: the caller has the lock, or is alone.
                let _ = self.host.set(Arc::clone(&host));
                if let Some(own) = self.own() {
                    let stacks = StackWriter::start(own, &host, &self.log);
                    *self.stacks.lock().unwrap_or_else(PoisonError::into_inner) = stacks;
                }
                Some(host)
            }
            Err(why) => {
                let line = format!("WSGI0036: Python cannot be started in this process: {why}");
                self.log.log(Level::Critical, line.as_bytes());
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Start> {
        self.start.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread of Python: starts it, says what became of that, and ends it when it is told to.
fn run(
    options: HostOptions,
    log: &Arc<ServerLogHandle>,
    answer: &Sender<Result<Arc<Host>, StartFailure>>,
    stopped: &Receiver<()>,
) {
    // As the main thread has them when it starts Python: a signal that arrived here would be none of httpd's.
    sys::block_signals();
    let result = start_host(options, log);
    let host = result.as_ref().ok().map(Arc::clone);
    // The thread that has asked waits for the answer.
    let _ = answer.send(result);
    if let Some(host) = host {
        let _ = stopped.recv();
        host.stop("");
    }
}

fn start_host(options: HostOptions, log: &Arc<ServerLogHandle>) -> Result<Arc<Host>, StartFailure> {
    let host = Host::start(options, Arc::clone(log) as Arc<dyn ServerLog>);
    host.map(Arc::new).map_err(StartFailure::Python)
}
