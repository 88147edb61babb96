//! One request, from the transport's exchange to its last byte: set up, run through Python, completed.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Capsule, GilWaitTimer, Result};
use crate::gateway::call::{Call, Completion, Figures};
use crate::gateway::current::CurrentRequest;
use crate::gateway::environ::Builder;
use crate::gateway::lease::Lease;
use crate::gateway::response::{Buffers, ChunkError, Response};
use crate::gateway::target::{Served, Target};
use crate::interpreters::interpreter::Interpreter;
use crate::observe::activity::{self, ActiveRequest, Activity};
use crate::observe::metrics::Finished;
use crate::observe::running_request::{Reported, RunningRequest};
use crate::telemetry::Details;
use std::cell::{OnceCell, RefCell};
use std::sync::Arc;
use std::time::Instant;
use wsgi::{Exchange, Level};

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Serves one request in `interpreter`. The calling thread must not be attached to any. `may_be_slow`: other threads
/// look for requests that take too long.
pub(crate) fn serve(
    interpreter: &Arc<Interpreter>,
    process_group: &str,
    target: &Target<'_>,
    exchange: &mut dyn Exchange,
    activity: &Activity,
    may_be_slow: bool,
) -> Served {
    let buffers = BUFFERS.take().cleared();
    let mut response = Response::new(exchange, target.script.path, buffers);
    let active = activity.begin_request();
    let figures = Figures::begin(active.measurement());
    response.io.timed = figures.measurement.is_some();
    response.before_end = may_be_slow.then_some(activity::report_slow_end);
    let mut announced = may_be_slow.then(|| Announced::new(activity));
    let completion = match interpreter.attach() {
        Some(attachment) => {
            let observation = OnceCell::new();
            let call = Call {
                py: attachment.py(),
                interpreter,
                process_group,
                target,
                figures: &figures,
                observation: &observation,
            };
            run(&call, &mut response, announced.as_mut())
        }
        None => {
            response
                .log(Level::Error, "WSGI0191: cannot create a thread state for this thread [XH]");
            Completion::Fail(500)
        }
    };
    response.application_done = true;
    let served = complete(completion, &mut response);
    let running = announced.and_then(Announced::withdraw);
    record(&active, &figures, served, running, &mut response);
    BUFFERS.set(response.into_buffers());
    served
}

/// Runs the application under a lease on the response.
fn run(
    call: &Call<'_, '_>,
    response: &mut Response<'_>,
    announced: Option<&mut Announced<'_>>,
) -> Completion {
    let py = call.py;
    // Before the response is lent: what is made here may set off a garbage collection, and with it
    // Python code that writes to a log.
    let native = Capsule::of(py, response.exchange.native_request());
    let variables = native.and_then(|native| {
        call.variables(response.exchange, native.as_ref()).map(|it| (it, native))
    });
    // The capsule is revoked once the request has ended.
    let (variables, _native) = match variables {
        Ok((variables, native)) => (Ok(variables), native),
        Err(raised) => (Err(raised), None),
    };
    Lease::lend(response, py, |lease| {
        if activity::take_pending_interrupt() {
            // It came too late for the request before, which is no reason to end this one.
            py.interrupt(Attached::thread_ident(), None);
        }
        let current = CurrentRequest::begin(py, lease, &call.interpreter.state.subscribers);
        if let Some(announced) = announced {
            announced.announce(call, lease, &variables);
        }
        let completion = call.run(variables, lease, &current);
        // What was printed without a newline still is a line.
        lease.with_unfinished_log(py);
        completion
    })
}

/// Does what is left to do once Python has been left.
fn complete(completion: Completion, response: &mut Response<'_>) -> Served {
    match completion {
        Completion::Fail(status) => Served::Failed(status),
        Completion::FailLoad(status) => Served::LoadFailed(status),
        Completion::GiveBack => Served::GivenBack,
        Completion::NotLoaded(status) => Served::NotLoaded(status),
        Completion::Nothing => Served::Done,
        Completion::Finish => match response.finish() {
            Ok(()) | Err(ChunkError::Send(_)) => Served::Done,
            // The head was checked while Python could still raise.
            Err(ChunkError::NotStarted | ChunkError::Head(_)) => Served::Failed(500),
        },
    }
}

/// Reports the end of a slow request, and adds a measured one to the figures of the process.
fn record(
    active: &ActiveRequest<'_>,
    figures: &Figures,
    served: Served,
    mut running: Option<RunningRequest>,
    response: &mut Response<'_>,
) {
    if let Some(line) = running.as_mut().and_then(RunningRequest::end_line) {
        response.log(Level::Warning, &line);
    }
    let Some(gil_wait) = figures.gil_wait.get() else { return };
    let status = match served {
        // The process that serves the request counts it.
        Served::GivenBack | Served::NotLoaded(_) => return,
        Served::Failed(status) | Served::LoadFailed(status) => status,
        Served::Done => response.status().unwrap_or(500),
    };
    let finished = Finished {
        status,
        timestamps: figures.timestamps.get(),
        io: &response.io,
        gil_wait: Some(GilWaitTimer::so_far(gil_wait)),
    };
    active.record(&finished);
    if let Some((details, since)) = running.and_then(|it| Some((it.details?, it.since))) {
        active.record_slow(&details, since, &finished);
    }
}

/// What the calling thread serves, made known to the threads that look for slow requests.
struct Announced<'a> {
    activity: &'a Activity,
    since: Instant,
    /// What the thread served before, which there is where an output filter makes a subrequest. `None`: nothing has been
    /// announced.
    previous: Option<Option<RunningRequest>>,
}

impl<'a> Announced<'a> {
    fn new(activity: &'a Activity) -> Self {
        Self { activity, since: Instant::now(), previous: None }
    }

    fn announce(
        &mut self,
        call: &Call<'_, '_>,
        lease: &Arc<Lease>,
        variables: &Result<'_, Builder<'_, '_>>,
    ) {
        let Some(thread_state) = call.interpreter.python.thread_state() else { return };
        let records = self.activity.slow_records();
        self.previous = Some(activity::set_running_request(Some(RunningRequest {
            since: self.since,
            line: request_line(variables),
            script: call.script_name(),
            interpreter: Arc::clone(call.interpreter),
            thread_state,
            lease: Arc::clone(lease),
            reported: Reported::Nothing,
            ident: Attached::thread_ident(),
            interrupted: false,
            reported_hanging: false,
            details: records
                .map(|records| Arc::new(Details::of(variables, records, self.activity.active()))),
        })));
    }

    /// Takes it back; what was served before is announced again.
    fn withdraw(self) -> Option<RunningRequest> {
        self.previous.and_then(activity::set_running_request)
    }
}

/// Method and target of a request, for the log.
fn request_line(variables: &Result<'_, Builder<'_, '_>>) -> String {
    let text = |name| variables.as_ref().ok().and_then(|variables| variables.text(name));
    let method = text("REQUEST_METHOD").unwrap_or_default();
    let target = text("REQUEST_URI").or_else(|| text("PATH_INFO")).unwrap_or_default();
    format!("{method} {target}")
}
