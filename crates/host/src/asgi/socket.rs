//! An open WebSocket as Python code of the server sees it (`websocket.py`): what it does without waiting.
#![forbid(unsafe_code)]

use crate::asgi::sent::Sent;
use crate::asgi::socket_message::{self, Action};
use crate::asgi::socket_transport::{AsgiSocket, SocketMessage};
use crate::cpython::{Arguments, Class, ExceptionKind, Instance, Method, Object, Property, Result};
use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wsgi::SendError;

/// A WebSocket, and whether the application has closed it.
pub(crate) struct Socket(Mutex<State>);

struct State {
    socket: Box<dyn AsgiSocket>,
    is_closed_by_application: bool,
}

impl Socket {
    pub(super) fn new(socket: Box<dyn AsgiSocket>) -> Self {
        Self(Mutex::new(State { socket, is_closed_by_application: false }))
    }

    /// No Python code may run while this is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type This<'a, 'py> = Instance<'a, 'py, Socket>;

impl Class for Socket {
    const NAME: &'static CStr = c"mod_wsgi.AsgiSocket";
    const METHODS: &'static [Method<Self>] = &[
        Method { name: c"progress", call: progress },
        Method { name: c"receive", call: receive },
        Method { name: c"send", call: send },
        Method { name: c"flush", call: flush },
        Method { name: c"close", call: close },
        Method { name: c"tick", call: tick },
    ];
    const PROPERTIES: &'static [Property<Self>] = &[
        Property { name: c"opening", get: opening },
        Property { name: c"due_earlier", get: due_earlier },
        Property { name: c"closed", get: closed },
        Property { name: c"over", get: over },
    ];
}

/// 0 where the client has got its 101, 1 where that is not known yet, 2 where it has gone before.
fn opening<'py>(this: &This<'_, 'py>) -> Result<'py, Object<'py>> {
    let has_opened = this.lock().socket.has_opened();
    this.py().int(match has_opened {
        Some(true) => 0,
        None => 1,
        Some(false) => 2,
    })
}

/// Whether `tick()` is to be called earlier than it has said.
fn due_earlier<'py>(this: &This<'_, 'py>) -> Result<'py, Object<'py>> {
    Ok(this.py().bool(this.lock().socket.is_due_earlier()))
}

/// Whether the client has closed it or gone.
fn closed<'py>(this: &This<'_, 'py>) -> Result<'py, Object<'py>> {
    Ok(this.py().bool(this.lock().socket.is_closed()))
}

/// Whether nothing is left to do.
fn over<'py>(this: &This<'_, 'py>) -> Result<'py, Object<'py>> {
    Ok(this.py().bool(this.lock().socket.is_over()))
}

/// `progress()`: does what can be done after an event.
fn progress<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    this.lock().socket.progress();
    Ok(this.py().none())
}

/// `receive()`: the next message, `None` where there is none yet, `False` where `progress()` is to be called first.
fn receive<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let py = this.py();
    let received = this.lock().socket.receive();
    Ok(socket_message::received(py, &received)?.unwrap_or_else(|| py.none()))
}

/// `send(message)`: 0 where all has been handed on, 1 where `flush()` is to be called when there is room, 2 where the
/// WebSocket is closed, 3 where it is closing by this message.
fn send<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let py = this.py();
    arguments.expect("send", 1, 1)?;
    let Some(message) = arguments.get(0) else { return Ok(py.none()) };
    let action = socket_message::action(&message)?;
    let mut state = this.lock();
    if state.is_closed_by_application {
        drop(state);
        let text = "a message was sent after 'websocket.close'";
        return Err(py.raise(ExceptionKind::Runtime, text));
    }
    let sent = match &action {
        Action::Text(text) => state.socket.send(SocketMessage::Text(text)),
        Action::Bytes(bytes) => {
            state.socket.send(SocketMessage::Bytes(bytes.as_bytes().unwrap_or_default()))
        }
        Action::Close(code, reason) => {
            state.is_closed_by_application = true;
            state.socket.close(*code, reason);
            drop(state);
            return py.int(3);
        }
    };
    drop(state);
    numbered(this, sent)
}

/// `flush()`: as `send`.
fn flush<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let sent = this.lock().socket.flush();
    numbered(this, sent)
}

fn numbered<'py>(
    this: &This<'_, 'py>,
    sent: std::result::Result<Sent, SendError>,
) -> Result<'py, Object<'py>> {
    this.py().int(match sent {
        Ok(Sent::All) => 0,
        Ok(Sent::Kept) => 1,
        Err(_) => 2,
    })
}

/// `close(code)`: closes it in the application's place.
fn close<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    arguments.expect("close", 1, 1)?;
    let code = arguments.get(0).map(|code| code.as_index()).transpose()?;
    let code = code.and_then(|code| u16::try_from(code).ok()).unwrap_or(1011);
    this.lock().socket.close(code, "");
    Ok(this.py().none())
}

/// `tick()`: does what is due; the seconds until it is to be called again.
fn tick<'py>(this: &This<'_, 'py>, _: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    let next = this.lock().socket.tick();
    this.py().float(next.as_secs_f64())
}
