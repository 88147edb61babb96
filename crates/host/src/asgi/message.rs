//! The messages of an application, checked (ASGI 3, "Response Start", "Response Body"), and those that it gets.
#![forbid(unsafe_code)]

use crate::asgi::file_body::{FileBody, FileError};
use crate::asgi::names::Name;
use crate::cpython::{Attached, ExceptionKind, Object, Result};
use std::path::Path;
use wsgi::{HeadError, ResponseHead};

/// What an application sends.
pub(super) enum Outgoing<'py> {
    /// `http.response.start`.
    Start(ResponseHead),
    /// `http.response.early_hint`: values of `Link`, each with a newline behind it.
    EarlyHint(Vec<u8>),
    /// `http.response.body`.
    Body(Piece<'py>),
    /// `http.response.pathsend`: the file is all of the body.
    Path(FileBody),
    /// `http.response.zerocopysend`, and whether more is to follow.
    File { file: FileBody, more: bool },
}

impl Outgoing<'_> {
    /// Whether nothing of the response is to follow.
    pub(super) const fn is_last(&self) -> bool {
        match self {
            Self::Start(_) | Self::EarlyHint(_) => false,
            Self::Path(_) => true,
            Self::Body(Piece { more, .. }) | Self::File { more, .. } => !*more,
        }
    }
}

/// A `bytes` of a body, and whether more is to follow.
pub(super) struct Piece<'py> {
    pub(super) body: Object<'py>,
    pub(super) more: bool,
}

/// The most bytes of links in one message.
const MAX_HINTS: usize = 8 * 1024;

/// Reads a message of the application.
///
/// # Errors
/// `TypeError`, `ValueError` or `RuntimeError` that says what is wrong with it.
pub(super) fn outgoing<'py>(message: &Object<'py>) -> Result<'py, Outgoing<'py>> {
    let py = message.py();
    let kind = kind(message)?;
    match kind.as_str() {
        "http.response.start" => start(message).map(Outgoing::Start),
        "http.response.body" => body(message).map(Outgoing::Body),
        "http.response.early_hint" => early_hint(message).map(Outgoing::EarlyHint),
        "http.response.pathsend" => path(message),
        "http.response.zerocopysend" => file(message),
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
    let kind = message.item(&Name::Type.object(py)?)?;
    Ok(kind.filter(Object::is_str).map(|kind| kind.text()).unwrap_or_default())
}

/// Reads a message that begins a response.
///
/// # Errors
/// As of [`outgoing`].
pub(super) fn start<'py>(message: &Object<'py>) -> Result<'py, ResponseHead> {
    let py = message.py();
    let status = message.item(&Name::Status.object(py)?)?;
    let status = match status.map(|status| status.as_index()).transpose()? {
        Some(status @ 100..=999) => status,
        _ => {
            let text = "'status' of 'http.response.start' must be a status code of HTTP";
            return Err(py.raise(ExceptionKind::Value, text));
        }
    };
    if let Some(trailers) = message.item(&Name::Trailers.object(py)?)?
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
    Ok(head)
}

/// Adds the headers of a message.
pub(super) fn push_all<'py>(head: &mut ResponseHead, message: &Object<'py>) -> Result<'py, ()> {
    let py = message.py();
    if let Some(headers) = message.item(&Name::Headers.object(py)?)? {
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

/// Reads a message with early hints.
fn early_hint<'py>(message: &Object<'py>) -> Result<'py, Vec<u8>> {
    let py = message.py();
    let mut lines = Vec::new();
    let Some(links) = message.item(&py.interned("links")?)? else { return Ok(lines) };
    let links = links.iter()?;
    while let Some(link) = links.next()? {
        let Some(link) = link.as_bytes() else {
            let text = format!(
                "a link of 'http.response.early_hint' must be a byte string, not {}",
                link.type_name()
            );
            return Err(py.raise(ExceptionKind::Type, &text));
        };
        // A line end in it would begin another header.
        ResponseHead::new().push(b"Link", link).map_err(|why| invalid(py, &why))?;
        lines.extend_from_slice(link);
        lines.push(b'\n');
        if lines.len() > MAX_HINTS {
            let text = format!("the links of 'http.response.early_hint' exceed {MAX_HINTS} bytes");
            return Err(py.raise(ExceptionKind::Value, &text));
        }
    }
    Ok(lines)
}

