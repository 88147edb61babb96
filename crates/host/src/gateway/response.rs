//! The response of one request: the exchange it is sent by, and how much of it has been sent.
//!
//! The rules of PEP 3333 about heads, lengths and ends are here. Python is not known, nor the accounting of threads.
#![forbid(unsafe_code)]

use crate::objects::JsonLine;
use crate::observe::io_counters::{IoCounters, Stopwatch};
use wsgi::{
    Body, Exchange, HeadError, Level, Output, ReadError, ResponseHead, SendError, Source, Then,
};

/// The response of a request that is being served.
pub struct Response<'r> {
    pub(crate) exchange: &'r mut dyn Exchange,
    pub(crate) script: &'r [u8],
    pub(crate) head: ResponseHead,
    /// Body bytes of a response that is sent once Python has been left.
    pub(crate) collected: Vec<u8>,
    pub(crate) io: IoCounters,
    /// Called before the last piece of the response is handed to the transport. The line that it gives is
    /// written at level warning.
    pub(crate) before_end: Option<fn() -> Option<String>>,
    /// The application has returned the whole response and has been left or is about to be: nothing has to be flushed
    /// ahead of the end.
    pub(crate) application_done: bool,
    stage: Stage,
    written: u64,
    content_length: Option<u64>,
    log_line: Vec<u8>,
    /// That of the text in `log_line`.
    log_level: Level,
    /// How it is written where lines are JSON.
    log_json: Option<JsonLine>,
    read_failure: Option<ReadError>,
    send_failure: Option<SendError>,
}

/// How much of the response has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// `start_response` has not been called.
    Silent,
    /// There is a head, which can be replaced.
    Started,
    /// The head has been sent.
    Sending,
    /// All of it has been sent.
    Ended,
}

/// Why a piece of the response was not sent.
pub(crate) enum ChunkError {
    /// `start_response` has not been called.
    NotStarted,
    /// The head is not valid.
    Head(HeadError),
    /// The transport takes no more.
    Send(SendError),
}

impl<'r> Response<'r> {
    pub(crate) fn new(exchange: &'r mut dyn Exchange, script: &'r [u8], buffers: Buffers) -> Self {
        Self {
            exchange,
            script,
            head: buffers.head,
            collected: buffers.body,
            io: IoCounters::default(),
            before_end: None,
            application_done: false,
            stage: Stage::Silent,
            written: 0,
            content_length: None,
            log_line: Vec::new(),
            log_level: Level::Error,
            log_json: None,
            read_failure: None,
            send_failure: None,
        }
    }

    /// The HTTP status; `None` before `start_response`.
    pub(crate) fn status(&self) -> Option<u16> {
        (self.stage != Stage::Silent).then(|| self.head.status())
    }

    /// How much of the response has been sent.
    pub(crate) const fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether the rest of the body is discarded.
    pub(crate) fn is_discarded(&self) -> bool {
        match self.stage {
            Stage::Silent => false,
            Stage::Started | Stage::Sending => {
                !self.exchange.wants_body() || self.head.is_bodiless()
            }
            Stage::Ended => true,
        }
    }

    /// An empty head to fill, in the buffer of the last request where that is free. A head that has been set stays
    /// until [`Response::start`].
    pub(crate) fn take_head_buffer(&mut self) -> ResponseHead {
        if self.stage != Stage::Silent {
            return ResponseHead::default();
        }
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        head
    }

    /// Takes a checked head in place of the one before it, if any. `false` when that has been sent.
    pub(crate) fn start(&mut self, head: ResponseHead) -> bool {
        if self.stage >= Stage::Sending {
            return false;
        }
        self.stage = Stage::Started;
        self.head = head;
        true
    }

    /// Sends a piece of body. What exceeds the Content-Length is dropped (PEP 3333, "Handling the
    /// Content-Length Header"), and the piece that completes it ends the response.
    pub(crate) fn send_chunk(&mut self, chunk: &[u8]) -> Result<(), ChunkError> {
        // Middleware may yield empty strings before the application has called start_response (PEP 3333,
        // "Middleware Handling of Block Boundaries").
        if chunk.is_empty() {
            return Ok(());
        }
        if self.stage == Stage::Silent {
            return Err(ChunkError::NotStarted);
        }
        self.io.output.add(chunk.len());
        if self.stage == Stage::Ended {
            return Ok(());
        }
        self.prepare()?;
        let (chunk, then) = self.truncate_to_length(chunk);
        self.send(Body::Bytes(chunk), chunk.len() as u64, then)
    }

