//! A request as Python code of the server sees it (`server.py`): what it does without waiting.
#![forbid(unsafe_code)]

use crate::asgi::facts::{Facts, LogId};
use crate::asgi::gate::{Gate, Incoming, Outcome, Stage, Violation};
use crate::asgi::message::{self, Outgoing, Piece};
use crate::asgi::names::Name;
use crate::asgi::observed::{Notes, Observed};
use crate::asgi::scope;
use crate::asgi::shared;
use crate::asgi::socket::Socket;
use crate::asgi::socket_message::{self, Answer};
use crate::asgi::transport::AsgiExchange;
use crate::cpython::{
    Arguments, Attached, Class, Exception, ExceptionKind, Instance, Method, Object, Property,
    Result,
};
use crate::observe::events::Subscribers;
use crate::observe::loop_requests::{LoopRequest, ResponseView};
use crate::observe::observation::{Ending, EventLog, Observation};
use crate::telemetry::Details;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use wsgi::{Level, ResponseHead};

/// A request that is under way.
pub(crate) struct Request {
    gate: Held,
    /// Where anything is noted of it.
    notes: OnceLock<Box<Notes>>,
}

/// The response. `None` once the application has returned.
#[expect(
    clippy::large_enum_variant,
    reason = "most requests have the large one, and no allocation of its own for that"
)]
enum Held {
    Own(Mutex<Option<Gate>>),
    /// Those who look for slow requests have it as well.
    Shared(Arc<View>),
}

/// A response as those see it who look for slow requests.
struct View(Mutex<Option<Gate>>);

impl ResponseView for View {
    fn log(&self, level: Level, line: &str) -> bool {
        let mut gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gate.as_mut().map(|gate| gate.log(level, line.as_bytes())).is_some()
    }

    fn is_event_stream(&self) -> bool {
        let gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gate.as_ref().is_some_and(Gate::is_event_stream)
    }
}

/// Where what callbacks raise is logged.
struct CallbackLog<'a>(&'a Request);

impl EventLog for CallbackLog<'_> {
    fn log(&self, _: Attached<'_>, level: Level, line: &str) {
        let logged = self.0.while_running(|gate| gate.log(level, line.as_bytes()));
        if let Some(shared) = shared::get().filter(|_| logged.is_none()) {
            shared.log.log(level, line.as_bytes());
        }
    }
}

impl Request {
    /// `is_watched`: others look whether it is slow.
    pub(super) fn new(exchange: Box<dyn AsgiExchange>, is_watched: bool) -> Self {
        // Made where it stays: it is large.
        let gate = || Mutex::new(Some(Gate::new(exchange)));
        let gate =
            if is_watched { Held::Shared(Arc::new(View(gate()))) } else { Held::Own(gate()) };
        Self { gate, notes: OnceLock::new() }
    }

    /// Calls `with` unless the application has returned. `with` must not run Python code, which could come back here.
    pub(super) fn while_running<R>(&self, with: impl FnOnce(&mut Gate) -> R) -> Option<R> {
        self.gate().as_mut().map(with)
    }

    /// The request has been answered without its application.
    pub(super) fn forget(&self) {
        *self.gate() = None;
    }

    fn gate(&self) -> MutexGuard<'_, Option<Gate>> {
        let gate = match &self.gate {
            Held::Own(gate) => gate,
            Held::Shared(view) => &view.0,
        };
        gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is noted of it, from now on.
    fn notes(&self) -> &Notes {
        self.notes.get_or_init(Box::default)
    }

    /// Where it is observed.
    fn observed(&self) -> Option<&Observed> {
        self.notes.get()?.observed()
    }

    /// The variables that are noted of it.
    fn facts(&self) -> Option<Facts> {
        self.while_running(|gate| Facts::collect(|environ| gate.environ(environ)))
    }

    /// Its identifier in the log; `None` where it has none, and once the application has returned.
    pub(super) fn id(&self) -> Option<String> {
        let noted = self.notes.get().and_then(|notes| notes.id());
        let id = self.while_running(|gate| match noted {
            Some(id) => Some(id.to_owned()),
            None => LogId::find(|environ| gate.environ(environ)),
        });
        id.flatten().filter(|id| !id.is_empty())
    }

