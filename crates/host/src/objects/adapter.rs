//! `start_response` and `write` (PEP 3333, "The start_response() Callable").

use crate::cpython::{
    Arguments, Attached, Class, Exception, ExceptionKind, Instance, Method, Object, Raised, Result,
};
use crate::gateway::current;
use crate::gateway::lease::Lease;
use crate::gateway::response::{ChunkError, Stage};
use crate::observe::events::Subscribers;
use crate::observe::observation;
use std::sync::Arc;
use wsgi::{HeadError, ResponseHead};

/// The object whose bound methods are an application's `start_response` and `write`.
pub(crate) struct Adapter {
    pub(crate) lease: Arc<Lease>,
    /// Where an application has subscribed to events.
    pub(crate) subscribers: Option<Arc<Subscribers>>,
}

impl Class for Adapter {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Adapter";
    const METHODS: &'static [Method<Self>] = &[
        Method { name: c"start_response", call: start_response },
        Method { name: c"write", call: write },
    ];
}

fn start_response<'py>(
    this: &Instance<'_, 'py, Adapter>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    let py = this.py();
    let ended =
        || py.raise(ExceptionKind::Runtime, "start_response() called after request completed");
    let stage = this.lease.with(py, |response| response.stage()).ok_or_else(ended)?;
    arguments.expect("start_response", 2, 3)?;
    let (Some(status), Some(headers)) = (arguments.get(0), arguments.get(1)) else {
        return Err(py.raise(ExceptionKind::System, "missing arguments"));
    };
    if let Some(subscribers) = &this.subscribers
        && current::is(&this.lease)
    {
        let info = arguments.get(2).unwrap_or(py.none());
        let given = [status.clone(), headers.clone(), info];
        observation::response_started(py, subscribers, &this.lease, given)?;
    }
    if !headers.is_list() {
        let found = headers.type_name();
        let text = format!("start_response() argument 2 must be list, not {found}");
        return Err(py.raise(ExceptionKind::Type, &text));
    }
    let exc_info = arguments.get(2).filter(|info| !info.is_none());
    if let Some(info) = &exc_info
        && (!info.is_tuple() || (stage >= Stage::Sending && info.sequence_length() != 3))
    {
        let text = "start_response() argument 'exc_info' must be a 3-tuple or None";
        return Err(py.raise(ExceptionKind::Runtime, text));
    }
    if stage >= Stage::Sending {
        return Err(match exc_info {
            Some(info) => match Exception::from_exc_info(&info)? {
                Some(exception) => exception.restore(),
                None => {
                    let text = "start_response() argument 'exc_info' must be what sys.exc_info() gives \
                                while an exception is handled";
                    py.raise(ExceptionKind::Type, text)
                }
            },
            None => py.raise(
                ExceptionKind::Runtime,
                "start_response() called more than once without exc_info",
            ),
        });
    }
    let mut head = this.lease.with(py, |response| response.take_head_buffer()).ok_or_else(ended)?;
    build(&mut head, &status, &headers)?;
    if !this.lease.with(py, |response| response.start(head)).ok_or_else(ended)? {
        // Another thread has sent a head meanwhile.
        let text = "start_response() called more than once without exc_info";
        return Err(py.raise(ExceptionKind::Runtime, text));
    }
    this.object().attribute_of(&py.interned("write")?)
}

/// Puts status and headers into `head`, checking all of it.
fn build<'py>(
    head: &mut ResponseHead,
    status: &Object<'py>,
    headers: &Object<'py>,
) -> Result<'py, ()> {
    let py = status.py();
    let broken = |why: HeadError| raise_head_error(py, &why);
    must_be_str(status)?;
    status.with_latin1(|line| head.set_status(line))?.map_err(broken)?;
    for index in 0..headers.sequence_length() {
        let header = headers.sequence_item(index)?;
        if !header.is_tuple() {
            let text = format!("each header must be a 2-tuple, not {}", header.type_name());
            return Err(py.raise(ExceptionKind::Type, &text));
        }
        if header.sequence_length() != 2 {
            let length = header.sequence_length();
            let text = format!("each header must be a 2-tuple, got length {length}");
            return Err(py.raise(ExceptionKind::Value, &text));
        }
        let (name, value) = (header.sequence_item(0)?, header.sequence_item(1)?);
        must_be_str(&name)?;
        must_be_str(&value)?;
        name.with_latin1(|name| value.with_latin1(|value| head.push(name, value)))??
            .map_err(broken)?;
    }
    Ok(())
}

fn must_be_str<'py>(value: &Object<'py>) -> Result<'py, ()> {
    if value.is_str() {
        return Ok(());
    }
    let text = format!("must be str, not {}", value.type_name());
    Err(value.py().raise(ExceptionKind::Type, &text))
}

fn raise_head_error<'py>(py: Attached<'py>, why: &HeadError) -> Raised<'py> {
    py.raise(ExceptionKind::Value, &why.to_string())
}

fn write<'py>(
    this: &Instance<'_, 'py, Adapter>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    let py = this.py();
    arguments.expect("write", 1, 1)?;
    let Some(data) = arguments.get(0) else { return Ok(py.none()) };
    let Some(bytes) = data.as_bytes() else {
        let text = format!("write() argument must be bytes, not {}", data.type_name());
        return Err(py.raise(ExceptionKind::Type, &text));
    };
    match this.lease.with_detached(py, |response| response.send_chunk(bytes)) {
        None => Err(py.raise(ExceptionKind::Runtime, "write() called after request completed")),
        Some(Ok(())) => Ok(py.none()),
        Some(Err(why)) => Err(raise_chunk_error(py, &why)),
    }
}

/// Raises the exception for a piece of the response that was not sent.
pub(crate) fn raise_chunk_error<'py>(py: Attached<'py>, why: &ChunkError) -> Raised<'py> {
    match why {
        ChunkError::NotStarted => py.raise(
            ExceptionKind::Runtime,
            "response has not been started: start_response() was not called",
        ),
        ChunkError::Head(why) => raise_head_error(py, why),
        ChunkError::Send(why) => {
            py.raise(ExceptionKind::Os, &format!("mod_wsgi response data write error: {why}"))
        }
    }
}
