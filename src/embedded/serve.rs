//! Serving a request in this very process.
#![forbid(unsafe_code)]

use crate::application::Application;
use crate::apr::Brigade;
use crate::child::Child;
use crate::config::Settings;
use crate::environ;
use crate::error_override;
use crate::failure_flag::{Flag, Note};
use crate::httpd::{
    BrigadeEnd, Head, Outcome, PassError, Request, RequestBody, ServerLogHandle, SourceLocation,
};
use crate::request_times::RequestTimes;
use host::{Host, Reloading, ScriptFile, Served, Target};
use std::ffi::c_void;
use std::ptr::NonNull;
use wsgi::{Body, Environ, Exchange, Level, Output, ReadError, SendError, Source, Then};

/// Serves `request` with Python in this process.
pub(crate) fn serve(
    request: &mut Request<'_>,
    settings: &Settings<'_>,
    application: &Application<'_>,
    child: &Child,
    host: &Host,
) -> Outcome {
    let script = ScriptFile {
        path: application.script,
        modified: application.modified,
        reloading: Reloading::in_place(settings.script_reloading.is_on()),
        case_sensitive: child.options.case_sensitive,
        replacement: None,
    };
    let target = Target {
        script,
        callable: &application.callable,
        application_group: &application.application_group,
        main_interpreter: application.adopted,
        is_elsewhere: false,
    };
    let body = RequestBody::new(request);
    let mut exchange = ApacheExchange {
        request,
        settings,
        body,
        brigade: None,
        replaced: None,
        failed: false,
        has_left: false,
    };
    let begun = scoreboard::now();
    let served = host.serve(&target, &mut exchange);
    let application = Some(scoreboard::now().saturating_sub(begun));
    RequestTimes { queue: None, application }.note();
    if let Some(flag) = flag(served, exchange.has_left) {
        flag.note();
    }
    match (served, exchange.replaced) {
        _ if exchange.failed => exchange.request.outcome(Err(PassError::Failed)),
        (_, Some(status)) => Outcome::Status(status),
        (Served::Failed(status) | Served::LoadFailed(status) | Served::NotLoaded(status), None) => {
            Outcome::Status(settings.error_status(status))
        }
        (Served::Done, None) => Outcome::Done,
        // This process is not replaced.
        (Served::GivenBack, None) => Outcome::Status(503),
    }
}

/// The flag of a request that has no response of its application's.
const fn flag(served: Served, has_left: bool) -> Option<Flag> {
    Some(match served {
        Served::Done => return None,
        Served::Failed(400) if has_left => Flag::ClientLeft,
        Served::Failed(504) => Flag::RequestTimeout,
        Served::Failed(503) => Flag::Stopping,
        Served::Failed(400 | 408 | 413) => Flag::RequestBody,
        Served::Failed(_) => Flag::Exception,
        Served::LoadFailed(_) | Served::NotLoaded(_) => Flag::LoadFailed,
        Served::GivenBack => Flag::Outdated,
    })
}

/// The exchange over a `request_rec`.
struct ApacheExchange<'r, 'call> {
    request: &'r mut Request<'call>,
    settings: &'r Settings<'r>,
    body: RequestBody<'call>,
    /// The brigade of the answer, made at its first piece.
    brigade: Option<Brigade<'call>>,
    /// The status of an answer that `WSGIErrorOverride` gave to httpd.
    replaced: Option<u16>,
    /// An output filter has failed.
    failed: bool,
    /// The client has left.
    has_left: bool,
}

impl Exchange for ApacheExchange<'_, '_> {
    fn environ(&mut self, environ: &mut dyn Environ) {
        environ::fill(self.request, self.settings, environ);
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        let read = self.body.read(self.request, into);
        self.has_left |= matches!(read, Err(ReadError::Disconnected));
        read
    }

    fn send(&mut self, output: Output<'_>) -> Result<(), SendError> {
        if let Some(head) = output.head {
            if error_override::applies(self.settings, head.status()) {
                error_override::keep_headers(self.request, head);
                self.replaced = Some(head.status());
                return Err(SendError::Replaced);
            }
            self.request.set_head(&Head::of(head));
        }
        let mut brigade = self.brigade.take().unwrap_or_else(|| self.request.new_brigade());
        let sent = self.pass(&mut brigade, &output);
        self.brigade = Some(brigade);
        self.failed |= sent == Err(PassError::Failed);
        match sent {
            Ok(()) => {}
            Err(PassError::Aborted) => {
                self.has_left = true;
                Flag::ClientLeft.note();
            }
            Err(PassError::Failed) => Flag::Filter.note(),
        }
        if output.then == Then::Short && sent.is_ok() {
            Flag::Cut.note();
            self.request.cut();
        }
        sent.map_err(|why| match why {
            PassError::Aborted => SendError::Disconnected,
            PassError::Failed => SendError::Failed,
        })
    }

    fn flush_complete(&mut self) {
        self.request.flush_complete();
    }

    fn wants_body(&self) -> bool {
        !self.request.is_head()
    }

    fn cut(&mut self) {
        if !self.has_left {
            Flag::Cut.note();
        }
        self.request.cut();
    }

    fn log(&mut self, level: Level, line: &[u8]) {
        self.request.log(level, line);
    }

    fn native_request(&self) -> Option<NonNull<c_void>> {
        self.request.native().filter(|_| self.settings.pass_apache_request)
    }

    fn logs(&self, level: Level) -> bool {
        self.request.logs(level)
    }

    fn log_from(&mut self, level: Level, line: &[u8], source: &Source<'_>) {
        self.request.log_from(level, line, &SourceLocation::new(source.path, source.line));
    }
}

impl host::ServerLog for ServerLogHandle {
    fn log(&self, level: Level, line: &[u8]) {
        Self::log(self, level, line);
    }

    fn logs(&self, level: Level) -> bool {
        Self::logs(self, level)
    }

    fn log_from(&self, level: Level, line: &[u8], source: &Source<'_>) {
        Self::log_from(self, level, line, &SourceLocation::new(source.path, source.line));
    }
}

impl<'call> ApacheExchange<'_, 'call> {
    fn pass(&mut self, brigade: &mut Brigade<'call>, output: &Output<'_>) -> Result<(), PassError> {
        let end = if output.then == Then::End { BrigadeEnd::End } else { BrigadeEnd::Flush };
        match output.body {
            Body::Empty => self.request.pass_bytes(brigade, &[], end),
            Body::Bytes(bytes) => self.request.pass_bytes(brigade, bytes, end),
            Body::File { file, offset, length } => {
                let sendfile = self.settings.enable_sendfile;
                self.request.pass_file(brigade, file, offset..offset + length, sendfile, end)
            }
        }
    }
}
