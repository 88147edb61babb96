//! A request as Python code of the server sees it (`server.py`): what it does without waiting.
#![forbid(unsafe_code)]

use crate::asgi::gate::{Gate, Incoming, Outcome, Stage, Violation};
use crate::asgi::message::{self, Outgoing, Piece};
use crate::asgi::scope;
use crate::asgi::socket::Socket;
use crate::asgi::socket_message::{self, Answer};
use crate::asgi::transport::AsgiExchange;
use crate::cpython::{
    Arguments, Class, Exception, ExceptionKind, Instance, Method, Object, Property, Result,
};
use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wsgi::Level;

/// A request that is under way. `None` once the application has returned.
pub(crate) struct Request(Mutex<Option<Gate>>);

impl Request {
    pub(super) fn new(exchange: Box<dyn AsgiExchange>) -> Self {
        Self(Mutex::new(Some(Gate::new(exchange))))
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the lines about an exception, and answers. A client that has gone is no fault of the application.
    pub(super) fn fail(&self, exception: &Exception<'_>, lines: &[String]) {
        let of_client = exception.is(ExceptionKind::Os);
        self.while_running(|gate| {
            if of_client && gate.is_disconnected() {
                gate.log(Level::Debug, b"the application gave up: the client has disconnected");
                return;
            }
            let is_cut = matches!(gate.stage(), Stage::Sending | Stage::Complete);
            let flag = if is_cut { "XB" } else { "XH" };
            let mut lines = lines.iter();
            if let Some(headline) = lines.next() {
                gate.log(Level::Error, format!("{headline} [{flag}]").as_bytes());
            }
            lines.for_each(|line| gate.log(Level::Error, line.as_bytes()));
            gate.fail(500);
        });
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
        Method { name: c"watch", call: watch },
        Method { name: c"fail", call: fail },
        Method { name: c"refuse", call: refuse },
        Method { name: c"lost", call: lost },
        Method { name: c"end", call: end },
    ];
    const PROPERTIES: &'static [Property<Self>] = &[
        Property { name: c"number", get: number },
        Property { name: c"answered", get: answered },
        Property { name: c"disconnected", get: disconnected },
    ];
}

fn number<'py>(this: &This<'_, 'py>) -> Result<'py, Object<'py>> {
    let number = this.while_running(|gate| gate.number());
    this.py().int(number.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1))
}

/// Whether the client has gone before all of the response was sent.
fn disconnected<'py>(this: &This<'_, 'py>) -> Result<'py, Object<'py>> {
    Ok(this.py().bool(this.while_running(Gate::is_disconnected).unwrap_or(false)))
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
    let outcome = match message::outgoing(&message)? {
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
                Ok(Some(socket)) => return py.class::<Socket>()?.instantiate(Socket::new(socket)),
                Ok(None) => Some(Ok(Outcome::Disconnected)),
                Err(why) => Some(Err(why)),
            }
        }
        Answer::Refuse(head) => this.while_running(|gate| {
            gate.start(head)?;
            gate.send(b"", false)
        }),
        Answer::Start(head) => this.while_running(|gate| gate.start(head)),
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
    this.while_running(|gate| gate.fail(status));
    Ok(this.py().none())
}

/// `end()`: the application has returned.
fn end<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let gate = this.gate().take();
    if let Some(mut gate) = gate {
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
        gate.end();
    }
    Ok(this.py().none())
}