    /// Notes its identifier: the variables are gone once the response is complete, before the application has returned.
    pub(super) fn keep_id(&self) {
        if let Some(id) = self.id() {
            self.notes().keep_id(id);
        }
    }

    /// The dict for the application's own data; `None` once the application has returned.
    pub(super) fn data<'py>(
        &self,
        py: Attached<'py>,
        subscribers: &Subscribers,
    ) -> Result<'py, Option<Object<'py>>> {
        if self.while_running(|_| ()).is_none() {
            return Ok(None);
        }
        self.notes().data(py, subscribers, || self.id()).map(Some)
    }

    /// What callbacks are told of the request, where they have been told of its start or are to be.
    fn observation<'a, 'py>(
        &'a self,
        py: Attached<'py>,
        observed: &Observed,
    ) -> Result<'py, Option<Observation<'a, 'py, CallbackLog<'a>>>> {
        let Some(shared) = shared::get() else { return Ok(None) };
        let subscribers = shared.subscribers();
        let Some(data) = self.data(py, subscribers)? else { return Ok(None) };
        let id = self.notes.get().and_then(|notes| notes.id()).unwrap_or_default();
        let (id, log) = (py.str(id)?, CallbackLog(self));
        Observation::of(subscribers, log, id, data, observed.server_pid).map(Some)
    }

    /// Tells callbacks something of the request, where they have been told of its start.
    fn tell<'py>(
        &self,
        py: Attached<'py>,
        what: impl FnOnce(&Observed, &Observation<'_, 'py, CallbackLog<'_>>) -> Result<'py, ()>,
    ) -> Result<'py, ()> {
        let Some(observed) = self.observed().filter(|it| it.is_told()) else { return Ok(()) };
        match self.observation(py, observed)? {
            Some(observation) => what(observed, &observation),
            None => Ok(()),
        }
    }

    /// Tells callbacks what the application has raised.
    pub(super) fn tell_exception<'py>(&self, py: Attached<'py>, exception: &Exception<'py>) {
        if let Err(raised) = self.tell(py, |_, observation| observation.exception(exception)) {
            raised.clear();
        }
    }

    /// Logs the end of a request that was logged as slow, once.
    fn log_slow_end(&self) {
        if let Some(line) = self.observed().and_then(|observed| observed.request.end_line()) {
            self.while_running(|gate| gate.log(Level::Warning, line.as_bytes()));
        }
    }

    /// The response, for those who look for slow requests.
    fn view(&self) -> Option<Arc<dyn ResponseView>> {
        match &self.gate {
            Held::Own(_) => None,
            Held::Shared(view) => Some(Arc::clone(view) as Arc<dyn ResponseView>),
        }
    }

    /// Tells callbacks of the end, and counts it. What was noted is given back.
    fn finish_notes(&self, py: Attached<'_>) {
        let (Some(notes), Some(shared)) = (self.notes.get(), shared::get()) else { return };
        if let Some(observed) = notes.observed() {
            let found = self.while_running(|gate| (gate.status().unwrap_or(500), gate.io()));
            let (status, io) = found.unwrap_or_default();
            let told = self.tell(py, |observed, observation| {
                observation.finished(&Ending {
                    status,
                    timestamps: observed.timestamps,
                    io: &io,
                    gil_wait: None,
                    measurement: None,
                })
            });
            if let Err(raised) = told {
                raised.clear();
            }
            observed.record(py, &shared.activity, status, &io);
        }
    }

    /// Writes the lines about an exception, and answers; whether it is one of the application's: that a client has gone
    /// is no fault of it.
    pub(super) fn fail(&self, exception: &Exception<'_>, lines: &[String]) -> bool {
        let of_client = exception.is(ExceptionKind::Os);
        self.log_slow_end();
        let failed = self.while_running(|gate| {
            if of_client && gate.is_disconnected() {
                gate.log(Level::Debug, b"the application gave up: the client has disconnected");
                return false;
            }
            let is_cut = matches!(gate.stage(), Stage::Sending | Stage::Complete);
            let flag = if is_cut { "XB" } else { "XH" };
            let mut lines = lines.iter();
            if let Some(headline) = lines.next() {
                gate.log(Level::Error, format!("{headline} [{flag}]").as_bytes());
            }
            lines.for_each(|line| gate.log(Level::Error, line.as_bytes()));
            gate.fail(500);
            true
        });
        failed.unwrap_or(true)
    }
}

