//! The call of the application (PEP 3333): script, environ, `start_response`, the iterable's `close`, and what becomes of
//! exceptions. How the response is sent is in `send`.
#![forbid(unsafe_code)]

use crate::cpython::{
    Attached, Capsule, Exception, ExceptionKind, GilWaitTimer, Object, Persistent, Raised, Result,
};
use crate::failure::{self, ErrorLocation};
use crate::gateway::current::{self, CurrentRequest};
use crate::gateway::environ::{Builder, EnvironPrefix};
use crate::gateway::lease::Lease;
use crate::gateway::response::{ChunkError, Stage};
use crate::gateway::send::{collect, iterate};
use crate::gateway::target::Target;
use crate::interpreters::application::application;
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::load::{LoadFailure, Purpose, load};
use crate::objects::{Adapter, Input, Log};
use crate::observe::metrics::{Measurement, Timestamps, seconds_now};
use crate::observe::observation::{Ending, Observation};
use crate::observe::thread_id::thread_id;
use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use wsgi::{Exchange, Level, ReadError, SendError};

/// What is left to do once Python has been left.
pub(crate) enum Completion {
    /// Nothing.
    Nothing,
    /// Send the collected response.
    Finish,
    /// Nothing was sent and nothing will be: the server answers with this HTTP status.
    Fail(u16),
    /// The same, because the script could not be loaded.
    FailLoad(u16),
    /// Nothing was done and nothing will be: another process is to serve the request.
    GiveBack,
    /// Nothing was done and nothing will be: the script could not be loaded, and another process has it.
    NotLoaded(u16),
}

/// What is measured of a request.
pub(crate) struct Figures {
    /// `None`: the request is not measured from its start.
    pub(crate) measurement: Option<Measurement>,
    /// Set where the request is measured, or an application has subscribed to events.
    pub(crate) gil_wait: OnceCell<GilWaitTimer>,
    pub(crate) timestamps: Cell<Option<Timestamps>>,
}

impl Figures {
    pub(crate) fn begin(measurement: Option<Measurement>) -> Self {
        let gil_wait = OnceCell::new();
        if measurement.is_some() {
            gil_wait.get_or_init(GilWaitTimer::measure);
        }
        Self { measurement, gil_wait, timestamps: Cell::new(None) }
    }
}

/// One request to one application, as long as its thread is attached.
pub(crate) struct Call<'a, 'py> {
    pub(crate) py: Attached<'py>,
    pub(crate) interpreter: &'a Arc<Interpreter>,
    pub(crate) process_group: &'a str,
    pub(crate) target: &'a Target<'a>,
    pub(crate) figures: &'a Figures,
    /// Set where an application has subscribed to events.
    pub(crate) observation: &'a OnceCell<Observation<'a, 'py, Arc<Lease>>>,
}

impl<'a, 'py> Call<'a, 'py> {
    /// Loads the script, calls the application and sends what it returns.
    pub(crate) fn run(
        &self,
        variables: Result<'py, Builder<'_, 'py>>,
        lease: &Arc<Lease>,
        current: &CurrentRequest<'_, 'py>,
    ) -> Completion {
        let variables = match variables {
            Ok(variables) => variables,
            Err(raised) => return self.failed(raised, lease),
        };
        let module = match self.module(&variables, lease) {
            Ok(module) => module,
            Err(LoadFailure::Status(status)) => return self.not_loaded(status),
            Err(LoadFailure::Outdated) => return Completion::GiveBack,
        };
        let log = |level, line: &str| self.log(lease, level, line);
        let (location, known) = (self.error_location(), Some(variables.so_far()));
        let found = application(self.interpreter, &location, &module, self.target, known, &log);
        let Some(application) = found else { return self.not_loaded(500) };
        let completion = match self.answer(application, variables, lease, current) {
            Ok(completion) => completion,
            Err(raised) => self.failed(raised, lease),
        };
        match self.observation.get() {
            Some(observation) => self.finished(observation, completion, lease),
            None => completion,
        }
    }

    /// There is no application: what becomes of the request, which would be answered with that HTTP status.
    const fn not_loaded(&self, status: u16) -> Completion {
        if self.target.is_elsewhere {
            Completion::NotLoaded(status)
        } else {
            Completion::FailLoad(status)
        }
    }

