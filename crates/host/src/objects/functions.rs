//! The functions of the `mod_wsgi` module (reference sections 6.1 to 6.6).

use super::log_handler;
use super::metrics;
use crate::cpython::{
    Arguments, Attached, Class, ExceptionKind, Instance, Method, Object, Persistent, Result,
};
use crate::failure;
use crate::gateway::current;
use crate::log::SharedLog;
use crate::observe::activity::Activity;
use crate::observe::events::Subscribers;
use crate::options::ServerStatus;
use std::ffi::CStr;
use std::sync::Arc;
use wsgi::Level;

/// What the functions of one interpreter work on; their bound methods are the module's functions.
pub(crate) struct Functions {
    pub(crate) subscribers: Arc<Subscribers>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) log: SharedLog,
    /// Signals are delivered: this is a daemon process.
    pub(crate) has_signals: bool,
    /// Metrics go to a telemetry service only (`WSGITelemetryService`).
    pub(crate) has_telemetry: bool,
    /// `mod_wsgi.threads_per_process`.
    pub(crate) threads: i64,
    /// Apache's scoreboard, in embedded mode and where the configuration opens it.
    pub(crate) server: Option<Arc<dyn ServerStatus>>,
    /// `WSGILogFormat json`.
    pub(crate) json_records: bool,
    /// The module whose functions these are.
    pub(crate) module: Option<Persistent>,
}

type This<'a, 'py> = Instance<'a, 'py, Functions>;

/// `__getattr__` and the functions by their names in the module.
pub(crate) const NAMES: [&CStr; 9] = [
    c"__getattr__",
    c"request_data",
    c"subscribe_events",
    c"subscribe_shutdown",
    c"subscribe_signals",
    c"start_recording_metrics",
    c"request_metrics",
    c"process_metrics",
    c"server_metrics",
];

impl Class for Functions {
    const NAME: &'static CStr = c"mod_wsgi.Functions";
    const METHODS: &'static [Method<Self>] = &[
        Method { name: NAMES[0], call: lazy_attributes },
        Method { name: NAMES[1], call: request_data },
        Method { name: NAMES[2], call: subscribe_events },
        Method { name: NAMES[3], call: subscribe_shutdown },
        Method { name: NAMES[4], call: subscribe_signals },
        Method { name: NAMES[5], call: start_recording_metrics },
        Method { name: NAMES[6], call: request_metrics },
        Method { name: NAMES[7], call: process_metrics },
        Method { name: NAMES[8], call: server_metrics },
    ];

    fn release(&mut self, py: Attached<'_>) {
        if let Some(module) = self.module.take() {
            module.clear(py);
        }
    }
}

/// `__getattr__` of the module: attributes that cost something are made at their first use (PEP 562).
fn lazy_attributes<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    let py = this.py();
    let name = argument(arguments, "__getattr__")?.to_text()?;
    let value = match name.as_str() {
        "LogHandler" => log_handler::class(py, &this.log, this.json_records)?,
        "active_requests" => active_requests(this)?,
        _ => {
            let text = format!("module 'mod_wsgi' has no attribute '{name}'");
            return Err(py.raise(ExceptionKind::Attribute, &text));
        }
    };
    match &this.module {
        // Two threads that ask at once get the same object.
        Some(module) => {
            let names = module.get(py).module_dict()?;
            names.call_method(c"setdefault", [&py.interned(&name)?, &value])
        }
        None => Ok(value),
    }
}

/// Requests are listed from the first use on. Of those being served then, only this thread's is listed.
fn active_requests<'py>(this: &This<'_, 'py>) -> Result<'py, Object<'py>> {
    let py = this.py();
    let list = py.dict()?;
    let kept = Persistent::new(list.clone());
    if let Err(unused) = this.subscribers.active_requests.set(kept) {
        unused.clear(py);
    }
    current::data(py, &this.subscribers)?;
    Ok(this.subscribers.active_requests.get().map_or(list, |kept| kept.get(py)))
}

fn request_data<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    arguments.expect("request_data", 0, 0)?;
    let py = this.py();
    current::data(py, &this.subscribers)?
        .ok_or_else(|| py.raise(ExceptionKind::Runtime, "no active request for this thread"))
}

fn subscribe_events<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    let callback = argument(arguments, "subscribe_events")?;
    // Events contain figures that are measured from the start of a request.
    this.activity.measure();
    this.subscribers.add(&this.subscribers.events, &callback)?;
    Ok(callback)
}

fn subscribe_shutdown<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    let callback = argument(arguments, "subscribe_shutdown")?;
    this.subscribers.add(&this.subscribers.shutdown, &callback)?;
    Ok(callback)
}

fn subscribe_signals<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    let callback = argument(arguments, "subscribe_signals")?;
    if this.has_signals {
        this.subscribers.add(&this.subscribers.signals, &callback)?;
    } else {
        let line = "subscribe_signals() has no effect in embedded mode: signals are told to callbacks \
                    in daemon processes only";
        this.log.log(Level::Info, line.as_bytes());
        failure::stack(this.py(), &mut |line| this.log.log(Level::Info, line.as_bytes()));
    }
    Ok(callback)
}

fn start_recording_metrics<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    arguments.expect("start_recording_metrics", 0, 0)?;
    this.activity.record();
    Ok(this.py().none())
}

fn request_metrics<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    arguments.expect("request_metrics", 0, 0)?;
    let py = this.py();
    if this.has_telemetry || !this.activity.is_recording() {
        return Ok(py.none());
    }
    metrics::of_requests(py, &this.activity, this.threads)
}

fn process_metrics<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    arguments.expect("process_metrics", 0, 0)?;
    let py = this.py();
    if this.has_telemetry || !this.activity.is_recording() {
        return Ok(py.none());
    }
    metrics::of_process(py, &this.activity)
}

fn server_metrics<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    arguments.expect("server_metrics", 0, 0)?;
    let py = this.py();
    match this.server.as_ref().and_then(|server| server.snapshot()) {
        Some(board) => metrics::of_server(py, &board),
        None => Ok(py.none()),
    }
}

fn argument<'py>(arguments: &Arguments<'_, 'py>, name: &str) -> Result<'py, Object<'py>> {
    if arguments.len() == 1
        && let Some(argument) = arguments.get(0)
    {
        return Ok(argument);
    }
    let text = format!("{name}() takes exactly one argument ({} given)", arguments.len());
    Err(arguments.py().raise(ExceptionKind::Type, &text))
}
