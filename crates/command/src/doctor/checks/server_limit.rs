//! Whether there are slots for new children of Apache beside the old ones at a graceful restart.

use crate::doctor::findings::Report;
use crate::doctor::server::Server;

const CHECK: &str = "server-limit";
// Defaults of httpd 2.4 for event and worker.
const THREADS_PER_CHILD: u32 = 25;
const SERVER_LIMIT: u32 = 16;

pub(super) fn check(server: &Server, report: &mut Report) {
    if !server.has("mpm_event") && !server.has("mpm_worker") {
        return;
    }
    let threads = server.number("ThreadsPerChild").unwrap_or(THREADS_PER_CHILD).max(1);
    let limit = server.number("ServerLimit").unwrap_or(SERVER_LIMIT);
    let workers = server.number("MaxRequestWorkers").or_else(|| server.number("MaxClients"));
    let workers = workers.unwrap_or(limit.saturating_mul(threads));
    let children = workers.div_ceil(threads).min(limit);
    let wanted = children.saturating_mul(2);
    if limit < wanted {
        report.warn(
            CHECK,
            format!(
                "ServerLimit is {limit}, and the {workers} clients of MaxRequestWorkers need {children} processes with \
                 {threads} threads: at a graceful restart under load new ones wait until old ones have left; set \
                 ServerLimit {wanted}"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_slots_are_told() {
        let said = |configuration: &str, mpm: &str| {
            let mut report = Report::default();
            check(&Server::of(configuration, &[mpm]), &mut report);
            report.sentences().first().map(|sentence| sentence.to_string())
        };
        let few = "ThreadsPerChild 10\nMaxRequestWorkers 35\nServerLimit 5";
        assert!(said(few, "mpm_event").unwrap().ends_with("set ServerLimit 8"));
        assert_eq!(said("ThreadsPerChild 25\nMaxRequestWorkers 150", "mpm_event"), None);
        assert!(said("", "mpm_event").unwrap().contains("the 400 clients"));
        assert_eq!(said("", "mpm_prefork"), None);
    }
}