    /// Sends what is left of the response and publishes `request_finished`.
    fn finished(
        &self,
        observation: &Observation<'_, 'py, Arc<Lease>>,
        completion: Completion,
        lease: &Lease,
    ) -> Completion {
        let completion = match completion {
            Completion::Finish => match lease.with_detached(self.py, |response| {
                response.application_done = true;
                response.finish()
            }) {
                Some(Err(ChunkError::NotStarted | ChunkError::Head(_))) => Completion::Fail(500),
                Some(Ok(()) | Err(ChunkError::Send(_))) | None => Completion::Nothing,
            },
            completion => completion,
        };
        let (status, io) =
            lease.with(self.py, |response| (response.status(), response.io)).unwrap_or_default();
        let published = observation.finished(&Ending {
            status: if let Completion::Fail(status) = completion {
                status
            } else {
                status.unwrap_or(500)
            },
            timestamps: self.figures.timestamps.get().unwrap_or_default(),
            io: &io,
            gil_wait: Some(
                self.figures.gil_wait.get().map(GilWaitTimer::so_far).unwrap_or_default(),
            ),
            measurement: self.figures.measurement,
        });
        if let Err(raised) = published {
            self.report(raised, None, lease);
        }
        completion
    }

    /// The script's module dict, or why there is none.
    fn module(
        &self,
        variables: &Builder<'_, 'py>,
        lease: &Lease,
    ) -> std::result::Result<Object<'py>, LoadFailure> {
        let log = |level, line: &str| self.log(lease, level, line);
        let (location, script) = (self.error_location(), &self.target.script);
        load(
            self.py,
            self.interpreter,
            &location,
            script,
            Purpose::Request,
            Some(variables.so_far()),
            &log,
        )
    }

    /// Calls the application and sends what it returns.
    fn answer(
        &self,
        application: Object<'py>,
        variables: Builder<'_, 'py>,
        lease: &Arc<Lease>,
        current: &CurrentRequest<'_, 'py>,
    ) -> Result<'py, Completion> {
        let py = self.py;
        let state = &self.interpreter.state;
        let environ = self.environ(variables, lease)?;
        current.set_environ(&environ)?;
        let application = self.start_figures(application, &environ, lease)?;
        let subscribers = self.observation.get().map(|_| Arc::clone(&state.subscribers));
        let adapter = Adapter { lease: Arc::clone(lease), subscribers };
        let adapter = state.adapter.get(py).instantiate(adapter)?;
        let start_response = adapter.attribute_of(&state.keys.start_response.get(py))?;
        let result = application.call([&environ, &start_response])?;
        if result.is_plain_sequence() && collect(&result, lease)? {
            return Ok(Completion::Finish);
        }
        let sent = iterate(&result, &state.file_wrapper.get(py), lease);
        // The iterable is closed in any case (PEP 3333, "Specification Details"); of two exceptions the first one is
        // the request's.
        let sent = sent.map_err(Raised::take);
        let closed = result.attribute_if_any(c"close").and_then(|close| match close {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        });
        if let Err(raised) = closed {
            self.report(raised, None, lease);
        }
        sent.map_err(Exception::restore)?;
        Ok(Completion::Nothing)
    }

    /// Notes what events and metrics need, and publishes `request_started`; returns what is to be called, which
    /// callbacks may have replaced.
    fn start_figures(
        &self,
        application: Object<'py>,
        environ: &Object<'py>,
        lease: &Arc<Lease>,
    ) -> Result<'py, Object<'py>> {
        let subscribers = &self.interpreter.state.subscribers;
        let Some(observation) = Observation::begin(subscribers, lease, environ)? else {
            if self.figures.measurement.is_some() {
                self.figures.timestamps.set(Some(self.timestamps(environ)?));
            }
            return Ok(application);
        };
        // The script may have subscribed while it was loaded for this request.
        self.figures.gil_wait.get_or_init(GilWaitTimer::measure);
        lease.with(self.py, |response| response.io.timed = true);
        let timestamps = self.timestamps(environ)?;
        let application = observation.started(
            application,
            self.target.callable,
            ("request_environ", environ),
            &timestamps,
        )?;
        self.figures.timestamps.set(Some(timestamps));
        // The cell is empty: this runs once for each `Call`.
        let _ = self.observation.set(observation);
        Ok(application)
    }

    /// When the request reached Apache, the queue, the daemon and the application, as its environ says.
    fn timestamps(&self, environ: &Object<'py>) -> Result<'py, Timestamps> {
        let keys = &self.interpreter.state.keys;
        let time = |key: &Persistent| match environ.item(&key.get(self.py))? {
            Some(time) => time.as_f64(),
            None => Ok(0.0),
        };
        Ok(Timestamps {
            request: time(&keys.request_start)?,
            queue: time(&keys.queue_start)?,
            daemon: time(&keys.daemon_start)?,
            application: time(&keys.application_start)?,
        })
    }

    /// The transport's variables.
    pub(crate) fn variables(
        &self,
        exchange: &mut dyn Exchange,
        native: Option<&Capsule<'py>>,
    ) -> Result<'py, Builder<'_, 'py>> {
        let py = self.py;
        let state = &self.interpreter.state;
        let prefix = EnvironPrefix {
            template: &state.template,
            keys: &state.keys,
            callable: self.target.callable,
            application_group: self.target.application_group,
        };
        let mut builder =
            Builder::begin(py, &state.environ_cache, prefix, |environ| exchange.environ(environ));
        if let Some(native) = native {
            builder.put(&py.interned(Capsule::NAME)?, native.object())?;
        }
        Ok(builder)
    }

    /// The environ: the variables, and the objects of this request.
    fn environ(
        &self,
        mut builder: Builder<'_, 'py>,
        lease: &Arc<Lease>,
    ) -> Result<'py, Object<'py>> {
        let py = self.py;
        let state = &self.interpreter.state;
        let keys = &state.keys;
        let input = state.input.get(py).instantiate(Input::new(Arc::clone(lease)))?;
        builder.put(&keys.wsgi_input.get(py), &input)?;
        let errors = state
            .log
            .get(py)
            .instantiate(Log::of_request(Arc::clone(lease), state.json.clone()))?;
        builder.put(&keys.wsgi_errors.get(py), &errors)?;
        builder.put(&keys.thread_id.get(py), &py.int(thread_id())?)?;
        builder.put(&keys.application_start.get(py), &py.float(seconds_now())?)?;
        builder.finish()
    }

    /// Turns what the application raised into a response.
    fn failed(&self, raised: Raised<'py>, lease: &Lease) -> Completion {
        let py = self.py;
        let state = lease.with(py, |response| {
            (response.stage(), response.read_failure().cloned(), response.send_failure())
        });
        let (stage, read_failure, send_failure) = state.unwrap_or((Stage::Ended, None, None));
        let has_left = send_failure == Some(SendError::Disconnected)
            || read_failure == Some(ReadError::Disconnected);
        let of_the_client = raised.is(ExceptionKind::Os)
            && (has_left
                || matches!(&read_failure, Some(why) if !matches!(why, ReadError::Other(_))));
        let timed_out = raised.is_of(&self.interpreter.state.request_timeout(py));
        if of_the_client {
            let exception = raised.take();
            let why = exception.value.text();
            let flag = if has_left { "CL" } else { "RB" };
            self.log(lease, Level::Debug, &format!("the application gave up: {why} [{flag}]"));
        } else if timed_out {
            let (stage, end) = if stage >= Stage::Sending {
                (" after headers sent", "response truncated")
            } else {
                ("", "thread recovered")
            };
            let line = format!("Request interrupted by RequestTimeout{stage}; {end}.");
            self.log(lease, Level::Info, &line);
            self.publish_exception(&raised.take());
        } else {
            let flag = if stage >= Stage::Sending { "XB" } else { "XH" };
            self.report(raised, Some(flag), lease);
        }
        if stage >= Stage::Sending {
            lease.with_detached(py, |response| response.cut());
            return Completion::Nothing;
        }
        match read_failure {
            _ if timed_out => Completion::Fail(504),
            Some(why) if of_the_client => Completion::Fail(why.status()),
            _ => Completion::Fail(500),
        }
    }

    /// Logs an exception; `flag` as in [`failure::report`].
    fn report(&self, raised: Raised<'py>, flag: Option<&'static str>, lease: &Lease) {
        let exception = raised.take();
        failure::report(
            &exception,
            &self.script_name(),
            &self.error_location(),
            current::environ(self.py).as_ref(),
            flag,
            &mut |level, line| {
                self.log(lease, level, line);
            },
        );
        self.publish_exception(&exception);
    }

    fn publish_exception(&self, exception: &Exception<'py>) {
        if let Some(observation) = self.observation.get()
            && let Err(raised) = observation.exception(exception)
        {
            raised.clear();
        }
    }

    fn log(&self, lease: &Lease, level: Level, line: &str) {
        lease.with_detached(self.py, |response| response.log(level, line));
    }

    pub(crate) fn script_name(&self) -> String {
        String::from_utf8_lossy(self.target.script.path).into_owned()
    }

    fn error_location(&self) -> ErrorLocation<'_> {
        ErrorLocation {
            application_group: &self.interpreter.name,
            process_group: self.process_group,
        }
    }
}
