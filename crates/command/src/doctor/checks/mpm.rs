//! The multi-processing module.

use crate::doctor::findings::Report;
use crate::doctor::server::Server;

const CHECK: &str = "mpm";

pub(super) fn check(server: &Server, report: &mut Report) {
    if server.has("mpm_prefork") {
        report.warn(
            CHECK,
            "the MPM is prefork: a process of Apache for each client, whose connection it keeps also while nothing is \
             sent; use event (on Debian: a2dismod mpm_prefork, then a2enmod mpm_event)",
        );
    } else if server.has("mpm_worker") {
        report.warn(
            CHECK,
            "the MPM is worker, in which a client that keeps its connection open keeps a thread; use event",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefork_and_worker_are_told() {
        let said = |module: &str| {
            let mut report = Report::default();
            check(&Server::of("", &[module]), &mut report);
            report.sentences().first().map(|sentence| sentence.to_string())
        };
        assert!(said("mpm_prefork").unwrap().starts_with("the MPM is prefork"));
        assert!(said("mpm_worker").unwrap().starts_with("the MPM is worker"));
        assert_eq!(said("mpm_event"), None);
    }
}
