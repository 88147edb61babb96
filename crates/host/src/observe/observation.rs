//! The events of one request, for an interpreter with subscribers.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Exception, GilWait, Object, Raised, Result};
use crate::gateway::current;
use crate::gateway::lease::Lease;
use crate::observe::events::{Event, Subscribers};
use crate::observe::io_counters::IoCounters;
use crate::observe::metrics::seconds_now;
use crate::observe::metrics::{Measurement, Timestamps};
use crate::observe::thread_id::thread_id;
use crate::posix::Usage;
use std::sync::Arc;
use wsgi::Level;

/// What the events of a request have in common.
pub(crate) struct Observation<'a, 'py, L> {
    py: Attached<'py>,
    subscribers: &'a Subscribers,
    log: L,
    request_id: Object<'py>,
    data: Object<'py>,
    server_pid: Object<'py>,
}

/// Where what callbacks raise is logged.
pub(crate) trait EventLog {
    /// Writes one line to the log of the request.
    fn log(&self, py: Attached<'_>, level: Level, line: &str);
}

impl EventLog for Arc<Lease> {
    fn log(&self, py: Attached<'_>, level: Level, line: &str) {
        self.with_detached(py, |response| response.log(level, line));
    }
}

/// How a request has ended.
pub(crate) struct Ending<'a> {
    pub(crate) status: u16,
    pub(crate) timestamps: Timestamps,
    pub(crate) io: &'a IoCounters,
    /// `None` where its thread has other requests as well.
    pub(crate) gil_wait: Option<GilWait>,
    pub(crate) measurement: Option<Measurement>,
}

impl<'a, 'py> Observation<'a, 'py, Arc<Lease>> {
    /// `None` where there is no subscriber.
    pub(crate) fn begin(
        subscribers: &'a Subscribers,
        lease: &Arc<Lease>,
        environ: &Object<'py>,
    ) -> Result<'py, Option<Self>> {
        let py = environ.py();
        if !subscribers.subscribed_to_requests(py) {
            return Ok(None);
        }
        let Some(data) = current::data(py, subscribers)? else { return Ok(None) };
        let text = |name| -> Result<'py, Object<'py>> {
            Ok(environ.item(&py.interned(name)?)?.unwrap_or(py.none()))
        };
        let server_pid = text("mod_wsgi.server_pid")?;
        let server_pid = match server_pid.is_str().then(|| server_pid.to_text()).transpose()? {
            Some(digits) => py.int(digits.parse().unwrap_or(0))?,
            None => py.int(std::process::id().into())?,
        };
        let request_id = text("mod_wsgi.request_id")?;
        let log = Arc::clone(lease);
        Ok(Some(Self { py, subscribers, log, request_id, data, server_pid }))
    }
}

