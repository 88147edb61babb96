//! The messages of a WebSocket (ASGI 3, "WebSocket"): those that an application sends, checked, and those that it gets.
#![forbid(unsafe_code)]

use crate::asgi::message::{self, Piece, invalid, kind, push_all};
use crate::asgi::names::Name;
use crate::asgi::socket_transport::Received;
use crate::cpython::{Attached, ExceptionKind, Object, Result};
use wsgi::ResponseHead;

/// What an application answers a handshake with.
pub(super) enum Answer<'py> {
    /// `websocket.accept`.
    Accept(ResponseHead),
    /// `websocket.close`: a response of status 403.
    Refuse(ResponseHead),
    /// The start of an ordinary response (extension `websocket.http.response`).
    Start(ResponseHead),
    /// A piece of its body. The extension has no files.
    Body(Piece<'py>),
}

/// What an application sends over an open WebSocket.
pub(super) enum Action<'py> {
    Text(String),
    /// A `bytes`.
    Bytes(Object<'py>),
    Close(u16, String),
}

/// Headers of a handshake that are the server's.
const OWN: [&[u8]; 4] =
    [b"sec-websocket-accept", b"sec-websocket-extensions", b"connection", b"upgrade"];

/// Reads what an application says of a handshake.
///
/// # Errors
/// `TypeError`, `ValueError` or `RuntimeError` that says what is wrong with it.
pub(super) fn answer<'py>(message: &Object<'py>) -> Result<'py, Answer<'py>> {
    let py = message.py();
    let kind = kind(message)?;
    match kind.as_str() {
        "websocket.accept" => accept(message),
        "websocket.close" => {
            let mut head = ResponseHead::new();
            head.set_status(b"403 Forbidden").map_err(|why| invalid(py, &why))?;
            Ok(Answer::Refuse(head))
        }
        "websocket.http.response.start" => message::start(message).map(Answer::Start),
        "websocket.http.response.body" => message::body(message).map(Answer::Body),
        _ => {
            let text = format!(
                "expected ASGI message 'websocket.accept', 'websocket.close' or \
                 'websocket.http.response.start', but got '{kind}'"
            );
            Err(py.raise(ExceptionKind::Runtime, &text))
        }
    }
}

fn accept<'py>(message: &Object<'py>) -> Result<'py, Answer<'py>> {
    let py = message.py();
    let mut given = ResponseHead::new();
    push_all(&mut given, message)?;
    let mut head = ResponseHead::new();
    for (name, value) in given.headers() {
        if OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            let name = String::from_utf8_lossy(name);
            let text = format!("the header '{name}' of 'websocket.accept' is the server's");
            return Err(py.raise(ExceptionKind::Runtime, &text));
        }
        head.push(name, value).map_err(|why| invalid(py, &why))?;
    }
    let subprotocol = message.item(&Name::Subprotocol.object(py)?)?;
    if let Some(subprotocol) = subprotocol.filter(|it| !it.is_none()) {
        if !subprotocol.is_str() {
            let name = subprotocol.type_name();
            let text = format!("'subprotocol' of 'websocket.accept' must be a str, not {name}");
            return Err(py.raise(ExceptionKind::Type, &text));
        }
        let value = subprotocol.text();
        head.push(b"Sec-WebSocket-Protocol", value.as_bytes()).map_err(|why| invalid(py, &why))?;
    }
    Ok(Answer::Accept(head))
}

/// Reads what an application sends over an open WebSocket.
///
/// # Errors
/// As of [`answer`].
pub(super) fn action<'py>(message: &Object<'py>) -> Result<'py, Action<'py>> {
    let py = message.py();
    let kind = kind(message)?;
    match kind.as_str() {
        "websocket.send" => send(message),
        "websocket.close" => close(message),
        _ => {
            let text = format!(
                "expected ASGI message 'websocket.send' or 'websocket.close', but got '{kind}'"
            );
            Err(py.raise(ExceptionKind::Runtime, &text))
        }
    }
}

fn send<'py>(message: &Object<'py>) -> Result<'py, Action<'py>> {
    let py = message.py();
    let get = |name: Name| Ok(message.item(&name.object(py)?)?.filter(|it| !it.is_none()));
    let (bytes, text) = (get(Name::Bytes)?, get(Name::Text)?);
    match (bytes, text) {
        (Some(bytes), None) if bytes.as_bytes().is_some() => Ok(Action::Bytes(bytes)),
        (Some(bytes), None) if bytes.is_str() => {
            let text = "'bytes' of 'websocket.send' must be a byte string, not str";
            Err(py.raise(ExceptionKind::Type, text))
        }
        (Some(bytes), None) => Ok(Action::Bytes(py.bytes(&bytes.buffer_copy()?)?)),
        (None, Some(text)) if text.is_str() => match text.to_utf8() {
            Some(text) => Ok(Action::Text(text)),
            None => {
                let why = "'text' of 'websocket.send' has surrogates, which are no characters";
                Err(py.raise(ExceptionKind::Value, why))
            }
        },
        (None, Some(text)) => {
            let why = format!("'text' of 'websocket.send' must be a str, not {}", text.type_name());
            Err(py.raise(ExceptionKind::Type, &why))
        }
        (Some(_), Some(_)) | (None, None) => {
            let why = "'websocket.send' must have either 'bytes' or 'text'";
            Err(py.raise(ExceptionKind::Value, why))
        }
    }
}

/// The most bytes of a reason: it shares a control frame with its code (RFC 6455, 5.5).
const REASON: usize = 123;

fn close<'py>(message: &Object<'py>) -> Result<'py, Action<'py>> {
    let py = message.py();
    let code = message.item(&Name::Code.object(py)?)?.filter(|it| !it.is_none());
    let code = code.map(|code| code.as_index()).transpose()?.unwrap_or(1000);
    let is_usable = |code: &u16| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    let Some(code) = u16::try_from(code).ok().filter(is_usable) else {
        let why = format!("{code} is no code that a WebSocket can be closed with");
        return Err(py.raise(ExceptionKind::Value, &why));
    };
    let reason = message.item(&Name::Reason.object(py)?)?.filter(|it| !it.is_none());
    let mut reason = reason.and_then(|reason| reason.to_utf8()).unwrap_or_default();
    if reason.len() > REASON {
        let cut = (0..=REASON).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
        reason.truncate(cut);
    }
    Ok(Action::Close(code, reason))
}

/// The message of what has come; `None` where nothing has.
pub(super) fn received<'py>(
    py: Attached<'py>,
    received: &Received,
) -> Result<'py, Option<Object<'py>>> {
    let message = py.dict()?;
    let put = |name: Name, value: Object<'py>| message.set_item(&name.object(py)?, &value);
    match received {
        Received::Nothing => return Ok(None),
        Received::Ending => return Ok(Some(py.bool(false))),
        Received::Text(text) => {
            put(Name::Type, Name::WebSocketReceive.object(py)?)?;
            put(Name::Text, py.str(text)?)?;
        }
        Received::Bytes(bytes) => {
            put(Name::Type, Name::WebSocketReceive.object(py)?)?;
            put(Name::Bytes, py.bytes(bytes)?)?;
        }
        Received::Closed { code, reason } => {
            put(Name::Type, Name::WebSocketDisconnect.object(py)?)?;
            put(Name::Code, py.int((*code).into())?)?;
            put(Name::Reason, py.str(reason)?)?;
        }
    }
    Ok(Some(message))
}
