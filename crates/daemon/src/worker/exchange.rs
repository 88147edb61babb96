//! The exchange over a FastCGI connection: what the Python room sees of a request. It knows no Python.
#![forbid(unsafe_code)]

use crate::log::Log;
use crate::worker::connection::{Body as Part, Connection, would_block};
use crate::worker::forks;
use crate::worker::response_claim::Turn;
use crate::worker::target::{Application, is_private};
use fastcgi::head::{HeadError, HeadWriter};
use fastcgi::{FileSpan, LogLevel, MAX_CONTENT, RecordType, app_status, encoder};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use wsgi::{Body, Environ, Exchange, Key, Level, Output, ReadError, ResponseHead, SendError, Then};

/// A request on a connection.
pub(crate) struct FastCgiExchange<'a> {
    /// Gone once the answer is complete and the connection waits for the next request.
    connection: Option<Box<Connection>>,
    release: &'a Release<'a>,
    /// A connection that has to be looked after.
    kept: Option<Box<Connection>>,
    /// Who answers: this exchange, or the worker that gives the request up.
    turn: &'a Turn,
    log: &'a Log,
    facts: Facts,
    application: Arc<Application>,
    input: Input,
    head: Vec<u8>,
    /// The client gets no body of this answer.
    silent: bool,
    answered: bool,
    /// All of the answer is out but its end: the application may still read the request body.
    owes_end: bool,
}

/// Takes a connection over: one whose answer is complete, which it gives back if there is more to do on
/// it at once, or (`false`) one to be closed.
pub(crate) type Release<'a> = dyn Fn(Box<Connection>, bool) -> Option<Box<Connection>> + 'a;

/// What is known of a request beside its params.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    /// The client gets the body.
    pub(crate) wants_body: bool,
    /// The application is the only one: where there is no `PATH_INFO`, all of the path is.
    pub(crate) mounted_at_root: bool,
    /// What is written to the log for it (a number of `APLOG_*`).
    pub(crate) log_level: u8,
}

/// How far the request body has been read.
#[derive(Clone)]
enum Input {
    Open,
    Ended,
    Failed(ReadError),
}

/// Bytes that most heads have room in.
const HEAD: usize = 512;
/// Answers of so many bytes wait for their end in our module.
const SMALL: usize = 16 * 1024;
/// Files of fewer bytes are not worth a descriptor.
const FILE: u64 = 16 * 1024;

impl<'a> FastCgiExchange<'a> {
    pub(crate) fn new(
        mut connection: Box<Connection>,
        application: Arc<Application>,
        facts: Facts,
        log: &'a Log,
        turn: &'a Turn,
        release: &'a Release<'a>,
    ) -> Self {
        turn.begin(&connection, application.from_module);
        let input = if connection.wire.body_is_empty() { Input::Ended } else { Input::Open };
        Self {
            connection: Some(connection),
            release,
            kept: None,
            turn,
            log,
            facts,
            application,
            input,
            head: Vec::with_capacity(HEAD),
            silent: !facts.wants_body,
            answered: false,
            owes_end: false,
        }
    }

    /// Answers with a status and nothing of the application's.
    pub(crate) fn fail(&mut self, status: u16) {
        if self.answered || !self.turn.take() {
            return self.cut();
        }
        let Some(connection) = self.connection.as_mut() else { return };
        let sent = if self.application.from_module {
            connection.write(&[], &[], &encoder::end_answer(connection.id(), status.into()))
        } else {
            let head =
                format!("Status: {status} {}\r\nContent-Type: text/plain\r\n\r\n", reason(status));
            let body = if self.silent { "" } else { reason(status) };
            let end = encoder::end_answer(connection.id(), 0);
            connection.write(head.as_bytes(), body.as_bytes(), &end)
        };
        match sent {
            Ok(()) => self.complete(),
            Err(_) => self.cut(),
        }
    }

    /// The connection, if it has to be looked after.
    pub(crate) fn into_connection(mut self) -> Option<Box<Connection>> {
        // Neither answered nor failed: the web server must not wait for ever.
        self.cut();
        self.kept.take()
    }

    /// Whether there is, or may come, some of the request body that the application has not read.
    fn has_more_to_read(&mut self) -> bool {
        if matches!(self.input, Input::Open)
            && self.connection.as_mut().is_some_and(|it| it.wire.body_is_empty())
        {
            self.input = Input::Ended;
        }
        matches!(self.input, Input::Open)
    }

