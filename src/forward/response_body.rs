//! The body of a worker's response once its head is known: what of it the client gets, and how it ends. It must never know
//! what waits for the worker, or for how long.
#![forbid(unsafe_code)]

use super::connection::Connection;
use super::connection_error::ConnectionError;
use super::failure::note_client;
use super::group::Group;
use super::output::ClientOutput;
use super::passed_file::{PassedFile, WrongFile};
use crate::apr::Brigade;
use crate::failure_flag::{Flag, Note};
use crate::httpd::{BrigadeEnd, Outcome, PassError, Request};
use crate::request_times::RequestTimes;
use fastcgi::{Answer, ErrorLines, FileSpan, Interim, ProtocolStatus, app_status};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use wsgi::Level;

/// Bytes of body that wait for what comes after them.
const PENDING_LIMIT: usize = 16 * 1024;
/// Bytes of body that wait for the end, where `Content-Length` promises no more.
const COLLECT_LIMIT: u64 = 64 * 1024;

/// A body, as far as it has come; `B` is the brigade that it is passed on with, or nothing while the request is out of
/// reach.
pub(super) struct ResponseBody<'a, B> {
    group: &'a Group,
    pub(super) output: ClientOutput<'a, B>,
    errors: ErrorLines,
    /// `WSGIEnableSendfile`.
    sendfile: bool,
    /// Bytes of body that the client gets, of those that have come.
    pub(super) written: u64,
    /// `Content-Length`, where the client gets a body.
    pub(super) promised: Option<u64>,
    /// More than `Content-Length` promises has come.
    excessive: bool,
}

/// How a response ends.
#[derive(Clone, Copy)]
pub(super) enum Rest {
    Complete,
    /// The client is to see that it is not.
    Broken,
}

/// A piece of the response, copied out of the connection's buffer where it has to be.
pub(super) enum Piece {
    Log(Level, Vec<u8>),
    Error(Vec<u8>),
    File(FileSpan),
    /// The application asks for the request body.
    BodyWanted,
    EarlyHints(Vec<u8>),
    End {
        protocol_status: ProtocolStatus,
        app_status: u32,
        queue_time: u64,
    },
}

impl Piece {
    /// What an answer is besides bytes of the response itself; `None` for the end of those.
    pub(super) fn of(answer: &Answer<'_>) -> Option<Self> {
        Some(match answer {
            Answer::Stdout(_) | Answer::StdoutEnd => return None,
            Answer::Stderr(text) => Self::Error(text.to_vec()),
            Answer::Log { level, line } => {
                Self::Log(Level::from_number(level.number()), line.to_vec())
            }
            Answer::File(span) => Self::File(*span),
            Answer::Interim(Interim::Continue) => Self::BodyWanted,
            Answer::Interim(Interim::EarlyHints(links)) => Self::EarlyHints(links.to_vec()),
            Answer::End { protocol_status, app_status, queue_time } => Self::End {
                protocol_status: *protocol_status,
                app_status: *app_status,
                queue_time: *queue_time,
            },
        })
    }
}

impl<'a, B> ResponseBody<'a, B> {
    /// The same with another brigade, or without one; and the one that it had.
    pub(super) fn with_brigade<C>(self, brigade: C) -> (ResponseBody<'a, C>, B) {
        let Self { group, errors, sendfile, written, promised, excessive, .. } = self;
        let (output, before) = self.output.with_brigade(brigade);
        (ResponseBody { group, output, errors, sendfile, written, promised, excessive }, before)
    }

    /// How the response ends, now that all of it has come.
    pub(super) fn rest(&self, app_status: u32) -> Rest {
        let short = self.promised.is_some_and(|promised| self.written < promised);
        if short || matches!(app_status, app_status::SHORT | app_status::ABORTED) {
            Flag::Cut.note();
            return Rest::Broken;
        }
        Rest::Complete
    }
}

impl<'a, 'call> ResponseBody<'a, Brigade<'call>> {
    /// For the response to `request`; `pending` is memory to use.
    pub(super) fn new(
        request: &Request<'call>,
        group: &'a Group,
        sendfile: bool,
        pending: Vec<u8>,
    ) -> Self {
        Self {
            group,
            output: ClientOutput::new(request, group, pending),
            errors: ErrorLines::new(&group.limits()),
            sendfile,
            written: 0,
            promised: None,
            excessive: false,
        }
    }

    /// Writes bytes of the body.
    pub(super) fn write(
        &mut self,
        request: &mut Request<'call>,
        data: &[u8],
    ) -> Result<(), PassError> {
        let length = self.truncate_to_length(request, data.len() as u64);
        let data = data.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(data);
        let whole = self.promised.is_some_and(|promised| promised <= COLLECT_LIMIT);
        let limit = if whole { COLLECT_LIMIT as usize } else { PENDING_LIMIT };
        self.output.write(request, data, limit)
    }

