//! How what an application returned is sent: whole, as a file, or piece by piece.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, ClassObject, ExceptionKind, Instance, Object, Result};
use crate::gateway::lease::Lease;
use crate::gateway::response::{ChunkError, Stage};
use crate::objects::{FileWrapper, raise_chunk_error};
use crate::posix::RegularFile;
use std::time::Instant;
use wsgi::{DISCARD_LIMIT, Level, SendError};

/// Bodies of plain lists up to this many bytes are copied and sent after Python has been left.
const COLLECT_LIMIT: usize = 64 * 1024;

/// Takes a plain list of byte strings whole: nothing of the application runs any more, so the
/// client is best served by one write, after other threads got the interpreter. `false` when the
/// list has to be sent piece by piece.
pub(crate) fn collect<'py>(list: &Object<'py>, lease: &Lease) -> Result<'py, bool> {
    let py = list.py();
    let mut total = 0;
    for index in 0..list.sequence_length() {
        let item = list.sequence_item(index)?;
        total += item.as_bytes().map_or(usize::MAX / 2, <[u8]>::len);
        if total > COLLECT_LIMIT {
            return Ok(false);
        }
    }
    if lease.with(py, |response| response.stage() >= Stage::Sending) == Some(true) {
        return Ok(false);
    }
    for index in 0..list.sequence_length() {
        let item = list.sequence_item(index)?;
        let bytes = item.as_bytes().unwrap_or_default();
        raise_failure(py, lease.with(py, |response| response.collect(bytes)))?;
    }
    raise_failure(py, lease.with(py, |response| response.check_head()))?;
    Ok(true)
}

/// Sends what the iterable yields, each piece as it comes, and ends the response. `file_wrapper` is the class of
/// `wsgi.file_wrapper`.
pub(crate) fn iterate<'py>(
    iterable: &Object<'py>,
    file_wrapper: &ClassObject<'py, FileWrapper>,
    lease: &Lease,
) -> Result<'py, ()> {
    let py = iterable.py();
    if send_file(iterable, file_wrapper, lease)? {
        return Ok(());
    }
    let items = iterable.iter()?;
    let mut discarded_since = None;
    while let Some(item) = items.next()? {
        let Some(bytes) = item.as_bytes() else {
            let text = format!(
                "sequence of byte string values expected, value of type {} found",
                item.type_name()
            );
            return Err(py.raise(ExceptionKind::Type, &text));
        };
        let sent = lease.with_detached(py, |response| {
            let sent = response.send_chunk(bytes);
            (sent, response.is_discarded())
        });
        let (sent, is_discarded) = sent.unzip();
        if !check(py, sent, lease)? {
            return Ok(());
        }
        if is_discarded == Some(true)
            && discarded_since.get_or_insert_with(Instant::now).elapsed() > DISCARD_LIMIT
        {
            let line = "the rest of the response is not asked for: it would be discarded";
            lease.with_detached(py, |response| response.log(Level::Debug, line));
            break;
        }
    }
    check(py, lease.with_detached(py, |response| response.finish()), lease).map(drop)
}

/// Sends a `wsgi.file_wrapper` over a regular file as a file, if that is what this is and the file's bytes are what
/// iterating would give.
fn send_file<'py>(
    iterable: &Object<'py>,
    file_wrapper: &ClassObject<'py, FileWrapper>,
    lease: &Lease,
) -> Result<'py, bool> {
    let py = iterable.py();
    // A subclass may yield something else than the file.
    if !iterable.is_exactly(file_wrapper.object()) {
        return Ok(false);
    }
    let Some(wrapper) = Instance::of(iterable, file_wrapper) else { return Ok(false) };
    if lease.with(py, |response| response.stage()) != Some(Stage::Started) {
        return Ok(false);
    }
    let Some((descriptor, position)) = wrapper.descriptor() else { return Ok(false) };
    let Some(file) = RegularFile::duplicate(descriptor) else { return Ok(false) };
    let available = file.size().saturating_sub(position);
    let file = file.descriptor();
    let sent = lease.with_detached(py, |response| response.send_file(file, position, available));
    check(py, sent, lease)?;
    Ok(true)
}

/// Raises what went wrong with a piece of the response. `false` when no more of it reaches the client.
fn check<'py>(
    py: Attached<'py>,
    sent: Option<std::result::Result<(), ChunkError>>,
    lease: &Lease,
) -> Result<'py, bool> {
    if let Some(Err(ChunkError::Send(why))) = sent {
        log_disconnect(py, why, lease);
        return Ok(false);
    }
    raise_failure(py, sent).map(|()| true)
}

fn log_disconnect(py: Attached<'_>, why: SendError, lease: &Lease) {
    let line = format!("the rest of the response is not sent: {why}");
    lease.with_detached(py, |response| response.log(Level::Trace, &line));
}

/// Raises what went wrong with a piece of the response, a failure to send it included.
fn raise_failure<'py>(
    py: Attached<'py>,
    outcome: Option<std::result::Result<(), ChunkError>>,
) -> Result<'py, ()> {
    match outcome {
        Some(Err(why)) => Err(raise_chunk_error(py, &why)),
        Some(Ok(())) | None => Ok(()),
    }
}