impl<'a, 'py, L: EventLog> Observation<'a, 'py, L> {
    /// Of a request that no thread has for itself; `data` is its dict for the application's own data.
    pub(crate) fn of(
        subscribers: &'a Subscribers,
        log: L,
        request_id: Object<'py>,
        data: Object<'py>,
        server_pid: u32,
    ) -> Result<'py, Self> {
        let py = data.py();
        let server_pid = py.int(server_pid.into())?;
        Ok(Self { py, subscribers, log, request_id, data, server_pid })
    }

    /// `request_started`: what is to be called, which callbacks may replace. `variables`: what it is called with, and
    /// the name of that.
    pub(crate) fn started(
        &self,
        application: Object<'py>,
        callable: &[u8],
        (name, variables): (&str, &Object<'py>),
        timestamps: &Timestamps,
    ) -> Result<'py, Object<'py>> {
        let py = self.py;
        let event = self.event("request_started")?;
        event.put("thread_id", &py.int(thread_id())?)?;
        // A connection is kept for many requests; this one is on its first worker.
        let connects = i64::from(timestamps.queue > 0.0);
        event.put("daemon_connects", &py.int(connects)?)?;
        event.put("daemon_restarts", &py.int(0)?)?;
        event.put("server_pid", &self.server_pid)?;
        self.put_timestamps(&event, timestamps)?;
        event.put("application_object", &application)?;
        event.put("callable_object", &py.latin1(callable)?)?;
        event.put(name, variables)?;
        event.put("application_start", &py.float(timestamps.application)?)?;
        self.publish(&event);
        Ok(event.get("application_object")?.unwrap_or(application))
    }

    /// `request_exception`.
    pub(crate) fn exception(&self, exception: &Exception<'py>) -> Result<'py, ()> {
        let event = self.event("request_exception")?;
        let info = [&exception.class, &exception.value, &exception.traceback].map(Clone::clone);
        event.put("exception_info", &self.py.tuple(info)?)?;
        self.publish(&event);
        Ok(())
    }

    /// `request_finished`.
    pub(crate) fn finished(&self, ending: &Ending<'_>) -> Result<'py, ()> {
        let py = self.py;
        let Ending { status, timestamps, io, gil_wait, measurement } = ending;
        let event = self.event("request_finished")?;
        event.put("thread_id", &py.int(thread_id())?)?;
        event.put("server_pid", &self.server_pid)?;
        self.put_timestamps(&event, timestamps)?;
        let count = |number: u64| py.int(i64::try_from(number).unwrap_or(i64::MAX));
        event.put("input_reads", &count(io.input.calls)?)?;
        event.put("input_length", &count(io.input.bytes)?)?;
        event.put("input_time", &py.float(io.input.time.as_secs_f64())?)?;
        event.put("output_writes", &count(io.output.calls)?)?;
        event.put("output_length", &count(io.output.bytes)?)?;
        event.put("output_time", &py.float(io.output.time.as_secs_f64())?)?;
        let finish = seconds_now();
        let time = (finish - timestamps.application).max(0.0);
        event.put("application_finish", &py.float(finish)?)?;
        event.put("application_time", &py.float(time)?)?;
        event.put("status", &py.int((*status).into())?)?;
        if let Some(gil_wait) = gil_wait {
            event.put("gil_wait_time", &py.float(gil_wait.time.as_secs_f64())?)?;
            event.put("gil_wait_count", &py.int(gil_wait.count.into())?)?;
        }
        if let Some(before) = measurement.and_then(|it| it.cpu).filter(|cpu| cpu.user > 0.0) {
            let now = Usage::thread();
            let (user, system) = (now.user - before.user, now.system - before.system);
            // The kernel's CPU time is coarser than the clock.
            let scale = if user + system > time { time / (user + system) } else { 1.0 };
            event.put("cpu_user_time", &py.float(user * scale)?)?;
            event.put("cpu_system_time", &py.float(system * scale)?)?;
            event.put("cpu_time", &py.float((user + system) * scale)?)?;
        }
        self.publish(&event);
        Ok(())
    }

    fn event(&self, name: &'static str) -> Result<'py, Event<'py>> {
        let event = Event::new(self.py, name)?;
        event.put("request_id", &self.request_id)?;
        event.put("request_data", &self.data)?;
        Ok(event)
    }

    fn put_timestamps(&self, event: &Event<'py>, timestamps: &Timestamps) -> Result<'py, ()> {
        event.put("request_start", &self.py.float(timestamps.request)?)?;
        event.put("queue_start", &self.py.float(timestamps.queue)?)?;
        event.put("daemon_start", &self.py.float(timestamps.daemon)?)
    }

    /// `response_started`: what the application has given for status, headers and `exc_info`.
    pub(crate) fn response_started(&self, given: &[Object<'py>; 3]) -> Result<'py, ()> {
        let event = self.event("response_started")?;
        put_response(&event, given)?;
        self.publish(&event);
        Ok(())
    }

    fn publish(&self, event: &Event<'py>) {
        self.subscribers.publish(None, event, &mut |level: Level, line: &str| {
            self.log.log(self.py, level, line);
        });
    }
}

fn put_response<'py>(event: &Event<'py>, given: &[Object<'py>; 3]) -> Result<'py, ()> {
    let names = ["response_status", "response_headers", "exception_info"];
    names.into_iter().zip(given).try_for_each(|(name, value)| event.put(name, value))
}

/// `response_started`: the arguments of `start_response`, before they are checked.
pub(crate) fn response_started<'py>(
    py: Attached<'py>,
    subscribers: &Subscribers,
    lease: &Lease,
    arguments: [Object<'py>; 3],
) -> std::result::Result<(), Raised<'py>> {
    let Some(data) = current::data(py, subscribers)? else { return Ok(()) };
    let event = Event::new(py, "response_started")?;
    event.put("request_id", &current::request_id(py)?)?;
    put_response(&event, &arguments)?;
    event.put("request_data", &data)?;
    publish(py, subscribers, lease, &event);
    Ok(())
}

fn publish<'py>(py: Attached<'py>, subscribers: &Subscribers, lease: &Lease, event: &Event<'py>) {
    subscribers.publish(None, event, &mut |level: Level, line: &str| {
        lease.with_detached(py, |response| response.log(level, line));
    });
}