    /// How many of `length` bytes of body the client gets: no more than `Content-Length` promises, or it would
    /// take the rest for another response. Workers see to that, unless an application writes to their socket.
    fn truncate_to_length(&mut self, request: &mut Request<'call>, length: u64) -> u64 {
        let left = self.promised.map_or(u64::MAX, |promised| promised.saturating_sub(self.written));
        if length > left && !self.excessive {
            self.excessive = true;
            request.close_connection();
            let line = format!(
                "WSGI0119: daemon process '{}' sent more than its Content-Length; the rest is dropped",
                self.group.name()
            );
            request.log(Level::Error, line.as_bytes());
        }
        let length = length.min(left);
        self.written += length;
        length
    }

    /// Passes a part of the connection's file on, if the client gets any of it (`wanted`).
    pub(super) fn file<E>(
        &mut self,
        request: &mut Request<'call>,
        connection: &mut Connection,
        span: FileSpan,
        wanted: bool,
    ) -> Result<(), E>
    where
        E: From<PassError> + From<ConnectionError>,
    {
        if let Some((file, part)) = self.take_file(request, connection, span, wanted)? {
            self.output.write_file(request, file.as_fd(), part, self.sendfile)?;
        }
        Ok(())
    }

    /// The connection's file and the part of it that the client gets; `None` where it gets nothing of the response.
    fn take_file(
        &mut self,
        request: &mut Request<'call>,
        connection: &mut Connection,
        span: FileSpan,
        wanted: bool,
    ) -> Result<Option<(OwnedFd, Range<u64>)>, ConnectionError> {
        let file = open_file(connection)?;
        let Some(length) = sys::readable_length(file.as_fd()) else {
            connection.reject_file(file);
            return Err(WrongFile::NotRegular.into());
        };
        if !wanted {
            return Ok(None);
        }
        if end_of(span)? > length {
            return Err(WrongFile::TooShort.into());
        }
        let length = self.truncate_to_length(request, span.length);
        Ok(Some((file, span.offset..span.offset + length)))
    }

    /// The same, with nothing done yet that may wait for the file: to look at it is left to the threads of the group.
    pub(super) fn take_file_unseen(
        &mut self,
        request: &mut Request<'call>,
        connection: &mut Connection,
        span: FileSpan,
    ) -> Result<PassedFile, ConnectionError> {
        // In this order: a file that is not taken is closed with the connection.
        let (end, file) = (end_of(span)?, open_file(connection)?);
        let part = span.offset..span.offset + self.truncate_to_length(request, span.length);
        let group = self.group;
        let (readers, closer) = (Arc::clone(&group.file_readers), Arc::clone(&group.closer));
        Ok(PassedFile::new(file, part, end, readers, closer))
    }

    /// Logs text of the worker's standard error.
    pub(super) fn log_errors(&mut self, request: &Request<'call>, text: &[u8]) {
        self.errors.push(text, |line| request.log(Level::Error, line));
    }

    /// Logs the first line of such a text; how many bytes of it that is.
    pub(super) fn log_line_of_errors(&mut self, request: &Request<'call>, text: &[u8]) -> usize {
        self.errors.push_some(text, 1, |line| request.log(Level::Error, line))
    }

    /// Logs what is left of it.
    pub(super) fn finish_errors(&mut self, request: &Request<'call>) {
        self.errors.finish(|line| request.log(Level::Error, line));
    }

    /// Passes on the bytes that wait, before the response is broken off.
    pub(super) fn flush_pending(&mut self, request: &mut Request<'call>) {
        // A client that cannot take the bytes does not see the end of the response either.
        let _ = self.output.finish(request, BrigadeEnd::Flush);
    }

    /// Passes on the end of the response.
    pub(super) fn pass_end(
        &mut self,
        request: &mut Request<'call>,
        rest: Rest,
    ) -> Result<(), PassError> {
        match rest {
            Rest::Complete => self.output.finish(request, BrigadeEnd::End),
            Rest::Broken => {
                self.output.finish(request, BrigadeEnd::Flush)?;
                request.cut();
                Ok(())
            }
        }
    }
}

/// The descriptor that a file record refers to.
fn open_file(connection: &mut Connection) -> Result<OwnedFd, ConnectionError> {
    let none = || ConnectionError::Malformed("file record refers to no open descriptor".to_owned());
    connection.take_file().ok_or_else(none)
}

/// How long the file of a record has to be.
fn end_of(span: FileSpan) -> Result<u64, ConnectionError> {
    span.offset.checked_add(span.length).ok_or_else(|| WrongFile::TooShort.into())
}

/// What becomes of a request whose response was passed on, as far as it went.
pub(super) fn outcome(request: &mut Request<'_>, passed: Result<(), PassError>) -> Outcome {
    if let Err(why) = passed {
        note_client(why);
    }
    request.outcome(passed)
}

/// How long a request has taken that began to wait at `queued`, in microseconds since the epoch, by how long it has waited
/// for its worker and when its response ended; nothing is known before the worker has sent the end.
pub(super) fn times_since(queued: i64, times: Option<(u64, i64)>) -> RequestTimes {
    let Some((queue, end)) = times else { return RequestTimes::default() };
    let all = u64::try_from(end.saturating_sub(queued)).unwrap_or(0);
    RequestTimes { queue: Some(queue), application: Some(all.saturating_sub(queue)) }
}