    fn complete(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            if matches!(self.input, Input::Open) {
                connection.pass_over_body();
            }
            connection.wire.finish();
            self.kept = (self.release)(connection, true);
        }
    }

    fn write_head(&mut self, head: &ResponseHead, output: &Output<'_>) -> Result<(), HeadError> {
        self.head.clear();
        let length = self.untold_length(head, output);
        let reason = head.status_line().get(4..).unwrap_or_default();
        let mut left_out = Vec::new();
        let mut writer = HeadWriter::new(&mut self.head, head.status(), reason)?;
        for (name, value) in head.headers() {
            if self.application.from_module || !name.eq_ignore_ascii_case(b"Status") {
                writer.any_field(name, value)?;
            } else {
                // Other web servers would take it for the status.
                left_out.push(String::from_utf8_lossy(name));
            }
        }
        if let Some(length) = length {
            writer.any_field(b"Content-Length", length.to_string().as_bytes())?;
        }
        writer.finish();
        for name in left_out {
            let line = format!("a header of the response is left out: \"{name}\"");
            self.log(Level::Error, line.as_bytes());
        }
        self.silent |= head.is_bodiless();
        Ok(())
    }

    /// The length of an answer that is here whole and does not say it itself, where nobody else will: httpd
    /// tells that of small ones.
    fn untold_length(&self, head: &ResponseHead, output: &Output<'_>) -> Option<usize> {
        let Body::Bytes(bytes) = output.body else { return None };
        let whole = output.then == Then::End && !self.silent && !head.is_bodiless();
        let told = self.application.from_module && bytes.len() <= SMALL;
        (whole && !told && head.content_length() == Ok(None)).then_some(bytes.len())
    }

    fn write(&mut self, output: &Output<'_>) -> io::Result<()> {
        let Some(connection) = self.connection.as_mut() else { return Err(gone()) };
        let end = match output.then {
            Then::Flush => None,
            Then::End => Some(encoder::end_answer(connection.id(), 0)),
            Then::Short => Some(encoder::end_answer(connection.id(), app_status::SHORT)),
        };
        let end = end.as_ref().map_or(&[][..], |end| &end[..]);
        match output.body {
            _ if self.silent => connection.write(&self.head, &[], end),
            Body::Empty => connection.write(&self.head, &[], end),
            Body::Bytes(bytes) => connection.write(&self.head, bytes, end),
            Body::File { file, offset, length }
                if self.application.extensions.file && length >= FILE =>
            {
                connection.write(&self.head, &[], &[])?;
                let record = encoder::file(connection.id(), FileSpan { offset, length });
                connection.send(&mut [IoSlice::new(&record), IoSlice::new(end)], Some(file))
            }
            Body::File { file, offset, length } => {
                send_file(connection, &self.head, file, offset, length, end)
            }
        }
    }
}