    /// Sends a file as the whole body: from `offset` on, as much as `Content-Length` says, else `available`.
    pub(crate) fn send_file(
        &mut self,
        file: std::os::fd::BorrowedFd<'_>,
        offset: u64,
        available: u64,
    ) -> Result<(), ChunkError> {
        self.prepare()?;
        let length = match self.content_length {
            Some(content_length) => content_length.min(available),
            None => {
                // The one case in which a length is computed for an application (mod_wsgi does too).
                let text = available.to_string();
                self.head.push(b"Content-Length", text.as_bytes()).map_err(ChunkError::Head)?;
                self.content_length = Some(available);
                available
            }
        };
        let then = if Some(length) == self.content_length { Then::End } else { Then::Short };
        self.io.output.add(usize::try_from(length).unwrap_or(usize::MAX));
        self.send(Body::File { file, offset, length }, length, then)
    }

    /// Collects a piece of a response that is sent whole by [`Response::finish`].
    pub(crate) fn collect(&mut self, chunk: &[u8]) -> Result<(), ChunkError> {
        if self.stage == Stage::Silent {
            return Err(ChunkError::NotStarted);
        }
        if !chunk.is_empty() {
            self.io.output.add(chunk.len());
            self.collected.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// Checks what [`Response::finish`] will send, while Python can still raise.
    pub(crate) fn check_head(&mut self) -> Result<(), ChunkError> {
        if self.stage == Stage::Silent {
            return Err(ChunkError::NotStarted);
        }
        self.prepare()
    }

    /// Sends what is left and ends the response.
    pub(crate) fn finish(&mut self) -> Result<(), ChunkError> {
        if self.stage == Stage::Ended {
            return Ok(());
        }
        self.prepare()?;
        let collected = std::mem::take(&mut self.collected);
        let (chunk, _) = self.truncate_to_length(&collected);
        let total = self.written + chunk.len() as u64;
        let then = match self.content_length {
            Some(content_length)
                if total < content_length
                    && self.exchange.wants_body()
                    && !self.head.is_bodiless() =>
            {
                self.log_truncated(total, content_length);
                Then::Short
            }
            _ => Then::End,
        };
        let length = chunk.len() as u64;
        let body = if chunk.is_empty() { Body::Empty } else { Body::Bytes(chunk) };
        let sent = self.send(body, length, then);
        self.collected = collected;
        sent
    }

    /// Aborts a response whose head has been sent.
    pub(crate) fn cut(&mut self) {
        if self.stage == Stage::Sending {
            self.exchange.cut();
            self.stage = Stage::Ended;
        }
    }

    /// Reads request body.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        let stopwatch = Stopwatch::start(self.io.timed);
        let read = self.exchange.read(into);
        stopwatch.stop(&mut self.io.input);
        self.io.input.bytes += *read.as_ref().unwrap_or(&0) as u64;
        if let Err(why) = &read {
            self.read_failure = Some(why.clone());
        }
        read
    }

    /// Why the request body could not be read to its end, if it could not.
    pub(crate) const fn read_failure(&self) -> Option<&ReadError> {
        self.read_failure.as_ref()
    }

    /// Why the response could not be sent to its end, if it could not.
    pub(crate) const fn send_failure(&self) -> Option<SendError> {
        self.send_failure
    }

    /// Takes text an application wrote to a log; each complete line becomes a record of that level, as JSON where there
    /// is one.
    pub(crate) fn log_text(&mut self, level: Level, text: &[u8], json: Option<&JsonLine>) {
        if self.log_level != level || JsonLine::are_apart(self.log_json.as_ref(), json) {
            self.flush_log();
            self.log_level = level;
        }
        self.log_json = json.cloned();
        let mut rest = text;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            if self.log_line.is_empty() {
                self.log_script_line(line);
            } else {
                self.log_line.extend_from_slice(line);
                self.flush_log();
            }
        }
        self.log_line.extend_from_slice(rest);
    }

    /// Makes a record of the text after the last newline, if there is any.
    pub(crate) fn flush_log(&mut self) {
        if !self.log_line.is_empty() {
            let line = std::mem::take(&mut self.log_line);
            self.log_script_line(&line);
        }
    }

    /// Whether text waits for its newline.
    pub(crate) const fn has_unfinished_line(&self) -> bool {
        !self.log_line.is_empty()
    }