type This<'a, 'py> = Instance<'a, 'py, Request>;

impl Class for Request {
    const NAME: &'static CStr = c"mod_wsgi.AsgiRequest";
    const METHODS: &'static [Method<Self>] = &[
        Method { name: c"scope", call: make_scope },
        Method { name: c"receive", call: receive },
        Method { name: c"send", call: send },
        Method { name: c"handshake", call: handshake },
        Method { name: c"flush", call: flush },
        Method { name: c"progress", call: progress },
        Method { name: c"watch", call: watch },
        Method { name: c"fail", call: fail },
        Method { name: c"refuse", call: refuse },
        Method { name: c"lost", call: lost },
        Method { name: c"end", call: end },
        Method { name: c"observe", call: observe },
        Method { name: c"started", call: started },
    ];
    const PROPERTIES: &'static [Property<Self>] = &[
        Property { name: c"number", get: number },
        Property { name: c"request_number", get: request_number },
        Property { name: c"answered", get: answered },
        Property { name: c"disconnected", get: disconnected },
        Property { name: c"interrupted", get: interrupted },
    ];

    fn release(&mut self, py: Attached<'_>) {
        if let Some((notes, shared)) = self.notes.get().zip(shared::get()) {
            notes.end(py, shared.subscribers());
        }
    }
}

/// `observe(task, script)`: has events, metrics and those who look for slow requests know of the request, which that task
/// serves.
fn observe<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let py = this.py();
    arguments.expect("observe", 2, 2)?;
    let (Some(task), Some(script)) = (arguments.get(0), arguments.get(1)) else {
        return Ok(py.none());
    };
    let (Some(shared), Some(facts)) = (shared::get(), this.facts()) else {
        return Ok(py.none());
    };
    let activity = &shared.activity;
    let is_measured = activity.is_measuring();
    let Some(number) = this.while_running(|gate| {
        gate.count(is_measured);
        gate.number()
    }) else {
        return Ok(py.none());
    };
    let details = activity.slow_records().map(|records| {
        let texts = facts.texts.clone();
        Arc::new(Details::with(texts, facts.timestamps, records, activity.active()))
    });
    let request = Arc::new(LoopRequest::new(
        facts.line(),
        script.text(),
        Arc::clone(&shared.interpreter),
        this.view(),
        details,
        task,
    ));
    activity.loop_requests.add(number, Arc::clone(&request));
    this.notes().keep_id(facts.texts.log_id.clone());
    this.notes().observe(Observed::new(number, request, &facts, is_measured));
    let subscribers = shared.subscribers();
    if subscribers.active_requests.get().is_some() {
        this.data(py, subscribers)?;
    }
    Ok(py.none())
}

/// `started(scope, application, callable)`: tells callbacks of the start; what is to be called, which they may have
/// replaced. `callable` is the name of the application in its script.
fn started<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let py = this.py();
    arguments.expect("started", 3, 3)?;
    let (Some(scope), Some(application), Some(callable)) =
        (arguments.get(0), arguments.get(1), arguments.get(2))
    else {
        return Ok(py.none());
    };
    let Some((observed, shared)) = this.observed().zip(shared::get()) else {
        return Ok(application);
    };
    if !shared.subscribers().subscribed_to_requests(py) {
        return Ok(application);
    }
    this.while_running(|gate| gate.count(true));
    let Some(observation) = this.observation(py, observed)? else { return Ok(application) };
    observed.note_told();
    let called_with = ("request_scope", &scope);
    observation.started(application, callable.text().as_bytes(), called_with, &observed.timestamps)
}

/// Tells callbacks that a response begins.
fn tell_response<'py>(
    this: &This<'_, 'py>,
    message: &Object<'py>,
    head: &ResponseHead,
) -> Result<'py, ()> {
    let py = this.py();
    this.tell(py, |_, observation| {
        let headers = match message.item(&Name::Headers.object(py)?)? {
            Some(headers) => headers,
            None => py.list()?,
        };
        observation.response_started(&[py.latin1(head.status_line())?, headers, py.none()])
    })
}