impl Exchange for FastCgiExchange<'_> {
    fn environ(&mut self, environ: &mut dyn Environ) {
        let Some(connection) = &self.connection else { return };
        let steady = &self.application.steady;
        environ.common(steady);
        self.application.others.iter().for_each(|(name, value)| environ.other(name, value));
        let (mut scheme, mut path, mut script) = (None, None, None);
        let mut secure = false;
        let from_module = self.application.from_module;
        for (name, value) in connection.wire.params() {
            if let Some(header) = name.strip_prefix(b"HTTP_") {
                match header {
                    b"HOST" => environ.set(Key::HttpHost, value),
                    b"AUTHORIZATION" => environ.set(Key::HttpAuthorization, value),
                    b"PROXY_AUTHORIZATION" => environ.set(Key::HttpProxyAuthorization, value),
                    // Apache has judged the client's headers, and these are its administrator's.
                    _ if from_module && !is_like_a_header(header) => environ.other(name, value),
                    _ if from_module => environ.header(header, value),
                    // httpoxy: programs take it for their own proxy.
                    b"PROXY" => {}
                    // nginx sends them beside those without the prefix, which alone are CGI's.
                    b"CONTENT_TYPE" | b"CONTENT_LENGTH" => {}
                    _ => environ.header(header, value),
                }
                continue;
            }
            match Key::from_name(name) {
                Some(Key::ScriptName) => script = Some(value),
                Some(Key::PathInfo) => path = Some(value),
                Some(Key::UrlScheme) => scheme = Some(value),
                Some(key) if key.is_time() => environ.time(key, time(value)),
                Some(key) => environ.set(key, value),
                None if name == b"HTTPS" => {
                    secure = value.eq_ignore_ascii_case(b"on") || value == b"1";
                }
                None if is_private(name) => {}
                None => environ.other(name, value),
            }
        }
        let has_script = script.is_some() || !steady.has(Key::ScriptName);
        // nginx as Debian ships it sends all of the path as SCRIPT_NAME and no PATH_INFO.
        let (script, path) = match path {
            None if self.facts.mounted_at_root => (&[][..], script.unwrap_or_default()),
            path => (script.unwrap_or_default(), path.unwrap_or_default()),
        };
        if has_script {
            environ.set(Key::ScriptName, script);
        }
        environ.set(Key::PathInfo, path);
        if scheme.is_some() || !steady.has(Key::UrlScheme) {
            let known: &[u8] = if secure { b"https" } else { b"http" };
            environ.set(Key::UrlScheme, scheme.unwrap_or(known));
        }
        environ.time(Key::DaemonStart, wsgi::epoch_micros());
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        if into.is_empty() {
            return Ok(0);
        }
        match &self.input {
            Input::Open => {}
            Input::Ended => return Ok(0),
            Input::Failed(why) => return Err(why.clone()),
        }
        let Some(connection) = self.connection.as_mut() else {
            return Err(ReadError::Other("the answer is complete".to_owned()));
        };
        let failure = match connection.read_body(into) {
            Ok(Part::Bytes(count)) => return Ok(count),
            Ok(Part::End) => {
                self.input = Input::Ended;
                return Ok(0);
            }
            Ok(Part::Aborted) => ReadError::Disconnected,
            Err(why) if would_block(&why) => ReadError::Timeout,
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => ReadError::Disconnected,
            Err(why) => ReadError::Other(why.to_string()),
        };
        self.input = Input::Failed(failure.clone());
        Err(failure)
    }

    fn send(&mut self, output: Output<'_>) -> Result<(), SendError> {
        self.head.clear();
        if let Some(head) = output.head
            && let Err(why) = self.write_head(head, &output)
        {
            self.log(Level::Error, format!("the response cannot be sent: {why}").as_bytes());
            self.fail(500);
            return Err(SendError::Failed);
        }
        if matches!(self.input, Input::Failed(ReadError::Disconnected)) {
            self.cut();
            return Err(SendError::Disconnected);
        }
        if !self.answered && !self.turn.take() {
            self.cut();
            return Err(SendError::Disconnected);
        }
        self.answered = true;
        let mut output = output;
        if output.then == Then::End && self.has_more_to_read() {
            // With the end the web server would begin another request here.
            (self.owes_end, output.then) = (true, Then::Flush);
        }
        if let Err(why) = self.write(&output) {
            self.cut();
            return Err(if would_block(&why) || why.kind() == io::ErrorKind::UnexpectedEof {
                SendError::Failed
            } else {
                SendError::Disconnected
            });
        }
        match output.then {
            Then::End => self.complete(),
            // Our module makes it visible to the client; who else has asked sees the end of the connection.
            Then::Short if self.application.from_module => self.complete(),
            Then::Short => self.cut(),
            // Body bytes would have to be kept somewhere.
            Then::Flush if matches!(self.input, Input::Open) => {}
            Then::Flush => {
                if self.connection.as_mut().is_some_and(|connection| connection.is_aborted()) {
                    self.cut();
                    return Err(SendError::Disconnected);
                }
            }
        }
        Ok(())
    }

    fn wants_body(&self) -> bool {
        self.facts.wants_body
    }

    fn cut(&mut self) {
        if std::mem::take(&mut self.owes_end)
            && let Some(connection) = &self.connection
        {
            let end = encoder::end_answer(connection.id(), 0);
            if connection.write(&[], &[], &end).is_ok() {
                return self.complete();
            }
        }
        if let Some(connection) = self.connection.take() {
            self.turn.take();
            if self.application.from_module && self.answered {
                // The module then knows that the application broke off, and not this process. If it
                // cannot hear it, the end of the connection says enough.
                let end = encoder::end_answer(connection.id(), app_status::ABORTED);
                let _ = connection.write(&[], &[], &end);
            }
            (self.release)(connection, false);
        }
    }

    fn logs(&self, level: Level) -> bool {
        level as u8 <= self.facts.log_level
    }

    fn log(&mut self, level: Level, line: &[u8]) {
        if !self.logs(level) {
            return;
        }
        let here = self.connection.as_ref().filter(|_| !forks::is_one());
        let Some(connection) = here else { return self.log.write(level, line) };
        let mut record = Vec::with_capacity(line.len() + 16);
        match LogLevel::from_wire(level as u8) {
            Some(level) if self.application.extensions.log => {
                encoder::append_log(&mut record, connection.id(), level, line);
            }
            _ => {
                let line = [line, b"\n"].concat();
                encoder::append_stream(&mut record, RecordType::STDERR, connection.id(), &line);
            }
        }
        // Should nobody listen any more, the answer itself will show it.
        let _ = connection.send(&mut [IoSlice::new(&record)], None);
    }
}

impl Drop for FastCgiExchange<'_> {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Whether a variable's name, behind its `HTTP_`, may have been made of a header's.
fn is_like_a_header(name: &[u8]) -> bool {
    !name.iter().any(|byte| *byte == b'-' || byte.is_ascii_lowercase())
}

fn time(value: &[u8]) -> i64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Reads a file and sends it in records.
fn send_file(
    connection: &Connection,
    mut head: &[u8],
    file: BorrowedFd<'_>,
    mut offset: u64,
    mut length: u64,
    end: &[u8],
) -> io::Result<()> {
    let file = File::from(file.try_clone_to_owned()?);
    let mut bytes = vec![0; MAX_CONTENT.min(usize::try_from(length).unwrap_or(MAX_CONTENT))];
    loop {
        let room = bytes.len().min(usize::try_from(length).unwrap_or(bytes.len()));
        let piece = bytes.get_mut(..room).unwrap_or_default();
        let count = if room == 0 { 0 } else { file.read_at(piece, offset)? };
        offset += count as u64;
        length -= count as u64;
        if length > 0 && count == 0 {
            // Somebody has cut the file short: the answer must not look complete.
            return Err(gone());
        }
        let last = length == 0;
        connection.write(
            head,
            piece.get(..count).unwrap_or_default(),
            if last { end } else { &[] },
        )?;
        head = &[];
        if last {
            return Ok(());
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        413 => "Content Too Large",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Internal Server Error",
    }
}
