//! The body of a request, lent by httpd's input filters.

use super::request::Request;
use crate::apr::{Brigade, Bucket, Status};
use crate::bindings::{
    ap_get_brigade, ap_input_mode_t, ap_map_http_request_error, apr_read_type_e,
};
use std::ffi::CStr;
use wsgi::ReadError;

/// How many buckets are gathered at most: enough for 192 KB in httpd's pieces of 8 KB, and a bound on what
/// tiny ones cost.
const BUCKETS: usize = 64;

/// The note on a request whose body is not read any more.
const GIVEN_UP: &CStr = c"mod_wsgi_rs-body-given-up";

/// The request body, read through the input filters.
pub(crate) struct RequestBody<'call> {
    brigade: Option<Brigade<'call>>,
    /// What [`RequestBody::read_without_copy`] has taken last.
    gathered: Option<Brigade<'call>>,
    ended: bool,
    failed: Option<ReadError>,
    /// Every read waits; known after the first.
    waits: Option<bool>,
}

impl<'call> RequestBody<'call> {
    /// That of `request`; an empty one, if it has been given up.
    pub(crate) fn new(request: &Request<'call>) -> Self {
        let ended = request.has_given_up_body();
        Self { brigade: None, gathered: None, ended, failed: None, waits: None }
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
        let read = self.read_some(request, into, true);
        if let Err(why) = &read {
            self.fail(request, why.clone());
        }
        read
    }

    /// Like [`Self::read`], and then as much more as has arrived already: httpd gives 8 KB at a time.
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

    /// Reads what has arrived already and never waits; `None` when that is nothing, 0 at the end.
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

    /// Takes what has arrived already, `most` bytes at most, and never waits but for the filter that has to be
    /// waited for; `None` when that is nothing, 0 at the end. The bytes stay where httpd has read them, until the
    /// next call: [`Self::slices`] says where.
    pub(crate) fn read_without_copy(
        &mut self,
        request: &mut Request<'call>,
        most: usize,
    ) -> Result<Option<usize>, ReadError> {
        let mut gathered = self.gathered.take().unwrap_or_else(|| request.new_brigade());
        gathered.clear();
        let (mut total, mut buckets) = (0, 0);
        while total < most && buckets < BUCKETS && !self.ended && self.failed.is_none() {
            match self.take(request, most - total, &mut gathered) {
                Ok(0) => break,
                Ok(count) => (total, buckets) = (total + count, buckets + 1),
                Err(why) => self.fail(request, why),
            }
        }
        self.gathered = Some(gathered);
        match &self.failed {
            Some(why) if total == 0 => Err(why.clone()),
            None if total == 0 && !self.ended => Ok(None),
            _ => Ok(Some(total)),
        }
    }

    /// The bytes that [`Self::read_without_copy`] has taken last, wherever they lie.
    pub(crate) fn slices(&self) -> Result<Vec<&[u8]>, ReadError> {
        let gathered = self.gathered.as_ref();
        gathered.map_or(Ok(Vec::new()), |gathered| gathered.slices(BUCKETS).map_err(cause))
    }

    /// Moves some bytes to `to`: none when there are none yet, or no more.
    fn take(
        &mut self,
        request: &mut Request<'call>,
        most: usize,
        to: &mut Brigade<'call>,
    ) -> Result<usize, ReadError> {
        let Some(there) = self.available(request, most, false)? else { return Ok(0) };
        let count = there.min(most);
        let brigade = self.brigade.get_or_insert_with(|| request.new_brigade());
        brigade.move_front_to(count, to).map_err(cause)?;
        Ok(count)
    }

    /// Reads what has arrived already; a failure shows at the next read.
    fn read_rest(&mut self, request: &mut Request<'call>, into: &mut [u8]) -> usize {
        let mut total = 0;
        while !self.ended
            && self.failed.is_none()
            && let Some(rest) = into.get_mut(total..).filter(|rest| !rest.is_empty())
        {
            match self.read_some(request, rest, false) {
                Ok(0) => break,
                Ok(more) => total += more,
                Err(why) => self.fail(request, why),
            }
        }
        total
    }

    fn fail(&mut self, request: &mut Request<'call>, why: ReadError) {
        self.failed = Some(why);
        request.give_up_body();
    }

    /// Whether all of it has been read.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    fn read_some(
        &mut self,
        request: &mut Request<'call>,
        into: &mut [u8],
        wait: bool,
    ) -> Result<usize, ReadError> {
        if into.is_empty() || self.available(request, into.len(), wait)?.is_none() {
            return Ok(0);
        }
        let Some(brigade) = &mut self.brigade else { return Ok(0) };
        let Some(Bucket::Data(data)) = brigade.first().map_err(cause)? else { return Ok(0) };
        let count = data.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), data.get(..count)) {
            to.copy_from_slice(from);
        }
        brigade.consume(count).map_err(cause)?;
        Ok(count)
    }

    /// Whether a filter stands in front that cannot be asked for what is there: that of `KeptBodySize` takes
    /// "nothing yet" for the end of the body, and the next call of it is a crash (httpd 2.4, mod_request).
    fn needs_blocking_read(&mut self, request: &Request<'call>) -> bool {
        *self.waits.get_or_insert_with(|| request.has_input_filter(c"KEEP_BODY"))
    }

    /// How many bytes the first bucket holds; if there is none, asks the filters for one. `None` at the end,
    /// or when there is nothing yet and `wait` is false.
    fn available(
        &mut self,
        request: &Request<'call>,
        wanted: usize,
        wait: bool,
    ) -> Result<Option<usize>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        let wait = wait || self.needs_blocking_read(request);
        let mode =
            if wait { apr_read_type_e::APR_BLOCK_READ } else { apr_read_type_e::APR_NONBLOCK_READ };
        let brigade = self.brigade.get_or_insert_with(|| request.new_brigade());
        loop {
            match brigade.first().map_err(cause)? {
                Some(Bucket::End) => {
                    self.ended = true;
                    return Ok(None);
                }
                Some(Bucket::Data(data)) => return Ok(Some(data.len())),
                None => {
                    let wanted = wanted.clamp(8 * 1024, 64 * 1024);
                    // SAFETY: a live request (`Request::from_raw`); the brigade is of its pool.
                    let status = Status(unsafe {
                        ap_get_brigade(
                            (*request.raw).input_filters,
                            brigade.as_ptr(),
                            ap_input_mode_t::AP_MODE_READBYTES,
                            mode,
                            wanted as i64,
                        )
                    });
                    if !wait && (status.is_again() || status.is_success() && brigade.is_empty()) {
                        return Ok(None);
                    }
                    if !status.is_success() {
                        return Err(cause(status));
                    }
                }
            }
        }
    }
}

impl Request<'_> {
    /// This request's body is not read any more: it could not be read, or may not be. The error page, if that is
    /// an application's, would else wait once more for what does not come, and be refused for what it was made.
    pub(crate) fn give_up_body(&mut self) {
        self.close_connection();
        self.notes().set(self.pool(), GIVEN_UP, b"1");
    }

    /// Whether that holds for this request, or for one in whose place it answers.
    pub(crate) fn has_given_up_body(&self) -> bool {
        self.notes().get(GIVEN_UP).is_some()
            || std::iter::successors(self.previous(), |request| request.previous())
                .any(|request| request.notes().get(GIVEN_UP).is_some())
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
        // Such as mod_deflate, with what is no gzip or becomes too much. Apache's own handlers answer 400.
        _ if status.is_refusal() => ReadError::Malformed,
        _ => ReadError::Other(status.to_string()),
    }
}
