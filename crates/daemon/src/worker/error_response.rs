//! Statuses that the worker itself answers with: why, for the Apache module, which makes a response of the status; and
//! the heads of those responses for other web servers.
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
    // Another machine, or this one after its restart, can serve the request.
    let retry = if status == 503 { "Retry-After: 1\r\n" } else { "" };
    format!("Status: {status} {}\r\n{retry}Content-Type: text/plain\r\n\r\n", reason(status))
}

/// The reason phrase of a status.
pub(super) const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
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
