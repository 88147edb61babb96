//! The events of one request, for an interpreter in which somebody listens.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Exception, Object, Raised, Result, Waited};
use crate::gateway::current;
use crate::gateway::lease::Lease;
use crate::observe::events::{Event, Subscribers};
use crate::observe::io_counters::Tally;
use crate::observe::metrics::seconds_now;
use crate::observe::metrics::{Measurement, Moments};
use crate::observe::thread_id::thread_id;
use crate::posix::Usage;
use std::sync::Arc;
use wsgi::Level;

/// What the events of a request have in common.
pub(crate) struct Observation<'a, 'py> {
    py: Attached<'py>,
    subscribers: &'a Subscribers,
    lease: Arc<Lease>,
    request_id: Object<'py>,
    data: Object<'py>,
    server_pid: Object<'py>,
}

/// How a request has ended.
pub(crate) struct Ending<'a> {
    pub(crate) status: u16,
    pub(crate) moments: Moments,
    pub(crate) tally: &'a Tally,
    pub(crate) waited: Waited,
    pub(crate) measurement: Option<Measurement>,
}

impl<'a, 'py> Observation<'a, 'py> {
    /// `None` where nobody listens.
    pub(crate) fn begin(
        subscribers: &'a Subscribers,
        lease: &Arc<Lease>,
        environ: &Object<'py>,
    ) -> Result<'py, Option<Self>> {
        let py = environ.py();
        if !subscribers.hear_of_requests(py) {
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
        let lease = Arc::clone(lease);
        Ok(Some(Self { py, subscribers, lease, request_id, data, server_pid }))
    }

    /// `request_started`: what is to be called, which callbacks may replace.
    pub(crate) fn started(
        &self,
        application: Object<'py>,
        callable: &[u8],
        environ: &Object<'py>,
        moments: &Moments,
    ) -> Result<'py, Object<'py>> {
        let py = self.py;
        let event = self.event("request_started")?;
        event.put("thread_id", &py.int(thread_id())?)?;
        // A connection is kept for many requests; this one is on its first worker.
        let connects = i64::from(moments.queue > 0.0);
        event.put("daemon_connects", &py.int(connects)?)?;
        event.put("daemon_restarts", &py.int(0)?)?;
        event.put("server_pid", &self.server_pid)?;
        self.put_moments(&event, moments)?;
        event.put("application_object", &application)?;
        event.put("callable_object", &py.latin1(callable)?)?;
        event.put("request_environ", environ)?;
        event.put("application_start", &py.float(moments.application)?)?;
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
        let Ending { status, moments, tally, waited, measurement } = ending;
        let event = self.event("request_finished")?;
        event.put("thread_id", &py.int(thread_id())?)?;
        event.put("server_pid", &self.server_pid)?;
        self.put_moments(&event, moments)?;
        let count = |number: u64| py.int(i64::try_from(number).unwrap_or(i64::MAX));
        event.put("input_reads", &count(tally.input.calls)?)?;
        event.put("input_length", &count(tally.input.bytes)?)?;
        event.put("input_time", &py.float(tally.input.time.as_secs_f64())?)?;
        event.put("output_writes", &count(tally.output.calls)?)?;
        event.put("output_length", &count(tally.output.bytes)?)?;
        event.put("output_time", &py.float(tally.output.time.as_secs_f64())?)?;
        let finish = seconds_now();
        let time = (finish - moments.application).max(0.0);
        event.put("application_finish", &py.float(finish)?)?;
        event.put("application_time", &py.float(time)?)?;
        event.put("status", &py.int((*status).into())?)?;
        event.put("gil_wait_time", &py.float(waited.time.as_secs_f64())?)?;
        event.put("gil_wait_count", &py.int(waited.count.into())?)?;
        if let Some(before) = measurement.map(|it| it.cpu).filter(|cpu| cpu.user > 0.0) {
            let now = Usage::thread();
            let (user, system) = (now.user - before.user, now.system - before.system);
            // The processor's clock is coarser than ours.
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

    fn put_moments(&self, event: &Event<'py>, moments: &Moments) -> Result<'py, ()> {
        event.put("request_start", &self.py.float(moments.request)?)?;
        event.put("queue_start", &self.py.float(moments.queue)?)?;
        event.put("daemon_start", &self.py.float(moments.daemon)?)
    }

    fn publish(&self, event: &Event<'py>) {
        publish(self.py, self.subscribers, &self.lease, event);
    }
}

/// `response_started`: what `start_response` has been given, before anybody looked at it.
pub(crate) fn response_started<'py>(
    py: Attached<'py>,
    subscribers: &Subscribers,
    lease: &Lease,
    arguments: [Object<'py>; 3],
) -> std::result::Result<(), Raised<'py>> {
    let Some(data) = current::data(py, subscribers)? else { return Ok(()) };
    let event = Event::new(py, "response_started")?;
    event.put("request_id", &current::request_id(py)?)?;
    for (name, value) in
        ["response_status", "response_headers", "exception_info"].into_iter().zip(&arguments)
    {
        event.put(name, value)?;
    }
    event.put("request_data", &data)?;
    publish(py, subscribers, lease, &event);
    Ok(())
}

fn publish<'py>(py: Attached<'py>, subscribers: &Subscribers, lease: &Lease, event: &Event<'py>) {
    subscribers.publish(None, event, &mut |level: Level, line: &str| {
        lease.with_detached(py, |request| request.log(level, line));
    });
}
