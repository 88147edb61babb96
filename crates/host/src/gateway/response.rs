//! The request a thread serves: its exchange, and how far its answer has come.
//!
//! The rules of PEP 3333 about heads, lengths and ends live here; Python does not.
#![forbid(unsafe_code)]

use crate::observe::io_counters::{Tally, Watch};
use wsgi::{
    Body, Exchange, HeadError, Level, Output, ReadError, ResponseHead, SendError, Source, Then,
};

/// A request being served.
pub(crate) struct Request<'r> {
    pub(crate) exchange: &'r mut dyn Exchange,
    pub(crate) script: &'r [u8],
    pub(crate) head: ResponseHead,
    /// Body bytes of an answer that is sent once Python is done.
    pub(crate) collected: Vec<u8>,
    pub(crate) tally: Tally,
    /// Called before the last piece of the response is handed to the transport. The line that it gives is
    /// written at level warning.
    pub(crate) before_end: Option<fn() -> Option<String>>,
    /// The application has returned all of its answer and is left or about to be: the end need not hurry.
    pub(crate) leaving: bool,
    stage: Stage,
    written: u64,
    promised: Option<u64>,
    log_line: Vec<u8>,
    read_failure: Option<ReadError>,
    send_failure: Option<SendError>,
}

/// How far the answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// `start_response` has not been called.
    Silent,
    /// There is a head, still replaceable.
    Started,
    /// The head is out.
    Sending,
    /// All of it is out.
    Ended,
}

/// Why a piece of the answer was not sent.
pub(crate) enum ChunkError {
    /// `start_response` has not been called.
    NotStarted,
    /// The head is not fit to be sent.
    Head(HeadError),
    /// The way to the client is closed.
    Send(SendError),
}

impl<'r> Request<'r> {
    pub(crate) fn new(exchange: &'r mut dyn Exchange, script: &'r [u8], buffers: Buffers) -> Self {
        Self {
            exchange,
            script,
            head: buffers.head,
            collected: buffers.body,
            tally: Tally::default(),
            before_end: None,
            leaving: false,
            stage: Stage::Silent,
            written: 0,
            promised: None,
            log_line: Vec::new(),
            read_failure: None,
            send_failure: None,
        }
    }

    /// The status of the answer; `None` before `start_response`.
    pub(crate) fn status(&self) -> Option<u16> {
        (self.stage != Stage::Silent).then(|| self.head.status())
    }

    /// How far the answer has come.
    pub(crate) const fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether no more of the body reaches anybody.
    pub(crate) fn is_unheard(&self) -> bool {
        match self.stage {
            Stage::Silent => false,
            Stage::Started | Stage::Sending => {
                !self.exchange.wants_body() || self.head.is_bodiless()
            }
            Stage::Ended => true,
        }
    }

    /// An empty head to fill, in the buffers kept for it where they are free. What may still be sent stays
    /// as it is until [`Request::start`].
    pub(crate) fn spare_head(&mut self) -> ResponseHead {
        if self.stage != Stage::Silent {
            return ResponseHead::default();
        }
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        head
    }

    /// Takes a checked head; the one before it, if any, is forgotten. `false` when that has been sent.
    pub(crate) fn start(&mut self, head: ResponseHead) -> bool {
        if self.stage >= Stage::Sending {
            return false;
        }
        self.stage = Stage::Started;
        self.head = head;
        true
    }

    /// Sends a piece of body. What exceeds the promised length is dropped (PEP 3333, "Handling the
    /// Content-Length Header"), and the piece that completes it ends the answer.
    pub(crate) fn send_chunk(&mut self, chunk: &[u8]) -> Result<(), ChunkError> {
        // Middleware may have nothing to say before the application has called start_response (PEP 3333,
        // "Middleware Handling of Block Boundaries").
        if chunk.is_empty() {
            return Ok(());
        }
        if self.stage == Stage::Silent {
            return Err(ChunkError::NotStarted);
        }
        self.tally.output.add(chunk.len());
        if self.stage == Stage::Ended {
            return Ok(());
        }
        self.prepare()?;
        let (chunk, then) = self.clip(chunk);
        self.send(Body::Bytes(chunk), chunk.len() as u64, then)
    }

    /// Sends a file as the whole answer: from `offset` on, as much as is promised, else `available`.
    pub(crate) fn send_file(
        &mut self,
        file: std::os::fd::BorrowedFd<'_>,
        offset: u64,
        available: u64,
    ) -> Result<(), ChunkError> {
        self.prepare()?;
        let length = match self.promised {
            Some(promised) => promised.min(available),
            None => {
                // The one case in which a length is computed for an application (mod_wsgi does too).
                let text = available.to_string();
                self.head.push(b"Content-Length", text.as_bytes()).map_err(ChunkError::Head)?;
                self.promised = Some(available);
                available
            }
        };
        let then = if Some(length) == self.promised { Then::End } else { Then::Short };
        self.tally.output.add(usize::try_from(length).unwrap_or(usize::MAX));
        self.send(Body::File { file, offset, length }, length, then)
    }

