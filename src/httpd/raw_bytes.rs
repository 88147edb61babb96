//! Bytes between the filters of a connection and this module, past all requests. It must never know what they say.

use super::response::PassError;
use crate::apr::{Brigade, Bucket, Status};
use crate::bindings::{
    ap_get_brigade, ap_input_mode_t, ap_pass_brigade, apr_read_type_e, conn_rec,
};
use wsgi::ReadError;

/// Bytes that the connection's filters are asked for at once.
const READ: usize = 16 * 1024;

/// Passes bytes to the output filters of a connection, and has them sent.
///
/// # Safety
/// The connection is live, and the calling thread alone uses it. `brigade` is an empty one with a pool that lives as long, and
/// with the connection's allocator. It stays empty.
pub(super) unsafe fn pass_bytes(
    connection: *mut conn_rec,
    brigade: &mut Brigade<'_>,
    bytes: &[u8],
) -> Result<(), PassError> {
    // SAFETY: the bytes outlive the call, after which the brigade is empty; a filter that keeps some copies them.
    unsafe { brigade.append_transient(bytes) };
    brigade.append_flush();
    // SAFETY: the caller's promise.
    let (status, aborted) = unsafe {
        let status = ap_pass_brigade((*connection).output_filters, brigade.as_ptr());
        (status, (*connection).aborted != 0)
    };
    brigade.clear();
    match status {
        _ if aborted => Err(PassError::Aborted),
        0 => Ok(()),
        _ => Err(PassError::Failed),
    }
}

/// Reads what the client has sent through the input filters of a connection; never waits. Whether there was something.
///
/// # Errors
/// Also at the end of what the client sends.
///
/// # Safety
/// As of [`pass_bytes`].
pub(super) unsafe fn read_bytes(
    connection: *mut conn_rec,
    brigade: &mut Brigade<'_>,
    into: &mut Vec<u8>,
) -> Result<bool, ReadError> {
    let before = into.len();
    // SAFETY: the caller's promise.
    let status = Status(unsafe {
        ap_get_brigade(
            (*connection).input_filters,
            brigade.as_ptr(),
            ap_input_mode_t::AP_MODE_READBYTES,
            apr_read_type_e::APR_NONBLOCK_READ,
            READ as i64,
        )
    });
    let taken = if status.is_success() { take_all(brigade, into) } else { Ok(false) };
    brigade.clear();
    let is_end = taken.map_err(failure)?;
    match (into.len() > before, is_end) {
        (true, _) => Ok(true),
        (false, true) => Err(ReadError::Disconnected),
        (false, false) if status.is_success() || status.is_again() => Ok(false),
        (false, false) => Err(failure(status)),
    }
}

/// Moves all bytes of a brigade to `into`; whether it shows the end of the stream.
fn take_all(brigade: &mut Brigade<'_>, into: &mut Vec<u8>) -> Result<bool, Status> {
    loop {
        let count = match brigade.first()? {
            None => return Ok(false),
            Some(Bucket::End) => return Ok(true),
            Some(Bucket::Data(data)) => {
                into.extend_from_slice(data);
                data.len()
            }
        };
        brigade.consume(count)?;
    }
}

pub(super) fn failure(status: Status) -> ReadError {
    match status {
        _ if status.is_timeout() => ReadError::Timeout,
        _ if status.is_disconnect() => ReadError::Disconnected,
        _ => ReadError::Other(status.to_string()),
    }
}
