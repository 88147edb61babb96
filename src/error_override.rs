//! `WSGIErrorOverride`: httpd's `ErrorDocument` in place of an application's error page.
#![forbid(unsafe_code)]

use crate::config::Settings;
use crate::httpd::Request;
use wsgi::ResponseHead;

/// Whether httpd answers in the application's place.
pub(crate) fn applies(settings: &Settings<'_>, status: u16) -> bool {
    settings.error_override && status >= 400
}

/// Keeps what makes an error answer work; the rest is httpd's.
pub(crate) fn keep_headers(request: &Request<'_>, head: &ResponseHead) {
    let (pool, kept) = (request.pool(), request.error_headers_out());
    for (name, value) in head.headers() {
        for known in [c"WWW-Authenticate", c"Allow", c"Retry-After"] {
            if name.eq_ignore_ascii_case(known.to_bytes()) {
                kept.add(pool, known, value);
            }
        }
    }
}
