//! The answer of a worker on its way to the client.
#![forbid(unsafe_code)]

use super::connection::{Broken, Connection};
use super::{Group, is_overridden};
use crate::apr::Brigade;
use crate::config::Settings;
use crate::error_override;
use crate::httpd::{BrigadeEnd, Head, Outcome, PassError, Request};
use crate::posix;
use fastcgi::head::HeadParser;
use fastcgi::{Answer, ErrorLines, FileSpan, Limits, ProtocolStatus, app_status};
use std::cell::RefCell;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Instant;
use wsgi::{DISCARD_LIMIT, Level, ResponseHead};

/// Up to this many bytes wait for what comes after them.
const PENDING: usize = 16 * 1024;
/// The same where all of the answer is known to be no more.
const WHOLE: u64 = 64 * 1024;

/// How far an answer has come.
pub(super) struct Relay<'a> {
    settings: &'a Settings<'a>,
    group: &'a Group,
    memory: Memory,
    stage: Stage,
    /// Bytes passed on since the last flush.
    unflushed: usize,
    written: u64,
    promised: Option<u64>,
    /// Since when filters alone have looked at the body, which its client does not get.
    unheard: Option<Instant>,
    /// More than that has come.
    excessive: bool,
    /// The path of this server at which the answer is to be found.
    location: Option<Vec<u8>>,
    errors: ErrorLines,
}

/// Memory for one answer after the other.
struct Memory {
    parser: HeadParser,
    head: ResponseHead,
    /// The status line.
    line: Vec<u8>,
    /// Body bytes that wait for their company: what comes with the end goes out with the end, and lets
    /// httpd tell the length.
    pending: Vec<u8>,
}

thread_local! {
    static MEMORY: RefCell<Option<Memory>> = const { RefCell::new(None) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    /// httpd answers instead; the rest is only read.
    Replaced(u16),
    /// The answer is somewhere else; the rest is only read.
    Located,
}

/// What a step came to.
pub(super) enum Relayed {
    More,
    Complete(Outcome),
    /// The client is gone, or an output filter has failed.
    Stopped(PassError),
}

/// What one piece of the answer asks for, copied out of the connection's buffer where it must be.
enum Piece {
    Log(Level, Vec<u8>),
    Error(Vec<u8>),
    File(FileSpan),
    End(ProtocolStatus, u32),
}

impl Memory {
    const fn new(limits: Limits) -> Self {
        Self {
            parser: HeadParser::new(limits),
            head: ResponseHead::new(),
            line: Vec::new(),
            pending: Vec::new(),
        }
    }

    fn take(limits: Limits) -> Self {
        let Some(mut memory) = MEMORY.take() else { return Self::new(limits) };
        memory.parser.restart(limits);
        memory.head.clear();
        memory.pending.clear();
        memory
    }
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        let limits = self.group.limits();
        MEMORY.set(Some(std::mem::replace(&mut self.memory, Memory::new(limits))));
    }
}

impl<'a> Relay<'a> {
    pub(super) fn new(settings: &'a Settings<'a>, group: &'a Group) -> Self {
        Self {
            settings,
            group,
            memory: Memory::take(group.limits()),
            stage: Stage::Head,
            unflushed: 0,
            written: 0,
            promised: None,
            unheard: None,
            excessive: false,
            location: None,
            errors: ErrorLines::new(&group.limits()),
        }
    }

    /// Whether the client has seen part of the answer.
    pub(super) fn has_head(&self) -> bool {
        self.stage == Stage::Body
    }

    /// Where the answer is, if this is none.
    pub(super) const fn take_location(&mut self) -> Option<Vec<u8>> {
        self.location.take()
    }

    /// Passes on what is still held back, before an answer is broken off.
    pub(super) fn let_go(&mut self, request: &mut Request<'_>) {
        let mut brigade = request.new_brigade();
        // If the client cannot take it, it cannot hear of the end either.
        let _ = self.pass_pending(request, &mut brigade, BrigadeEnd::Flush);
    }

