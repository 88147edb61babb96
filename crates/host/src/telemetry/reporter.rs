//! The thread that sends reports to the telemetry service.
#![forbid(unsafe_code)]

use super::datagram::{Datagram, Kind};
use super::socket::DatagramSocket;
use super::{field, garbage, sample, slow};
use crate::cpython;
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::registry::Registry;
use crate::log::SharedLog;
use crate::observe::activity::Activity;
use crate::observe::metrics::{seconds, seconds_now};
use crate::options::{HostOptions, TelemetryOptions};
use crate::version::COMPATIBLE_VERSION;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wsgi::Level;

/// The messages of this process and the thread that sends them.
pub(crate) struct Reporter {
    session: Arc<Session>,
    /// The service has been told that the process is to stop.
    is_stopping: AtomicBool,
    thread: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

/// What the messages of this process are made of.
struct Session {
    socket: DatagramSocket,
    options: TelemetryOptions,
    slow_requests: Option<Duration>,
    apache: Option<[String; 2]>,
    hostname: String,
    process_group: String,
    threads: i64,
    activity: Arc<Activity>,
    interpreters: Arc<Registry>,
    /// `sys.getswitchinterval()` when it was last seen, as bits.
    switch_interval: AtomicU64,
}

/// How many slow requests in progress a report covers.
const MAX_ACTIVE: usize = 16;
/// How many interpreters a report covers.
const MAX_INTERPRETERS: usize = 32;
/// How many garbage collections of each interpreter a report covers.
const MAX_COLLECTIONS: usize = 64;

impl Reporter {
    /// Starts the thread. `None`, and a line in the log, when that fails.
    pub(crate) fn start(
        options: &HostOptions,
        telemetry: &TelemetryOptions,
        activity: &Arc<Activity>,
        interpreters: &Arc<Registry>,
        log: &SharedLog,
    ) -> Option<Self> {
        let complain = |code: &str, what: &str, why: &dyn std::fmt::Display| {
            let service = telemetry.service.display();
            let line = format!("{code}: nothing is reported to {service}: {what}: {why}");
            log.log(Level::Warning, line.as_bytes());
        };
        let socket = DatagramSocket::to(telemetry.service.clone())
            .map_err(|why| complain("WSGI0132", "it cannot be a socket's address", &why))
            .ok()?;
        activity.record();
        let session = Arc::new(Session {
            socket,
            options: telemetry.clone(),
            slow_requests: options.slow_requests,
            apache: options.apache.as_ref().map(|apache| {
                let (major, minor, patch) = apache.version;
                [format!("Apache/{major}.{minor}.{patch}"), apache.mpm_name.clone()]
            }),
            hostname: crate::posix::hostname(),
            process_group: options.process_group.clone(),
            threads: options.threads_per_process,
            activity: Arc::clone(activity),
            interpreters: Arc::clone(interpreters),
            switch_interval: AtomicU64::new(0),
        });
        let (stop, stopped) = mpsc::channel();
        let reporting = Arc::clone(&session);
        let work = move || {
            reporting.read_switch_interval();
            reporting.socket.send(Kind::Started, |datagram| {
                reporting.put_identity(datagram);
                reporting.put_switch_interval(datagram);
            });
            let mut next = Instant::now() + reporting.options.interval;
            while stopped.recv_timeout(next.saturating_duration_since(Instant::now()))
                == Err(RecvTimeoutError::Timeout)
            {
                reporting.report();
                next = (next + reporting.options.interval).max(Instant::now());
            }
            // The interval that the stop has cut short.
            reporting.report();
            reporting
                .interpreters()
                .iter()
                .for_each(|interpreter| interpreter.python.release_thread_state());
        };
        let thread = std::thread::Builder::new().name("wsgi-telemetry".to_owned()).spawn(work);
        let thread =
            thread.map_err(|why| complain("WSGI0133", "there is no thread for it", &why)).ok()?;
        let is_stopping = AtomicBool::new(false);
        Some(Self { session, is_stopping, thread: Mutex::new(Some((stop, thread))) })
    }

    /// Sends, at the first call, that the process is to stop, and why; `active` requests are being served.
    pub(crate) fn stopping(&self, reason: &str, active: usize) {
        if self.is_stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        self.session.socket.send(Kind::Stopping, |datagram| {
            self.session.put_process(datagram);
            put_shutdown_reason(datagram, reason);
            datagram.count(field::ACTIVE_AT_DECISION, active as u64);
        });
    }

    /// Sends the last report and ends the thread. The calling thread must not be attached. `wait`: no request is being
    /// served, so that none can keep the thread waiting for Python's lock for ever.
    pub(crate) fn finish(&self, wait: bool) {
        let taken = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = taken {
            drop(stop);
            if wait {
                // The panic hook has logged a panic of the thread.
                let _ = thread.join();
            }
        }
    }