    /// Writes one line about this request.
    pub(crate) fn log(&mut self, level: Level, line: &str) {
        self.exchange.log(level, line.as_bytes());
    }

    /// Whether lines of this level are written.
    pub(crate) fn logs(&self, level: Level) -> bool {
        self.exchange.logs(level)
    }

    /// Writes one line of the application's, with its source location.
    pub(crate) fn log_from(&mut self, level: Level, line: &[u8], source: &Source<'_>) {
        let record = self.of_script(line);
        self.exchange.log_from(level, &record, source);
    }

    /// Gives the buffers back for the next request.
    pub(crate) fn into_buffers(self) -> Buffers {
        Buffers { head: self.head, body: self.collected }
    }

    fn log_script_line(&mut self, line: &[u8]) {
        let record = match &self.log_json {
            Some(json) => self.of_script(&json.of(self.log_level, line)),
            None => self.of_script(line),
        };
        self.exchange.log(self.log_level, &record);
    }

    /// The line with the script's name before it.
    fn of_script(&self, line: &[u8]) -> Vec<u8> {
        let mut record = Vec::with_capacity(self.script.len() + line.len() + 10);
        record.extend_from_slice(b"[script ");
        record.extend_from_slice(self.script);
        record.extend_from_slice(b"] ");
        record.extend_from_slice(line);
        record
    }

    fn prepare(&mut self) -> Result<(), ChunkError> {
        if let Some(failure) = self.send_failure {
            return Err(ChunkError::Send(failure));
        }
        if self.stage == Stage::Silent {
            return Err(ChunkError::NotStarted);
        }
        if self.stage == Stage::Started {
            self.content_length = self.head.content_length().map_err(ChunkError::Head)?;
        }
        Ok(())
    }

    fn truncate_to_length<'a>(&mut self, chunk: &'a [u8]) -> (&'a [u8], Then) {
        let Some(content_length) = self.content_length else { return (chunk, Then::Flush) };
        let room = content_length.saturating_sub(self.written);
        if (chunk.len() as u64) < room {
            return (chunk, Then::Flush);
        }
        if chunk.len() as u64 > room {
            let line = format!(
                "the application sent more than the Content-Length of {content_length} bytes it gave; \
                 the rest is dropped"
            );
            self.log(Level::Debug, &line);
        }
        (chunk.get(..room as usize).unwrap_or(chunk), Then::End)
    }

    fn log_truncated(&mut self, total: u64, content_length: u64) {
        let line = format!(
            "[script {}] the application sent {total} bytes after a Content-Length of {content_length}; \
             the connection is closed, so that the client can see it [XB]",
            String::from_utf8_lossy(self.script)
        );
        self.log(Level::Info, &line);
    }

    fn send(&mut self, body: Body<'_>, length: u64, then: Then) -> Result<(), ChunkError> {
        // Once the response has been sent, a transport may have no access to the request's log any more.
        if then != Then::Flush
            && let Some(line) = self.before_end.and_then(|line| line())
        {
            self.log(Level::Warning, &line);
        }
        let head = (self.stage == Stage::Started).then_some(&self.head);
        // The client must not wait for `close()`, or for code after the last piece. A file is the
        // exception: the transport may send it without this thread.
        let hurry =
            then == Then::End && !self.application_done && !matches!(body, Body::File { .. });
        let stopwatch = Stopwatch::start(self.io.timed);
        let sent = self.exchange.send(Output { head, body, then });
        if hurry && sent.is_ok() {
            self.exchange.flush_complete();
        }
        stopwatch.stop(&mut self.io.output);
        self.stage = if then == Then::Flush { Stage::Sending } else { Stage::Ended };
        self.written += length;
        sent.map_err(|why| {
            self.send_failure = Some(why);
            ChunkError::Send(why)
        })
    }
}

/// Buffers that a thread reuses from one request to the next.
#[derive(Default)]
pub(crate) struct Buffers {
    head: ResponseHead,
    body: Vec<u8>,
}

impl Buffers {
    /// A buffer of more bytes than this is freed rather than reused.
    const MAX_REUSED_CAPACITY: usize = 256 * 1024;

    /// Empty again, for the next request.
    pub(crate) fn cleared(mut self) -> Self {
        self.head.clear();
        if self.body.capacity() > Self::MAX_REUSED_CAPACITY {
            self.body = Vec::new();
        } else {
            self.body.clear();
        }
        self
    }
}
