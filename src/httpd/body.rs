//! The body of a request, lent by httpd's input filters.

use super::request::Request;
use crate::apr::{Brigade, Bucket, Status};
use crate::bindings::{
    ap_get_brigade, ap_input_mode_t, ap_map_http_request_error, apr_read_type_e,
};
use wsgi::ReadError;

/// The request body, read through the input filters.
pub(crate) struct RequestBody<'call> {
    brigade: Option<Brigade<'call>>,
    ended: bool,
    failed: Option<ReadError>,
}

impl<'call> RequestBody<'call> {
    pub(crate) const fn new() -> Self {
        Self { brigade: None, ended: false, failed: None }
    }

    /// Reads some bytes, none at the end. The first read sends `100 Continue` if the client waits for
    /// it. Blocks.
    pub(crate) fn read(
        &mut self,
        request: &mut Request<'call>,
        into: &mut [u8],
    ) -> Result<usize, ReadError> {
        if let Some(why) = &self.failed {
            return Err(why.clone());
        }
        let read = self.some(request, into, true);
        if let Err(why) = &read {
            self.fail(request, why.clone());
        }
        read
    }

    /// The same, and then as much more as is here already: httpd gives 8 KB at a time.
    pub(crate) fn read_all_there_is(
        &mut self,
        request: &mut Request<'call>,
        into: &mut [u8],
    ) -> Result<usize, ReadError> {
        let first = self.read(request, into)?;
        if first == 0 {
            return Ok(0);
        }
        let rest = into.get_mut(first..).unwrap_or_default();
        Ok(first + self.read_rest(request, rest))
    }

    /// Reads what is here already and never waits; `None` when that is nothing, 0 at the end.
    pub(crate) fn read_now(
        &mut self,
        request: &mut Request<'call>,
        into: &mut [u8],
    ) -> Result<Option<usize>, ReadError> {
        match (self.read_rest(request, into), &self.failed) {
            (0, Some(why)) => Err(why.clone()),
            (0, None) if !self.ended => Ok(None),
            (total, _) => Ok(Some(total)),
        }
    }

    /// Reads what is here already; a failure shows at the next read.
    fn read_rest(&mut self, request: &mut Request<'call>, into: &mut [u8]) -> usize {
        let mut total = 0;
        while !self.ended
            && self.failed.is_none()
            && let Some(rest) = into.get_mut(total..).filter(|rest| !rest.is_empty())
        {
            match self.some(request, rest, false) {
                Ok(0) => break,
                Ok(more) => total += more,
                Err(why) => self.fail(request, why),
            }
        }
        total
    }

    fn fail(&mut self, request: &mut Request<'call>, why: ReadError) {
        self.failed = Some(why);
        request.close_connection();
    }

    /// Whether all of it has been read.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    fn some(
        &mut self,
        request: &mut Request<'call>,
        into: &mut [u8],
        wait: bool,
    ) -> Result<usize, ReadError> {
        if self.ended || into.is_empty() {
            return Ok(0);
        }
        let mode =
            if wait { apr_read_type_e::APR_BLOCK_READ } else { apr_read_type_e::APR_NONBLOCK_READ };
        let brigade = self.brigade.get_or_insert_with(|| request.new_brigade());
        loop {
            let count = match brigade.first().map_err(cause)? {
                Some(Bucket::End) => {
                    self.ended = true;
                    return Ok(0);
                }
                Some(Bucket::Data(data)) => {
                    let count = data.len().min(into.len());
                    if let (Some(to), Some(from)) = (into.get_mut(..count), data.get(..count)) {
                        to.copy_from_slice(from);
                    }
                    count
                }
                None => {
                    let wanted = into.len().clamp(8 * 1024, 64 * 1024);
                    // SAFETY: live request, own brigade.
                    let status = Status(unsafe {
                        ap_get_brigade(
                            request.record().input_filters,
                            brigade.as_ptr(),
                            ap_input_mode_t::AP_MODE_READBYTES,
                            mode,
                            wanted as i64,
                        )
                    });
                    if !wait && (status.is_again() || status.is_success() && brigade.is_empty()) {
                        return Ok(0);
                    }
                    if !status.is_success() {
                        return Err(cause(status));
                    }
                    continue;
                }
            };
            brigade.consume(count).map_err(cause)?;
            return Ok(count);
        }
    }
}

/// What an input filter's status means.
fn cause(status: Status) -> ReadError {
    if status.is_timeout() {
        return ReadError::Timeout;
    }
    if status.is_disconnect() {
        return ReadError::Disconnected;
    }
    // SAFETY: a pure function of two numbers.
    match unsafe { ap_map_http_request_error(status.0, 500) } {
        // A filter that has answered itself found fault with the request (httpd: AP_FILTER_ERROR).
        400 | crate::bindings::AP_FILTER_ERROR => ReadError::Malformed,
        408 => ReadError::Timeout,
        413 => ReadError::TooLarge,
        _ => ReadError::Other(status.to_string()),
    }
}
