//! The answer of a worker on its way to the client.
#![forbid(unsafe_code)]

use super::connection::{Broken, Connection};
use super::{Group, is_overridden};
use crate::apr::Brigade;
use crate::config::Settings;
use crate::error_override;
use crate::httpd::{BrigadeEnd, Head, Outcome, PassError, Request};
use fastcgi::head::HeadParser;
use fastcgi::{Answer, ErrorLines, FileSpan, ProtocolStatus};
use std::os::fd::AsFd;
use wsgi::{Level, ResponseHead};

/// `app_status` of an answer that the application broke off after its head; it has been logged.
const CUT: u32 = 2;
/// Up to this many bytes wait for what comes after them.
const PENDING: usize = 16 * 1024;

/// How far an answer has come.
pub(super) struct Relay<'a> {
    settings: &'a Settings<'a>,
    group: &'a Group,
    parser: HeadParser,
    stage: Stage,
    /// Body bytes that wait for their company: what comes with the end goes out with the end, and lets
    /// httpd tell the length.
    pending: Vec<u8>,
    /// Bytes passed on since the last flush.
    unflushed: usize,
    written: u64,
    promised: Option<u64>,
    elsewhere: Vec<u8>,
    errors: ErrorLines,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    /// Another path of this server has the answer; the rest is only read.
    Elsewhere,
    /// httpd answers instead; the rest is only read.
    Replaced(u16),
}

/// What a step came to.
pub(super) enum Relayed {
    More,
    Complete(Ending),
    /// The client is gone.
    Gone,
}

/// What has become of the request.
pub(super) enum Ending {
    Outcome(Outcome),
    /// The application asks that the answer be taken from this path.
    Elsewhere(Vec<u8>),
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(outcome)
    }
}

/// What one piece of the answer asks for, copied out of the connection's buffer where it must be.
enum Piece {
    Log(Level, Vec<u8>),
    Error(Vec<u8>),
    File(FileSpan),
    End(ProtocolStatus, u32),
}

impl<'a> Relay<'a> {
    pub(super) fn new(settings: &'a Settings<'a>, group: &'a Group) -> Self {
        Self {
            settings,
            group,
            parser: HeadParser::new(group.limits()),
            stage: Stage::Head,
            pending: Vec::new(),
            unflushed: 0,
            written: 0,
            promised: None,
            elsewhere: Vec::new(),
            errors: ErrorLines::new(&group.limits()),
        }
    }

    /// Whether the client has seen part of the answer.
    pub(super) fn has_head(&self) -> bool {
        self.stage == Stage::Body
    }

