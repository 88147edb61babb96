//! Why an attempt to have a request served came to nothing, and what may be done about it. It must never know the
//! request or the worker.
#![forbid(unsafe_code)]

use super::connection_error::ConnectionError;
use crate::failure_flag::{Flag, Note};
use crate::groups::StartBlock;
use crate::httpd::{PassError, Request};
use fastcgi::app_status::Cause;
use std::io::{self, ErrorKind};
use wsgi::Level;

/// How a worker has ended.
#[derive(Debug)]
pub(super) struct ExitCause {
    /// What the line of the error log says of it.
    pub(super) text: String,
    /// What the access log says of a request that it served.
    pub(super) flag: Flag,
}

/// A failure before the first byte of a response went to the client.
#[derive(Debug)]
pub(super) struct Failure {
    /// The HTTP status that the client gets.
    pub(super) status: u16,
    /// What the access log says of it.
    pub(super) flag: Flag,
    /// The line of the error log.
    pub(super) line: String,
    /// No byte of a response has come.
    pub(super) may_repeat: bool,
    /// The worker certainly has not acted on the request.
    pub(super) unread: bool,
    /// Not a byte of the request has left.
    pub(super) unsent: bool,
}

impl Failure {
    /// There is no connection to a worker of group `name`.
    pub(super) fn connect(name: &str, why: &io::Error) -> Self {
        let line = format!("WSGI0117: cannot connect to daemon process '{name}': {why}");
        let is_full = matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let flag = if is_full { Flag::QueueFull } else { Flag::Connection };
        Self { status: 503, flag, line, may_repeat: true, unread: true, unsent: false }
    }

    /// No worker is to be expected.
    pub(super) fn start(name: &str, why: &StartBlock) -> Self {
        let line = format!("WSGI0117: daemon process '{name}' {why}");
        let flag = Flag::StartFailed;
        Self { status: 503, flag, line, may_repeat: true, unread: true, unsent: false }
    }

    /// No worker is to be expected for a request that has been sent, and that a worker that starts after all may
    /// read.
    pub(super) fn awaiting(name: &str, why: &StartBlock) -> Self {
        Self { unread: false, ..Self::start(name, why) }
    }

    /// A worker cannot load the script, and no other one has it; the worker has logged why.
    pub(super) fn not_loaded(name: &str, status: u16) -> Self {
        let line = format!(
            "WSGI0222: daemon process '{name}' cannot load the script, and no other process of its group \
             can serve the request"
        );
        let flag = Flag::LoadFailed;
        Self { status, flag, line, may_repeat: false, unread: true, unsent: false }
    }

    /// The request could not be sent.
    pub(super) fn sending(name: &str, why: &ConnectionError) -> Self {
        if let ConnectionError::TooLong(why) = why {
            let line = format!("WSGI0121: the request cannot be passed to a daemon process: {why}");
            let flag = Flag::Request;
            return Self {
                status: 431,
                flag,
                line,
                may_repeat: false,
                unread: true,
                unsent: false,
            };
        }
        let line = format!("WSGI0121: cannot send to daemon process '{name}': {why}");
        let unsent = matches!(why, ConnectionError::Unsent);
        let flag = if why.is_end() { Flag::Crashed } else { Flag::SocketTimeout };
        Self { status: 502, flag, line, may_repeat: true, unread: why.is_unread(), unsent }
    }

    /// No response has come; `silent`: not one byte of it.
    pub(super) fn receiving(name: &str, why: &ConnectionError, silent: bool) -> Self {
        let (status, flag, line) = match why {
            ConnectionError::Timeout => (
                504,
                Flag::SocketTimeout,
                format!("WSGI0145: daemon process '{name}' did not answer within socket-timeout"),
            ),
            ConnectionError::Refused => {
                let line = format!("WSGI0084: daemon process '{name}' is overloaded");
                (503, Flag::Overloaded, line)
            }
            ConnectionError::Malformed(what) | ConnectionError::HeadTooLong(what) => {
                let is_long = matches!(why, ConnectionError::HeadTooLong(_));
                let flag = if is_long { Flag::HeadTooLong } else { Flag::Malformed };
                let line =
                    format!("WSGI0148: daemon process '{name}' sent a malformed answer: {what}");
                (502, flag, line)
            }
            ConnectionError::NoDescriptor => (
                500,
                Flag::Connection,
                format!("WSGI0220: no answer of daemon process '{name}': {why}"),
            ),
            ConnectionError::Closed
            | ConnectionError::Unsent
            | ConnectionError::TooLong(_)
            | ConnectionError::Io(_) => (
                502,
                Flag::Crashed,
                format!(
                    "WSGI0146: daemon process '{name}' closed the connection before it answered"
                ),
            ),
        };
        let may_repeat = silent && (why.is_end() || matches!(why, ConnectionError::Refused));
        Self { status, flag, line, may_repeat, unread: why.is_unread(), unsent: false }
    }