    /// Collects a piece of an answer that is sent whole by [`Request::finish`].
    pub(crate) fn collect(&mut self, chunk: &[u8]) -> Result<(), ChunkError> {
        if self.stage == Stage::Silent {
            return Err(ChunkError::NotStarted);
        }
        if !chunk.is_empty() {
            self.tally.output.add(chunk.len());
            self.collected.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// Checks what [`Request::finish`] will send, while Python can still raise.
    pub(crate) fn check_head(&mut self) -> Result<(), ChunkError> {
        if self.stage == Stage::Silent {
            return Err(ChunkError::NotStarted);
        }
        self.prepare()
    }

    /// Sends whatever is still to be sent and ends the answer.
    pub(crate) fn finish(&mut self) -> Result<(), ChunkError> {
        if self.stage == Stage::Ended {
            return Ok(());
        }
        self.prepare()?;
        let collected = std::mem::take(&mut self.collected);
        let (chunk, _) = self.clip(&collected);
        let total = self.written + chunk.len() as u64;
        let then = match self.promised {
            Some(promised)
                if total < promised && self.exchange.wants_body() && !self.head.is_bodiless() =>
            {
                self.say_short(total, promised);
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

    /// Gives up an answer whose head is out.
    pub(crate) fn cut(&mut self) {
        if self.stage == Stage::Sending {
            self.exchange.cut();
            self.stage = Stage::Ended;
        }
    }

    /// Reads request body.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        let watch = Watch::start(self.tally.timed);
        let read = self.exchange.read(into);
        watch.stop(&mut self.tally.input);
        self.tally.input.bytes += *read.as_ref().unwrap_or(&0) as u64;
        if let Err(why) = &read {
            self.read_failure = Some(why.clone());
        }
        read
    }

    /// Why the request body could not be read to its end, if it could not.
    pub(crate) const fn read_failure(&self) -> Option<&ReadError> {
        self.read_failure.as_ref()
    }

    /// Why the answer could not be sent to its end, if it could not.
    pub(crate) const fn send_failure(&self) -> Option<SendError> {
        self.send_failure
    }

    /// Takes text an application wrote to a log; each complete line becomes a record.
    pub(crate) fn log_text(&mut self, text: &[u8]) {
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

    /// Writes one line of our own about this request.
    pub(crate) fn log(&mut self, level: Level, line: &str) {
        self.exchange.log(level, line.as_bytes());
    }

    /// Whether lines of this level are written.
    pub(crate) fn logs(&self, level: Level) -> bool {
        self.exchange.logs(level)
    }

    /// Writes one line of the application's, with the place it comes from.
    pub(crate) fn log_from(&mut self, level: Level, line: &[u8], source: &Source<'_>) {
        let record = self.of_script(line);
        self.exchange.log_from(level, &record, source);
    }

    /// Gives the buffers back for the next request.
    pub(crate) fn into_buffers(self) -> Buffers {
        Buffers { head: self.head, body: self.collected }
    }

    fn log_script_line(&mut self, line: &[u8]) {
        let record = self.of_script(line);
        self.exchange.log(Level::Error, &record);
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
            self.promised = self.head.content_length().map_err(ChunkError::Head)?;
        }
        Ok(())
    }

    fn clip<'a>(&mut self, chunk: &'a [u8]) -> (&'a [u8], Then) {
        let Some(promised) = self.promised else { return (chunk, Then::Flush) };
        let room = promised.saturating_sub(self.written);
        if (chunk.len() as u64) < room {
            return (chunk, Then::Flush);
        }
        if chunk.len() as u64 > room {
            let line = format!(
                "the application sent more than the Content-Length of {promised} bytes it gave; \
                 the rest is dropped"
            );
            self.log(Level::Debug, &line);
        }
        (chunk.get(..room as usize).unwrap_or(chunk), Then::End)
    }

    fn say_short(&mut self, total: u64, promised: u64) {
        let line = format!(
            "[script {}] the application sent {total} bytes after a Content-Length of {promised}; \
             the connection is closed, so that the client can see it",
            String::from_utf8_lossy(self.script)
        );
        self.log(Level::Info, &line);
    }

    fn send(&mut self, body: Body<'_>, length: u64, then: Then) -> Result<(), ChunkError> {
        // Once all of the answer is out a transport may have no way to the request's log any more.
        if then != Then::Flush
            && let Some(line) = self.before_end.and_then(|line| line())
        {
            self.log(Level::Warning, &line);
        }
        let head = (self.stage == Stage::Started).then_some(&self.head);
        // The client must not wait for `close()`, or for what comes behind the last piece. A file is the
        // exception: the transport may send it without this thread.
        let hurry = then == Then::End && !self.leaving && !matches!(body, Body::File { .. });
        let watch = Watch::start(self.tally.timed);
        let sent = self.exchange.send(Output { head, body, then });
        if hurry && sent.is_ok() {
            self.exchange.flush_complete();
        }
        watch.stop(&mut self.tally.output);
        self.stage = if then == Then::Flush { Stage::Sending } else { Stage::Ended };
        self.written += length;
        sent.map_err(|why| {
            self.send_failure = Some(why);
            ChunkError::Send(why)
        })
    }
}

/// What a thread reuses from one request to the next.
#[derive(Default)]
pub(crate) struct Buffers {
    head: ResponseHead,
    body: Vec<u8>,
}

impl Buffers {
    /// Beyond this many bytes a buffer is given back to the allocator rather than kept.
    const KEPT: usize = 256 * 1024;

    /// Empty again, for the next request.
    pub(crate) fn cleared(mut self) -> Self {
        self.head.clear();
        if self.body.capacity() > Self::KEPT {
            self.body = Vec::new();
        } else {
            self.body.clear();
        }
        self
    }
}