    /// Sends that the process has stopped, or ends without having done so (`drained`: no request was cut
    /// short), with `active` requests still being served.
    pub(crate) fn stopped(&self, reason: &str, drained: bool, active: usize) {
        let session = &self.session;
        session.socket.send(Kind::Stopped, |datagram| {
            session.put_process(datagram);
            put_shutdown_reason(datagram, reason);
            let uptime = seconds_now() - seconds(session.activity.started);
            datagram.float(field::UPTIME, uptime.max(0.0));
            datagram.count(field::LIFETIME_REQUESTS, session.activity.served());
            datagram.count(field::ACTIVE_AT_EXIT, active as u64);
            datagram.count(field::GRACEFUL_DRAIN, u64::from(drained));
        });
    }
}

impl Session {
    /// Sends one interval's messages.
    fn report(&self) {
        self.socket.send(Kind::Sample, |datagram| {
            self.put_identity(datagram);
            datagram.float(field::INTERVAL, self.options.interval.as_secs_f64());
            let slow = self.slow_requests.unwrap_or_default();
            datagram.float(field::SLOW_REQUESTS, slow.as_secs_f64());
            self.put_switch_interval(datagram);
            sample::fill(datagram, &self.activity, self.threads);
        });
        if let Some(records) = self.activity.slow_records() {
            for record in records.take() {
                self.socket.send(Kind::SlowRequest, |datagram| record.fill(datagram));
            }
            for (details, since) in self
                .activity
                .slow_requests_in_progress(records.limit())
                .into_iter()
                .take(MAX_ACTIVE)
            {
                self.socket.send(Kind::SlowRequest, |datagram| {
                    slow::fill_active(datagram, &details, since);
                });
            }
        }
        // From here on an application that keeps Python's lock can delay the report.
        self.read_switch_interval();
        for interpreter in self.interpreters().iter().take(MAX_INTERPRETERS) {
            self.report_garbage(interpreter);
        }
    }

    fn report_garbage(&self, interpreter: &Interpreter) {
        let Some(collections) = &interpreter.state.collections else { return };
        // The main interpreter has no name.
        let put_interpreter = |datagram: &mut Datagram| {
            if !interpreter.name.is_empty() {
                let name = interpreter.name.as_bytes();
                datagram.bytes(field::INTERPRETER_NAME, name, 256);
            }
        };
        let Some(attachment) = interpreter.attach() else { return };
        self.socket.send(Kind::Garbage, |datagram| {
            // An application may have replaced the collector's functions.
            if let Err(raised) = garbage::fill_snapshot(attachment.py(), datagram) {
                raised.clear();
            }
            datagram.count(field::GC_DROPPED, collections.take_dropped());
            put_interpreter(datagram);
        });
        drop(attachment);
        for collection in collections.take(MAX_COLLECTIONS) {
            self.socket.send(Kind::Collection, |datagram| {
                collection.fill(datagram);
                put_interpreter(datagram);
            });
        }
    }

    /// Adds the versions of the software, and the process.
    fn put_identity(&self, datagram: &mut Datagram) {
        let (major, minor, patch) = COMPATIBLE_VERSION;
        let version = format!("{major}.{minor}.{patch}");
        datagram.bytes(field::MOD_WSGI_VERSION, version.as_bytes(), 64);
        datagram.bytes(field::PYTHON_VERSION, cpython::version().as_bytes(), 64);
        if let Some([version, mpm]) = &self.apache {
            datagram.bytes(field::APACHE_VERSION, version.as_bytes(), 64);
            datagram.bytes(field::MPM_NAME, mpm.as_bytes(), 64);
        }
        self.put_process(datagram);
        let parent = self.options.server.unwrap_or_else(std::os::unix::process::parent_id);
        datagram.count(field::PARENT_PID, parent.into());
    }

    fn read_switch_interval(&self) {
        for interpreter in self.interpreters().iter().filter(|it| it.name.is_empty()) {
            let Some(attachment) = interpreter.attach() else { continue };
            let asked = attachment
                .py()
                .import(c"sys")
                .and_then(|sys| sys.call_method(c"getswitchinterval", [])?.as_f64());
            match asked {
                Ok(seconds) => self.switch_interval.store(seconds.to_bits(), Ordering::Relaxed),
                Err(raised) => raised.clear(),
            }
        }
    }

    fn put_switch_interval(&self, datagram: &mut Datagram) {
        let seconds = f64::from_bits(self.switch_interval.load(Ordering::Relaxed));
        datagram.float(field::SWITCH_INTERVAL, seconds);
    }

    fn put_process(&self, datagram: &mut Datagram) {
        datagram.bytes(field::HOSTNAME, self.hostname.as_bytes(), 256);
        if !self.process_group.is_empty() {
            datagram.bytes(field::PROCESS_GROUP, self.process_group.as_bytes(), 256);
        }
    }

    fn interpreters(&self) -> Vec<Arc<Interpreter>> {
        let mut all = self.interpreters.all();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

fn put_shutdown_reason(datagram: &mut Datagram, reason: &str) {
    if !reason.is_empty() {
        datagram.bytes(field::SHUTDOWN_REASON, reason.as_bytes(), 256);
    }
}