    /// Reads once and relays what has come.
    pub(super) fn step<'call>(
        &mut self,
        request: &mut Request<'call>,
        connection: &mut Connection,
    ) -> Result<Relayed, Broken> {
        let mut brigade = request.new_brigade();
        connection.read()?;
        loop {
            let piece = match connection.next()? {
                None => break,
                Some(Answer::Stdout(data)) => match self.stdout(request, &mut brigade, data)? {
                    Ok(()) => continue,
                    Err(why) => return Ok(Relayed::Stopped(why)),
                },
                Some(Answer::StdoutEnd) => continue,
                Some(Answer::Stderr(text)) => Piece::Error(text.to_vec()),
                Some(Answer::Log { level, line }) => {
                    Piece::Log(Level::from_number(level.number()), line.to_vec())
                }
                Some(Answer::File(span)) => Piece::File(span),
                Some(Answer::End { protocol_status, app_status }) => {
                    Piece::End(protocol_status, app_status)
                }
            };
            match piece {
                Piece::Log(level, line) => request.log(level, &line),
                Piece::Error(text) => {
                    self.errors.push(&text, |line| request.log(Level::Error, line));
                }
                Piece::File(span) => {
                    if let Err(why) = self.file(request, connection, &mut brigade, span)? {
                        return Ok(Relayed::Stopped(why));
                    }
                }
                Piece::End(status, app_status) => {
                    if app_status == app_status::ABORTED {
                        connection.forsake();
                    }
                    return self.end(request, &mut brigade, status, app_status);
                }
            }
        }
        // A file waits for the end of the answer, which came with it or comes later.
        if !brigade.is_empty()
            && let Err(why) = request.pass(&mut brigade)
        {
            return Ok(Relayed::Stopped(why));
        }
        // The worker may have more in a moment; if not, the client gets what there is.
        if self.unflushed > 0
            && (self.unflushed >= self.group.response_buffer_size()
                || !connection.waits_for_input(self.group.response_flush_delay()))
        {
            self.unflushed = 0;
            if let Err(why) = self.pass_pending(request, &mut brigade, BrigadeEnd::Flush) {
                return Ok(Relayed::Stopped(why));
            }
        }
        if self.unheard.is_some_and(|since| since.elapsed() > DISCARD_LIMIT) {
            connection.abort();
            let passed = self.pass_pending(request, &mut brigade, BrigadeEnd::End);
            return Ok(Relayed::Complete(request.outcome(passed)));
        }
        Ok(Relayed::More)
    }

    fn stdout<'call>(
        &mut self,
        request: &mut Request<'call>,
        brigade: &mut Brigade<'call>,
        data: &[u8],
    ) -> Result<Result<(), PassError>, Broken> {
        let mut data = data;
        if self.stage == Stage::Head {
            let complete =
                self.memory.parser.feed(data).map_err(|why| Broken::Malformed(why.to_string()))?;
            let Some(body) = complete else { return Ok(Ok(())) };
            data = data.get(body..).unwrap_or_default();
            self.head(request)?;
        }
        if data.is_empty() || self.stage != Stage::Body {
            return Ok(Ok(()));
        }
        let length = self.clip(request, data.len() as u64);
        let data = data.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(data);
        self.unflushed += data.len();
        let pending = &mut self.memory.pending;
        let whole = self.promised.is_some_and(|promised| promised <= WHOLE);
        let limit = if whole { WHOLE as usize } else { PENDING };
        if pending.len() + data.len() <= limit {
            pending.extend_from_slice(data);
            return Ok(Ok(()));
        }
        Ok(self
            .pass_held(request, brigade)
            .and_then(|()| request.pass_bytes(brigade, data, BrigadeEnd::More)))
    }

    /// How much of `length` bytes of body the client gets: no more than `Content-Length` promises, or it would
    /// take the rest for another answer. Workers see to that themselves, unless an application speaks for them.
    fn clip(&mut self, request: &mut Request<'_>, length: u64) -> u64 {
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

    /// Passes on what waits, if anything does, before what comes behind it.
    fn pass_held<'call>(
        &mut self,
        request: &mut Request<'call>,
        brigade: &mut Brigade<'call>,
    ) -> Result<(), PassError> {
        if self.memory.pending.is_empty() {
            return Ok(());
        }
        self.pass_pending(request, brigade, BrigadeEnd::More)
    }

    fn pass_pending<'call>(
        &mut self,
        request: &mut Request<'call>,
        brigade: &mut Brigade<'call>,
        end: BrigadeEnd,
    ) -> Result<(), PassError> {
        let passed = request.pass_bytes(brigade, &self.memory.pending, end);
        self.memory.pending.clear();
        passed
    }

    fn head(&mut self, request: &mut Request<'_>) -> Result<(), Broken> {
        let malformed = |why: wsgi::HeadError| Broken::Malformed(why.to_string());
        let Memory { parser, head, line, .. } = &mut self.memory;
        let parsed = parser.head().ok_or_else(|| Broken::Malformed("no head".to_owned()))?;
        let code = parsed.status().unwrap_or(200);
        line.clear();
        // Writing to memory does not fail.
        let _ = write!(line, "{code} ");
        line.extend_from_slice(parsed.reason());
        head.set_status(line.trim_ascii_end()).map_err(malformed)?;
        let mut location = None;
        for (name, value) in parsed.fields() {
            head.push(name, value).map_err(malformed)?;
            // CGI's local redirect (RFC 3875, 6.2.2).
            if code == 200 && name.len() == 8 && name.eq_ignore_ascii_case(b"Location") {
                location = Some(value).filter(|value| value.starts_with(b"/"));
            }
        }
        if is_overridden(self.settings, code) {
            error_override::keep_headers(request, head);
            self.stage = Stage::Replaced(code);
            return Ok(());
        }
        if let Some(location) = location {
            self.location = Some(location.to_vec());
            self.stage = Stage::Located;
            return Ok(());
        }
        self.promised = head.content_length().map_err(malformed)?;
        if request.is_head() || head.is_bodiless() {
            self.promised = None;
            self.unheard = Some(Instant::now());
        }
        request.set_head(&Head::of(head));
        self.stage = Stage::Body;
        Ok(())
    }

    fn file<'call>(
        &mut self,
        request: &mut Request<'call>,
        connection: &mut Connection,
        brigade: &mut Brigade<'call>,
        span: FileSpan,
    ) -> Result<Result<(), PassError>, Broken> {
        let Some(file) = connection.take_file() else {
            return Err(Broken::Malformed("a file record came without its descriptor".to_owned()));
        };
        if self.stage != Stage::Body {
            return Ok(Ok(()));
        }
        let end = span.offset.checked_add(span.length);
        let length = posix::readable_length(file.as_fd());
        if !matches!((end, length), (Some(end), Some(length)) if end <= length) {
            return Err(Broken::Malformed("a file record is for what is not there".to_owned()));
        }
        let length = self.clip(request, span.length);
        self.unflushed += 1;
        let part = span.offset..span.offset + length;
        let sendfile = self.settings.enable_sendfile;
        if let Err(why) = self.pass_held(request, brigade) {
            return Ok(Err(why));
        }
        // The range of a file is served where the end is passed on with it (httpd's byterange filter).
        // It is the worker's, who may cut it at any time. Who looks at a mapping then gets a SIGBUS; the kernel
        // only fails to send it.
        let mmap = request.is_unfiltered();
        Ok(request.append_file(brigade, file.as_fd(), part, sendfile, mmap))
    }

    fn end<'call>(
        &mut self,
        request: &mut Request<'call>,
        brigade: &mut Brigade<'call>,
        status: ProtocolStatus,
        app_status: u32,
    ) -> Result<Relayed, Broken> {
        self.errors.finish(|line| request.log(Level::Error, line));
        if status != ProtocolStatus::RequestComplete {
            return Err(Broken::Refused);
        }
        match self.stage {
            Stage::Replaced(status) => return Ok(Relayed::Complete(Outcome::Status(status))),
            // Whoever breaks off has not meant what it said before.
            Stage::Located if app_status == app_status::ABORTED => {
                self.location = None;
                return Ok(Relayed::Complete(Outcome::Status(500)));
            }
            Stage::Located => return Ok(Relayed::Complete(Outcome::Done)),
            // A request that came to nothing ends with the HTTP status that tells why.
            Stage::Head => {
                return match u16::try_from(app_status) {
                    Ok(status @ 400..=599) => {
                        let status = self.settings.error_status(status);
                        Ok(Relayed::Complete(Outcome::Status(status)))
                    }
                    _ => Err(Broken::Malformed("the answer has no head".to_owned())),
                };
            }
            Stage::Body => {}
        }
        let short = self.promised.is_some_and(|promised| self.written < promised);
        let broken = short || matches!(app_status, app_status::SHORT | app_status::ABORTED);
        let end = if broken { BrigadeEnd::Flush } else { BrigadeEnd::End };
        // All of the answer has been read: the connection to the worker is as good as new.
        let passed = self.pass_pending(request, brigade, end);
        if broken && passed.is_ok() {
            request.cut();
        }
        Ok(Relayed::Complete(request.outcome(passed)))
    }
}
