//! Statuses that the worker itself answers with: why, for the Apache module; and the heads of error responses that the worker itself makes, for web servers other than the Apache module,
//! which makes its own from the status.
#![forbid(unsafe_code)]

use fastcgi::app_status::Cause;

/// Why a request that had begun is answered with this status, and not by its application.
pub(super) const fn cause_of(status: u16) -> Cause {
    match status {
        504 => Cause::RequestTimeout,
        503 => Cause::Stopping,
        400 | 408 | 413 => Cause::RequestBody,
        _ => Cause::Application,
    }
}

/// The head of a response with this status (RFC 3875, section 6), with the empty line at its end.
pub(super) fn head(status: u16) -> String {
    format!("Status: {status} {}\r\nContent-Type: text/plain\r\n\r\n", reason(status))
}

/// The reason phrase of a status.
pub(super) const fn reason(status: u16) -> &'static str {
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
