//! The messages of an application, checked (ASGI 3, "Response Start", "Response Body"), and those that it gets.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, ExceptionKind, Object, Result};
use wsgi::{HeadError, ResponseHead};

/// What an application sends.
pub(super) enum Outgoing<'py> {
    /// `http.response.start`.
    Start(ResponseHead),
    /// `http.response.body`, a `bytes`, and whether more is to follow.
    Body { body: Object<'py>, more: bool },
}

/// Reads a message of the application.
///
/// # Errors
/// `TypeError`, `ValueError` or `RuntimeError` that says what is wrong with it.
pub(super) fn outgoing<'py>(message: &Object<'py>) -> Result<'py, Outgoing<'py>> {
    let py = message.py();
    let kind = kind(message)?;
    match kind.as_str() {
        "http.response.start" => start(message),
        "http.response.body" => body(message),
        _ => {
            let text = format!(
                "expected ASGI message 'http.response.start' or 'http.response.body', but got '{kind}'"
            );
            Err(py.raise(ExceptionKind::Runtime, &text))
        }
    }
}

/// The type of a message; empty where it has none.
///
/// # Errors
/// `TypeError` where it is no dict.
pub(super) fn kind<'py>(message: &Object<'py>) -> Result<'py, String> {
    let py = message.py();
    if !message.is_dict() {
        let text = format!("an ASGI message must be a dict, not {}", message.type_name());
        return Err(py.raise(ExceptionKind::Type, &text));
    }
    let kind = message.item(&py.interned("type")?)?;
    Ok(kind.filter(Object::is_str).map(|kind| kind.text()).unwrap_or_default())
}

/// Reads a message that begins a response.
///
/// # Errors
/// As of [`outgoing`].
pub(super) fn start<'py>(message: &Object<'py>) -> Result<'py, Outgoing<'py>> {
    let py = message.py();
    let status = message.item(&py.interned("status")?)?;
    let status = match status.map(|status| status.as_index()).transpose()? {
        Some(status @ 100..=999) => status,
        _ => {
            let text = "'status' of 'http.response.start' must be a status code of HTTP";
            return Err(py.raise(ExceptionKind::Value, text));
        }
    };
    if let Some(trailers) = message.item(&py.interned("trailers")?)?
        && trailers.is_true()?
    {
        let text = "'trailers' are an extension that the scope does not announce";
        return Err(py.raise(ExceptionKind::Runtime, text));
    }
    let mut head = ResponseHead::new();
    let reason = reason(status);
    let line = if reason.is_empty() { status.to_string() } else { format!("{status} {reason}") };
    head.set_status(line.as_bytes()).map_err(|why| invalid(py, &why))?;
    push_all(&mut head, message)?;
    if let Err(why) = head.content_length() {
        return Err(invalid(py, &why));
    }
    Ok(Outgoing::Start(head))
}

/// Adds the headers of a message.
pub(super) fn push_all<'py>(head: &mut ResponseHead, message: &Object<'py>) -> Result<'py, ()> {
    let py = message.py();
    if let Some(headers) = message.item(&py.interned("headers")?)? {
        let headers = headers.iter()?;
        while let Some(header) = headers.next()? {
            push(head, &header)?;
        }
    }
    Ok(())
}

/// Adds one header, which is a pair of byte strings.
fn push<'py>(head: &mut ResponseHead, header: &Object<'py>) -> Result<'py, ()> {
    let py = header.py();
    let parts = header.iter()?;
    let (name, value, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (Some(name), Some(value), None) = (name, value, rest) else {
        return Err(
            py.raise(ExceptionKind::Value, "a header of 'http.response.start' must be a pair")
        );
    };
    let (Some(name), Some(value)) = (name.as_bytes(), value.as_bytes()) else {
        let text = format!(
            "a header of 'http.response.start' must be a pair of byte strings, not of {} and {}",
            name.type_name(),
            value.type_name()
        );
        return Err(py.raise(ExceptionKind::Type, &text));
    };
    // The server decides how a body is coded (ASGI 3, "Response Start").
    if name.eq_ignore_ascii_case(b"transfer-encoding") {
        return Ok(());
    }
    head.push(name, value).map_err(|why| invalid(py, &why))
}

/// Reads a message with a piece of a response.
///
/// # Errors
/// As of [`outgoing`].
pub(super) fn body<'py>(message: &Object<'py>) -> Result<'py, Outgoing<'py>> {
    let py = message.py();
    let body = match message.item(&py.interned("body")?)? {
        None => py.bytes(b"")?,
        Some(body) if body.as_bytes().is_some() => body,
        Some(body) if body.is_str() => {
            let text = "'body' of 'http.response.body' must be a byte string, not str";
            return Err(py.raise(ExceptionKind::Type, text));
        }
        Some(body) => py.bytes(&body.buffer_copy()?)?,
    };
    let more = message.item(&py.interned("more_body")?)?;
    let more = more.map(|more| more.is_true()).transpose()?.unwrap_or(false);
    Ok(Outgoing::Body { body, more })
}

pub(super) fn invalid<'py>(py: Attached<'py>, why: &HeadError) -> crate::cpython::Raised<'py> {
    py.raise(ExceptionKind::Value, &why.to_string())
}

/// `http.request`.
pub(super) fn request<'py>(py: Attached<'py>, body: &[u8], more: bool) -> Result<'py, Object<'py>> {
    let message = py.dict()?;
    message.set_item(&py.interned("type")?, &py.interned("http.request")?)?;
    message.set_item(&py.interned("body")?, &py.bytes(body)?)?;
    message.set_item(&py.interned("more_body")?, &py.bool(more))?;
    Ok(message)
}

/// `http.disconnect`.
pub(super) fn disconnect(py: Attached<'_>) -> Result<'_, Object<'_>> {
    let message = py.dict()?;
    message.set_item(&py.interned("type")?, &py.interned("http.disconnect")?)?;
    Ok(message)
}

/// The phrase of a status (RFC 9110, section 15), empty where there is none: Apache has its own for HTTP/1.1.
const fn reason(status: i64) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}