/// Reads a message with a piece of a response.
///
/// # Errors
/// As of [`outgoing`].
pub(super) fn body<'py>(message: &Object<'py>) -> Result<'py, Piece<'py>> {
    let py = message.py();
    let body = match message.item(&Name::Body.object(py)?)? {
        None => py.bytes(b"")?,
        Some(body) if body.as_bytes().is_some() => body,
        Some(body) if body.is_str() => {
            let text = "'body' of 'http.response.body' must be a byte string, not str";
            return Err(py.raise(ExceptionKind::Type, text));
        }
        Some(body) => py.bytes(&body.buffer_copy()?)?,
    };
    Ok(Piece { body, more: more(message)? })
}

/// Whether more of the body is to follow.
fn more<'py>(message: &Object<'py>) -> Result<'py, bool> {
    let more = message.item(&Name::MoreBody.object(message.py())?)?;
    Ok(more.map(|more| more.is_true()).transpose()?.unwrap_or(false))
}

fn path<'py>(message: &Object<'py>) -> Result<'py, Outgoing<'py>> {
    let py = message.py();
    let path = message.item(&py.interned("path")?)?;
    let Some(path) = path.filter(Object::is_str) else {
        let text = "'path' of 'http.response.pathsend' must be a str";
        return Err(py.raise(ExceptionKind::Type, text));
    };
    let file = FileBody::at(Path::new(&path.text())).map_err(|why| cannot_send(py, &why))?;
    Ok(Outgoing::Path(file))
}

fn file<'py>(message: &Object<'py>) -> Result<'py, Outgoing<'py>> {
    let py = message.py();
    let Some(file) = message.item(&py.interned("file")?)? else {
        let text = "'http.response.zerocopysend' must have a 'file'";
        return Err(py.raise(ExceptionKind::Value, text));
    };
    let number = match file.attribute_if_any(c"fileno")? {
        Some(fileno) => fileno.call([])?,
        None => file,
    };
    let descriptor = number.as_index()?;
    let bytes = |name| -> Result<'py, Option<u64>> {
        let value = message.item(&py.interned(name)?)?.filter(|value| !value.is_none());
        let Some(value) = value.map(|value| value.as_index()).transpose()? else { return Ok(None) };
        u64::try_from(value).map(Some).map_err(|_| {
            let text = format!("'{name}' of 'http.response.zerocopysend' must not be negative");
            py.raise(ExceptionKind::Value, &text)
        })
    };
    let (offset, count) = (bytes("offset")?, bytes("count")?);
    let file = FileBody::of(i32::try_from(descriptor).unwrap_or(-1), offset, count);
    let file = file.map_err(|why| cannot_send(py, &why))?;
    Ok(Outgoing::File { file, more: more(message)? })
}

fn cannot_send<'py>(py: Attached<'py>, why: &FileError) -> crate::cpython::Raised<'py> {
    let kind = match why {
        FileError::Io(_) => ExceptionKind::Os,
        _ => ExceptionKind::Value,
    };
    py.raise(kind, &why.to_string())
}

pub(super) fn invalid<'py>(py: Attached<'py>, why: &HeadError) -> crate::cpython::Raised<'py> {
    py.raise(ExceptionKind::Value, &why.to_string())
}

/// `http.request`.
pub(super) fn request<'py>(py: Attached<'py>, body: &[u8], more: bool) -> Result<'py, Object<'py>> {
    let message = py.dict()?;
    message.set_item(&Name::Type.object(py)?, &Name::Request.object(py)?)?;
    message.set_item(&Name::Body.object(py)?, &py.bytes(body)?)?;
    message.set_item(&Name::MoreBody.object(py)?, &py.bool(more))?;
    Ok(message)
}

/// `http.disconnect`.
pub(super) fn disconnect(py: Attached<'_>) -> Result<'_, Object<'_>> {
    let message = py.dict()?;
    message.set_item(&Name::Type.object(py)?, &Name::Disconnect.object(py)?)?;
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