/// Has those know of a message who look at the request, before it is sent.
fn note_outgoing<'py>(
    this: &This<'_, 'py>,
    message: &Object<'py>,
    outgoing: &Outgoing<'_>,
) -> Result<'py, ()> {
    if let Outgoing::Start(head) = outgoing {
        return tell_response(this, message, head);
    }
    if outgoing.is_last() {
        this.log_slow_end();
    }
    Ok(())
}

fn number<'py>(this: &This<'_, 'py>) -> Result<'py, Object<'py>> {
    integer(this, this.while_running(|gate| gate.number()))
}

fn request_number<'py>(this: &This<'_, 'py>) -> Result<'py, Object<'py>> {
    integer(this, this.while_running(|gate| gate.request_number()).flatten())
}

/// A number, or -1 where there is none.
fn integer<'py>(this: &This<'_, 'py>, number: Option<usize>) -> Result<'py, Object<'py>> {
    this.py().int(number.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1))
}

/// Whether the client has gone before all of the response was sent.
fn disconnected<'py>(this: &This<'_, 'py>) -> Result<'py, Object<'py>> {
    Ok(this.py().bool(this.while_running(Gate::is_disconnected).unwrap_or(false)))
}

/// Whether its task is cancelled because it takes longer than it may.
fn interrupted<'py>(this: &This<'_, 'py>) -> Result<'py, Object<'py>> {
    Ok(this.py().bool(this.observed().is_some_and(|observed| observed.request.is_interrupted())))
}

/// Whether the response is complete.
fn answered<'py>(this: &This<'_, 'py>) -> Result<'py, Object<'py>> {
    let stage = this.while_running(|gate| gate.stage());
    Ok(this.py().bool(stage.is_none_or(|stage| stage == Stage::Complete)))
}

/// `scope()`
fn make_scope<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let found = this.while_running(|gate| {
        let kind = match gate.is_websocket() {
            true => scope::Kind::WebSocket,
            false => scope::Kind::Http { takes_early_hints: gate.takes_early_hints() },
        };
        (gate.variables(), kind)
    });
    let (variables, kind) = found
        .unwrap_or_else(|| (Default::default(), scope::Kind::Http { takes_early_hints: false }));
    scope::scope(this.py(), &variables, kind)
}

/// `receive()`: the next message, or `None` where there is none yet.
fn receive<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let py = this.py();
    match this.while_running(Gate::receive) {
        Some(Incoming::Body { bytes, more }) => message::request(py, &bytes, more),
        Some(Incoming::Nothing) => Ok(py.none()),
        Some(Incoming::Disconnect) | None => message::disconnect(py),
    }
}

/// `send(message)`: 0 where all has been handed on, 1 where `flush()` is to be called when the request can go on, 2 where
/// the client has gone.
fn send<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let py = this.py();
    arguments.expect("send", 1, 1)?;
    let Some(message) = arguments.get(0) else { return Ok(py.none()) };
    let outgoing = message::outgoing(&message)?;
    if this.notes.get().is_some() {
        note_outgoing(this, &message, &outgoing)?;
    }
    let outcome = match outgoing {
        Outgoing::Start(head) => this.while_running(|gate| gate.start(head)),
        Outgoing::EarlyHint(links) => this.while_running(|gate| gate.hint(&links)),
        Outgoing::Body(Piece { body, more }) => {
            this.while_running(|gate| gate.send(body.as_bytes().unwrap_or_default(), more))
        }
        Outgoing::Path(file) => this.while_running(|gate| gate.send_path(&file)),
        Outgoing::File { file, more } => this.while_running(|gate| gate.send_file(&file, more)),
    };
    // The request may have been answered in the application's place.
    let outcome = outcome.unwrap_or(Err(Violation::AfterEnd));
    numbered(this, outcome.map_err(|why| py.raise(ExceptionKind::Runtime, why.text()))?)
}

