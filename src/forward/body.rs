//! The request body on its way to a worker, and as much of it as is kept to be sent again. It must never know the
//! worker.
#![forbid(unsafe_code)]

use crate::httpd::{BodyChunk, Outcome, Request, RequestBody};
use fastcgi::MAX_CONTENT;
use wsgi::{Level, ReadError};

/// Bytes of a body that are kept to be sent again. A body whose `Content-Length` is no more is read before a worker is
/// chosen: a slow client then ties up no worker.
const REPLAY_LIMIT: usize = 64 * 1024;
/// Bytes of a longer body that are passed on at once: three full records, which a socket has room for.
const PIECE: usize = 3 * MAX_CONTENT;

/// The body of a request.
pub(super) struct Body<'call> {
    reader: RequestBody<'call>,
    /// All that has been read, up to [`REPLAY_LIMIT`]; empty once that has been exceeded.
    kept: Vec<u8>,
    replayable: bool,
    /// Whether all of it is read before any of it is passed on.
    short: bool,
    ended: bool,
}

impl<'call> Body<'call> {
    pub(super) fn new(request: &Request<'call>) -> Self {
        let headers = request.headers_in();
        let length = match headers.get(c"Transfer-Encoding") {
            Some(_) => None,
            None => headers.get(c"Content-Length").map_or(Some(0), |length| {
                std::str::from_utf8(length).ok().and_then(|length| length.parse().ok())
            }),
        };
        let reader = RequestBody::new(request);
        Self {
            kept: Vec::new(),
            replayable: true,
            short: length.is_some_and(|length| length <= REPLAY_LIMIT),
            ended: length == Some(0) || reader.has_ended(),
            reader,
        }
    }

    /// Whether all of the body has been read.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// What has been read and is kept.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Whether all that has been read is kept.
    pub(super) const fn is_replayable(&self) -> bool {
        self.replayable
    }

    /// Reads what is to be there before a worker is chosen.
    pub(super) fn fill(&mut self, request: &mut Request<'call>) -> Result<(), ReadError> {
        while !self.ended && self.kept.len() < REPLAY_LIMIT {
            // httpd sends `100 Continue` only where a read waits.
            let waits = self.short || self.kept.is_empty() && request.expects_continue();
            if self.read(request, waits)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// An input filter that changes the length of a body takes `Content-Length` away (mod_deflate). If all of
    /// the body has been read, its true length is known, and applications that go by `CONTENT_LENGTH` find it.
    pub(super) fn set_content_length(&self, request: &Request<'call>) {
        if self.short && self.ended && !self.kept.is_empty() {
            request.declare_length(self.kept.len());
        }
    }

    /// Reads another piece if one is there: its slices, and whether it is the last. Never waits.
    pub(super) fn next(
        &mut self,
        request: &mut Request<'call>,
    ) -> Result<Option<BodyChunk<'_>>, ReadError> {
        if !self.replayable || self.kept.len() >= REPLAY_LIMIT {
            self.replayable = false;
            self.kept = Vec::new();
            let Some(piece) = self.reader.read_without_copy(request, PIECE)? else {
                return Ok(None);
            };
            self.ended = piece.ended;
            return Ok(Some(piece));
        }
        let before = self.kept.len();
        if self.read(request, false)?.is_none() {
            return Ok(None);
        }
        let piece = self.kept.get(before..);
        Ok(piece.map(|piece| BodyChunk { slices: vec![piece], ended: self.ended }))
    }

    /// Reads once, up to the limit, and keeps what came; `None` where nothing is there and `waits` is not set.
    fn read(&mut self, request: &mut Request<'call>, waits: bool) -> Result<Option<()>, ReadError> {
        let before = self.kept.len();
        self.kept.resize(REPLAY_LIMIT, 0);
        let room = self.kept.get_mut(before..).unwrap_or_default();
        let read = if waits {
            self.reader.read_all_there_is(request, room).map(Some)
        } else {
            self.reader.read_now(request, room)
        };
        let count = read.as_ref().map_or(0, |count| count.unwrap_or(0));
        self.kept.truncate(before + count);
        if read?.is_none() {
            return Ok(None);
        }
        self.ended = count == 0 || self.reader.has_ended();
        Ok(Some(()))
    }
}

/// Answers a request whose body cannot be read.
pub(super) fn refuse_body(request: &mut Request<'_>, why: &ReadError) -> Outcome {
    request.give_up_body();
    let line = format!("WSGI0126: the request body cannot be read: {why}");
    let level = if matches!(why, ReadError::Other(_)) { Level::Error } else { Level::Debug };
    request.log(level, line.as_bytes());
    Outcome::Status(why.status())
}
