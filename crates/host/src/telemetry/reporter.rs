//! The thread that reports.
#![forbid(unsafe_code)]

use super::datagram::{Datagram, Kind};
use super::outlet::Outlet;
use super::{field, garbage, sample, slow};
use crate::cpython;
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::interpreter::Interpreters;
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

/// What this process sends, and the thread that does.
pub(crate) struct Reporter {
    voice: Arc<Voice>,
    /// It has been told that the process is to stop.
    is_stopping: AtomicBool,
    thread: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

/// What is the same in all messages, and what they are made of.
struct Voice {
    outlet: Outlet,
    options: TelemetryOptions,
    slow_requests: Option<Duration>,
    apache: Option<[String; 2]>,
    hostname: String,
    process_group: String,
    threads: i64,
    activity: Arc<Activity>,
    interpreters: Interpreters,
    /// `sys.getswitchinterval()` when it was last seen, as bits.
    switch_interval: AtomicU64,
}

/// So many requests that go on are told of at a time, so many interpreters, and of each so many collections.
const MOST_ACTIVE: usize = 16;
const MOST_INTERPRETERS: usize = 32;
const MOST_COLLECTIONS: usize = 64;

impl Reporter {
    /// Begins to report; `None`, and a line in the log, where that cannot be.
    pub(crate) fn start(
        options: &HostOptions,
        telemetry: &TelemetryOptions,
        activity: &Arc<Activity>,
        interpreters: &Interpreters,
        log: &SharedLog,
    ) -> Option<Self> {
        let complain = |code: &str, what: &str, why: &dyn std::fmt::Display| {
            let service = telemetry.service.display();
            let line = format!("{code}: nothing is reported to {service}: {what}: {why}");
            log.log(Level::Warning, line.as_bytes());
        };
        let outlet = Outlet::to(telemetry.service.clone())
            .map_err(|why| complain("WSGI0132", "it cannot be a socket's address", &why))
            .ok()?;
        activity.record();
        let voice = Arc::new(Voice {
            outlet,
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
        let theirs = Arc::clone(&voice);
        let work = move || {
            theirs.look_at_switch_interval();
            theirs.outlet.send(Kind::Started, |datagram| {
                theirs.introduce(datagram);
                theirs.say_switch_interval(datagram);
            });
            let mut next = Instant::now() + theirs.options.interval;
            while stopped.recv_timeout(next.saturating_duration_since(Instant::now()))
                == Err(RecvTimeoutError::Timeout)
            {
                theirs.report();
                next = (next + theirs.options.interval).max(Instant::now());
            }
            // What has happened since.
            theirs.report();
            theirs.interpreters().iter().for_each(|interpreter| interpreter.leave());
        };
        let thread = std::thread::Builder::new().name("wsgi-telemetry".to_owned()).spawn(work);
        let thread =
            thread.map_err(|why| complain("WSGI0133", "there is no thread for it", &why)).ok()?;
        let is_stopping = AtomicBool::new(false);
        Some(Self { voice, is_stopping, thread: Mutex::new(Some((stop, thread))) })
    }

    /// Tells that the process is to stop, and why, the first time; `active` requests are being served.
    pub(crate) fn stopping(&self, reason: &str, active: usize) {
        if self.is_stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        self.voice.outlet.send(Kind::Stopping, |datagram| {
            self.voice.say_where(datagram);
            say_why(datagram, reason);
            datagram.count(field::ACTIVE_AT_DECISION, active as u64);
        });
    }

    /// Reports for the last time. The calling thread must not be attached. `wait`: nobody is being served, so
    /// nobody keeps the report from Python for ever.
    pub(crate) fn finish(&self, wait: bool) {
        let taken = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = taken {
            drop(stop);
            if wait {
                // Its panic has been told.
                let _ = thread.join();
            }
        }
    }

    /// Tells that the process has stopped, or ends without having done so (`drained`: no request was cut
    /// short), with `active` requests still being served.
    pub(crate) fn stopped(&self, reason: &str, drained: bool, active: usize) {
        let voice = &self.voice;
        voice.outlet.send(Kind::Stopped, |datagram| {
            voice.say_where(datagram);
            say_why(datagram, reason);
            let uptime = seconds_now() - seconds(voice.activity.started);
            datagram.float(field::UPTIME, uptime.max(0.0));
            datagram.count(field::LIFETIME_REQUESTS, voice.activity.served());
            datagram.count(field::ACTIVE_AT_EXIT, active as u64);
            datagram.count(field::GRACEFUL_DRAIN, u64::from(drained));
        });
    }
}

impl Voice {
    /// One interval's messages.
    fn report(&self) {
        self.outlet.send(Kind::Sample, |datagram| {
            self.introduce(datagram);
            datagram.float(field::INTERVAL, self.options.interval.as_secs_f64());
            let slow = self.slow_requests.unwrap_or_default();
            datagram.float(field::SLOW_REQUESTS, slow.as_secs_f64());
            self.say_switch_interval(datagram);
            sample::fill(datagram, &self.activity, self.threads);
        });
        if let Some(records) = self.activity.slow_records() {
            for record in records.take() {
                self.outlet.send(Kind::SlowRequest, |datagram| record.fill(datagram));
            }
            for (details, since) in
                self.activity.slow_ones(records.limit()).into_iter().take(MOST_ACTIVE)
            {
                self.outlet.send(Kind::SlowRequest, |datagram| {
                    slow::fill_active(datagram, &details, since);
                });
            }
        }
        // From here on an application that keeps Python's lock can hold this up.
        self.look_at_switch_interval();
        for interpreter in self.interpreters().iter().take(MOST_INTERPRETERS) {
            self.report_garbage(interpreter);
        }
    }

    fn report_garbage(&self, interpreter: &Interpreter) {
        let Some(collections) = &interpreter.room.collections else { return };
        // The main one has none.
        let say_whose = |datagram: &mut Datagram| {
            if !interpreter.name.is_empty() {
                let name = interpreter.name.as_bytes();
                datagram.bytes(field::INTERPRETER_NAME, name, 256);
            }
        };
        let Some(attachment) = interpreter.attach() else { return };
        self.outlet.send(Kind::Garbage, |datagram| {
            // An application may have put something else in the place of the collector's functions.
            if let Err(raised) = garbage::fill_snapshot(attachment.py(), datagram) {
                raised.clear();
            }
            datagram.count(field::GC_DROPPED, collections.take_dropped());
            say_whose(datagram);
        });
        drop(attachment);
        for collection in collections.take(MOST_COLLECTIONS) {
            self.outlet.send(Kind::Collection, |datagram| {
                collection.fill(datagram);
                say_whose(datagram);
            });
        }
    }

    /// Who this is.
    fn introduce(&self, datagram: &mut Datagram) {
        let (major, minor, patch) = COMPATIBLE_VERSION;
        let version = format!("{major}.{minor}.{patch}");
        datagram.bytes(field::MOD_WSGI_VERSION, version.as_bytes(), 64);
        datagram.bytes(field::PYTHON_VERSION, cpython::version().as_bytes(), 64);
        if let Some([version, mpm]) = &self.apache {
            datagram.bytes(field::APACHE_VERSION, version.as_bytes(), 64);
            datagram.bytes(field::MPM_NAME, mpm.as_bytes(), 64);
        }
        self.say_where(datagram);
        let parent = self.options.server.unwrap_or_else(std::os::unix::process::parent_id);
        datagram.count(field::PARENT_PID, parent.into());
    }

    fn look_at_switch_interval(&self) {
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

    fn say_switch_interval(&self, datagram: &mut Datagram) {
        let seconds = f64::from_bits(self.switch_interval.load(Ordering::Relaxed));
        datagram.float(field::SWITCH_INTERVAL, seconds);
    }

    fn say_where(&self, datagram: &mut Datagram) {
        datagram.bytes(field::HOSTNAME, self.hostname.as_bytes(), 256);
        if !self.process_group.is_empty() {
            datagram.bytes(field::PROCESS_GROUP, self.process_group.as_bytes(), 256);
        }
    }

    fn interpreters(&self) -> Vec<Arc<Interpreter>> {
        let table = self.interpreters.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = table.values().map(Arc::clone).collect();
        drop(table);
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

fn say_why(datagram: &mut Datagram, reason: &str) {
    if !reason.is_empty() {
        datagram.bytes(field::SHUTDOWN_REASON, reason.as_bytes(), 256);
    }
}