    /// No worker has begun to serve within socket-timeout.
    pub(super) fn not_ready(name: &str, silent: bool) -> Self {
        Self { flag: Flag::NotReady, ..Self::receiving(name, &ConnectionError::Timeout, silent) }
    }

    /// Whether the worker did not answer in time.
    pub(super) const fn is_timeout(&self) -> bool {
        self.status == 504
    }

    /// Adds how the worker exited, where that may be the cause.
    pub(super) fn with_cause(mut self, exit: impl FnOnce() -> Option<ExitCause>) -> Self {
        if self.status == 502
            && let Some(cause) = exit()
        {
            self.line = format!("{}: {}", self.line, cause.text);
            if self.flag == Flag::Crashed {
                self.flag = cause.flag;
            }
        }
        self
    }
}

/// Logs and flags that a worker broke off its answer after the head, because of `why`, or of its `exit` where that is known.
pub(super) fn log_failure(
    request: &Request<'_>,
    name: &str,
    why: &ConnectionError,
    exit: Option<ExitCause>,
) {
    let ExitCause { text: cause, flag } = exit.unwrap_or_else(|| {
        let flag = if why.is_end() { Flag::Crashed } else { Flag::SocketTimeout };
        ExitCause { text: why.to_string(), flag }
    });
    Flag::Cut.note();
    flag.note();
    let codes = format!("{},{}", flag.code(), Flag::Cut.code());
    let line = format!("WSGI0119: daemon process '{name}' broke off its answer: {cause} [{codes}]");
    request.log(Level::Error, line.as_bytes());
}

/// Flags the request whose response cannot be passed on.
pub(super) fn note_client(why: PassError) {
    match why {
        PassError::Aborted => Flag::ClientLeft.note(),
        PassError::Failed => Flag::Filter.note(),
    }
}

/// The flag of a request that its worker answers with a status alone.
pub(super) const fn flag(cause: Cause) -> Flag {
    match cause {
        Cause::Application => Flag::Exception,
        Cause::QueueTimeout => Flag::QueueTimeout,
        Cause::RequestTimeout => Flag::RequestTimeout,
        Cause::Stopping => Flag::Stopping,
        Cause::Load => Flag::LoadFailed,
        Cause::RequestBody => Flag::RequestBody,
        Cause::Overloaded => Flag::Overloaded,
        Cause::NotStarted => Flag::StartFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_repeated_only_after_silence_and_what_ends_a_connection() {
        let ends: [fn() -> ConnectionError; 3] = [
            || ConnectionError::Closed,
            || ConnectionError::Refused,
            || ConnectionError::Io(io::Error::other("gone")),
        ];
        for why in ends {
            assert!(Failure::receiving("g", &why(), true).may_repeat);
            assert!(!Failure::receiving("g", &why(), false).may_repeat);
        }
        for why in [ConnectionError::Timeout, ConnectionError::Malformed("x".to_owned())] {
            assert!(!Failure::receiving("g", &why, true).may_repeat);
        }
        assert!(!Failure::sending("g", &ConnectionError::TooLong("x".to_owned())).may_repeat);
    }

    #[test]
    fn the_exit_of_the_worker_is_named_where_the_connection_broke_and_not_asked_for_elsewhere() {
        let broken = Failure::receiving("g", &ConnectionError::Closed, true);
        let exit = |flag| Some(ExitCause { text: "worker 7 exited".to_owned(), flag });
        let told = broken.with_cause(|| exit(Flag::OutOfMemory));
        assert!(told.line.ends_with("closed the connection before it answered: worker 7 exited"));
        assert_eq!(told.flag, Flag::OutOfMemory);
        // The worker may have ended after it.
        let malformed = ConnectionError::Malformed("x".to_owned());
        let told = Failure::receiving("g", &malformed, true).with_cause(|| exit(Flag::Crashed));
        assert_eq!(told.flag, Flag::Malformed);
        let late = Failure::receiving("g", &ConnectionError::Timeout, true);
        assert!(late.is_timeout());
        assert!(late.with_cause(|| panic!("not asked for")).line.ends_with("socket-timeout"));
    }

    #[test]
    fn a_failure_has_the_flag_of_its_cause() {
        let of = |why: ConnectionError| Failure::receiving("g", &why, true).flag;
        assert_eq!(of(ConnectionError::Closed), Flag::Crashed);
        assert_eq!(of(ConnectionError::Timeout), Flag::SocketTimeout);
        assert_eq!(of(ConnectionError::HeadTooLong("x".to_owned())), Flag::HeadTooLong);
        assert_eq!(of(ConnectionError::Malformed("x".to_owned())), Flag::Malformed);
        assert_eq!(Failure::not_ready("g", true).flag, Flag::NotReady);
        let connect = |kind: ErrorKind| Failure::connect("g", &kind.into()).flag;
        assert_eq!(connect(ErrorKind::TimedOut), Flag::QueueFull);
        assert_eq!(connect(ErrorKind::PermissionDenied), Flag::Connection);
    }
}
