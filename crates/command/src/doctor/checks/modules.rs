//! Modules of Apache whose absence is silent: httpd takes the configuration, and something else happens.

use crate::doctor::findings::Report;
use crate::doctor::server::Server;

const CHECK: &str = "modules";

pub(super) fn check(server: &Server, report: &mut Report) {
    let wants_h2 = server
        .all("Protocols")
        .flat_map(|line| &line.arguments)
        .any(|name| name.eq_ignore_ascii_case("h2") || name.eq_ignore_ascii_case("h2c"));
    if wants_h2 && !server.has("http2") {
        report.warn(
            CHECK,
            "Protocols names HTTP/2, and mod_http2 is not loaded, so that clients get HTTP/1.1; load it (on Debian: \
             a2enmod http2)",
        );
    }
    if !server.has("reqtimeout") {
        report.warn(
            CHECK,
            "mod_reqtimeout is not loaded, so that a client that sends its request slowly keeps a connection for as \
             long as Timeout; load it (on Debian: a2enmod reqtimeout)",
        );
    }
    if server.all("WSGIAuthUserScript").next().is_some()
        && !server.has("auth_basic")
        && !server.has("auth_digest")
    {
        report.warn(
            CHECK,
            "WSGIAuthUserScript has no effect without mod_auth_basic or mod_auth_digest; load one of them",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_modules_are_told() {
        let mut report = Report::default();
        check(&Server::of("Protocols h2 http/1.1\nWSGIAuthUserScript /a.py", &[]), &mut report);
        let sentences = report.sentences();
        assert_eq!(sentences.len(), 3);
        assert!(sentences[0].starts_with("Protocols names HTTP/2"));
        assert!(sentences[1].starts_with("mod_reqtimeout is not loaded"));
        assert!(sentences[2].starts_with("WSGIAuthUserScript has no effect"));
        let mut report = Report::default();
        check(&Server::of("Protocols h2", &["http2", "reqtimeout"]), &mut report);
        assert!(report.sentences().is_empty());
    }
}