    /// Passes on what is still held back, before an answer is broken off.
    pub(super) fn let_go(&mut self, request: &mut Request<'_>) {
        let pending = std::mem::take(&mut self.pending);
        let mut brigade = request.new_brigade();
        // If the client cannot take it, it cannot hear of the end either.
        let _ = request.pass_bytes(&mut brigade, &pending, BrigadeEnd::Flush);
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
                    Err(PassError::Aborted | PassError::Failed) => return Ok(Relayed::Gone),
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
                    if self.file(request, connection, &mut brigade, span)?.is_err() {
                        return Ok(Relayed::Gone);
                    }
                }
                Piece::End(status, app_status) => {
                    return self.end(request, &mut brigade, status, app_status);
                }
            }
        }
        // The worker may have more in a moment; if not, the client gets what there is.
        if self.unflushed > 0
            && (self.unflushed >= self.group.response_buffer_size()
                || !connection.waits_for_input(self.group.response_flush_delay()))
        {
            self.unflushed = 0;
            let pending = std::mem::take(&mut self.pending);
            if request.pass_bytes(&mut brigade, &pending, BrigadeEnd::Flush).is_err() {
                return Ok(Relayed::Gone);
            }
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
                self.parser.feed(data).map_err(|why| Broken::Malformed(why.to_string()))?;
            let Some(body) = complete else { return Ok(Ok(())) };
            data = data.get(body..).unwrap_or_default();
            self.head(request)?;
        }
        if data.is_empty() || self.stage != Stage::Body {
            return Ok(Ok(()));
        }
        self.unflushed += data.len();
        self.written += data.len() as u64;
        if self.pending.len() + data.len() <= PENDING {
            self.pending.extend_from_slice(data);
            return Ok(Ok(()));
        }
        Ok(self
            .pass_pending(request, brigade)
            .and_then(|()| request.pass_bytes(brigade, data, BrigadeEnd::More)))
    }

    fn pass_pending<'call>(
        &mut self,
        request: &mut Request<'call>,
        brigade: &mut Brigade<'call>,
    ) -> Result<(), PassError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        request.pass_bytes(brigade, &pending, BrigadeEnd::More)
    }

    fn head(&mut self, request: &mut Request<'_>) -> Result<(), Broken> {
        let malformed = |why: wsgi::HeadError| Broken::Malformed(why.to_string());
        let parsed = self.parser.head().ok_or_else(|| Broken::Malformed("no head".to_owned()))?;
        let mut head = ResponseHead::new();
        let code = parsed.status().unwrap_or(200);
        let line = [code.to_string().as_bytes(), b" ", parsed.reason()].concat();
        head.set_status(line.trim_ascii_end()).map_err(malformed)?;
        for (name, value) in parsed.fields() {
            head.push(name, value).map_err(malformed)?;
        }
        if is_overridden(request, self.settings, code) {
            error_override::keep_headers(request, &head);
            self.stage = Stage::Replaced(code);
            return Ok(());
        }
        if code == 200
            && let Some(path) = local_redirect(&head)
        {
            self.elsewhere = path.to_vec();
            self.stage = Stage::Elsewhere;
            return Ok(());
        }
        self.promised = head.content_length().map_err(malformed)?;
        if request.is_head() || head.is_bodiless() {
            self.promised = None;
        }
        request.set_head(&Head::of(&head));
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
        self.written += span.length;
        self.unflushed += 1;
        let part = span.offset..span.offset.saturating_add(span.length);
        let sendfile = self.settings.enable_sendfile;
        if let Err(why) = self.pass_pending(request, brigade) {
            return Ok(Err(why));
        }
        Ok(request.pass_file(brigade, file.as_fd(), part, sendfile, BrigadeEnd::More))
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
            Stage::Replaced(status) => {
                return Ok(Relayed::Complete(Outcome::Status(status).into()));
            }
            // A request that came to nothing ends with the HTTP status that tells why.
            Stage::Head => {
                return match u16::try_from(app_status) {
                    Ok(status @ 400..=599) => {
                        let status = self.settings.status_of_failure(status);
                        Ok(Relayed::Complete(Outcome::Status(status).into()))
                    }
                    _ => Err(Broken::Malformed("the answer has no head".to_owned())),
                };
            }
            Stage::Elsewhere if app_status == CUT => {
                return Ok(Relayed::Complete(Outcome::Status(500).into()));
            }
            Stage::Elsewhere => {
                let path = std::mem::take(&mut self.elsewhere);
                return Ok(Relayed::Complete(Ending::Elsewhere(path)));
            }
            Stage::Body if app_status == CUT => {
                self.let_go(request);
                request.cut();
                return Ok(Relayed::Complete(Outcome::Done.into()));
            }
            Stage::Body => {}
        }
        let pending = std::mem::take(&mut self.pending);
        let passed = request.pass_bytes(brigade, &pending, BrigadeEnd::End);
        if self.promised.is_some_and(|promised| self.written < promised) {
            request.close_connection();
        }
        match passed {
            Ok(()) => Ok(Relayed::Complete(Outcome::Done.into())),
            // All of the answer has been read: the connection to the worker is as good as new.
            Err(PassError::Aborted | PassError::Failed) => {
                Ok(Relayed::Complete(Outcome::Done.into()))
            }
        }
    }
}

/// The path in the `Location` of an answer, if it is one of this server's.
fn local_redirect(head: &ResponseHead) -> Option<&[u8]> {
    let mut headers = head.headers();
    let (_, location) = headers.find(|(name, _)| name.eq_ignore_ascii_case(b"Location"))?;
    location.starts_with(b"/").then_some(location)
}