/// `handshake(message)`: what the application says of a handshake. An open WebSocket, or a number as that of `send`.
fn handshake<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    let py = this.py();
    arguments.expect("handshake", 1, 1)?;
    let Some(message) = arguments.get(0) else { return Ok(py.none()) };
    let outcome = match socket_message::answer(&message)? {
        Answer::Accept(head) => {
            let accepted = this.while_running(|gate| gate.accept(&head));
            match accepted.unwrap_or(Err(Violation::AcceptLate)) {
                Ok(Some(socket)) => {
                    if let Some((observed, shared)) = this.observed().zip(shared::get()) {
                        observed.note_open(py, &shared.activity);
                    }
                    return py.class::<Socket>()?.instantiate(Socket::new(socket));
                }
                Ok(None) => Some(Ok(Outcome::Disconnected)),
                Err(why) => Some(Err(why)),
            }
        }
        Answer::Refuse(head) => this.while_running(|gate| {
            gate.start(head)?;
            gate.send(b"", false)
        }),
        Answer::Start(head) => {
            tell_response(this, &message, &head)?;
            this.while_running(|gate| gate.start(head))
        }
        Answer::Body(Piece { body, more }) => {
            this.while_running(|gate| gate.send(body.as_bytes().unwrap_or_default(), more))
        }
    };
    let outcome = outcome.unwrap_or(Err(Violation::AfterEnd));
    numbered(this, outcome.map_err(|why| py.raise(ExceptionKind::Runtime, why.text()))?)
}

/// `flush()`: as `send`.
fn flush<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    numbered(this, this.while_running(Gate::flush).unwrap_or(Outcome::Sent))
}

/// `progress()`: something has happened on the connection; whether the client has gone before all of the response was sent.
fn progress<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    Ok(this.py().bool(this.while_running(Gate::progress).unwrap_or(false)))
}

fn numbered<'py>(this: &This<'_, 'py>, outcome: Outcome) -> Result<'py, Object<'py>> {
    this.py().int(match outcome {
        Outcome::Sent => 0,
        Outcome::Kept => 1,
        Outcome::Disconnected => 2,
    })
}

/// `watch()`: has the request reported when its client goes.
fn watch<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    this.while_running(Gate::watch);
    Ok(this.py().none())
}

/// `refuse(why)`: answers a request whose application has not started.
fn refuse<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    arguments.expect("refuse", 1, 1)?;
    let why = arguments.get(0).map(|why| why.text()).unwrap_or_default();
    this.while_running(|gate| {
        let line = format!("WSGI0238: the ASGI application has not started: {why} [SF]");
        gate.log(Level::Error, line.as_bytes());
        gate.fail_start();
    });
    Ok(this.py().none())
}

/// `lost()`: the client of the WebSocket has gone, which is no fault of the application.
fn lost<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    this.while_running(Gate::note_lost);
    Ok(this.py().none())
}

/// `fail(status)`: answers in the application's place.
fn fail<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    arguments.expect("fail", 1, 1)?;
    let status = arguments.get(0).map(|status| status.as_index()).transpose()?;
    let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
    this.log_slow_end();
    this.while_running(|gate| gate.fail(status));
    Ok(this.py().none())
}

/// `end()`: the application has returned.
fn end<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let py = this.py();
    if this.notes.get().is_some() {
        this.log_slow_end();
        // Before the end is told, which has the status.
        this.while_running(complete);
        this.finish_notes(py);
    }
    let gate = this.gate().take();
    if let Some(mut gate) = gate {
        complete(&mut gate);
        gate.end();
    }
    if let Some(shared) = shared::get() {
        shared.activity.end_on_loop();
        if let Some(notes) = this.notes.get() {
            notes.end(py, shared.subscribers());
        }
    }
    Ok(py.none())
}

/// Answers a request whose application has returned, where it has not done so itself.
fn complete(gate: &mut Gate) {
    let what = match gate.stage() {
        _ if gate.is_disconnected() => None,
        Stage::Silent => Some(("without sending a response", "XH")),
        // Nothing of the response has been sent: the client gets an error page.
        Stage::Started => Some(("before its response was complete", "XH")),
        Stage::Sending => Some(("before its response was complete", "XB")),
        Stage::Complete => None,
    };
    if let Some((what, flag)) = what {
        let line = format!("WSGI0226: the ASGI application returned {what} [{flag}]");
        gate.log(Level::Error, line.as_bytes());
        gate.fail(500);
    }
}
