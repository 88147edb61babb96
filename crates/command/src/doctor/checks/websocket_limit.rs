//! Whether as many WebSockets can be open as process groups allow: by the open files of their processes, and over TLS by
//! what Apache carries without a thread.

use crate::doctor::directives::Directive;
use crate::doctor::findings::Report;
use crate::doctor::groups::Script;
use crate::doctor::server::Server;
use group_config::Asgi;

const CHECK: &str = "websocket-limit";
/// Descriptors that a process has beside its connections.
const OTHER_FILES: u64 = 64;
/// Of so many descriptors a process leaves one to its application.
const RESERVE: u64 = 8;
/// Descriptors of a process of Apache that are not for connections without a thread, and what each of these needs.
const FILES_OF_APACHE: u64 = 256;
const FILES_OF_A_PLACE: u64 = 4;
// Defaults of httpd 2.4 for event.
const THREADS_PER_CHILD: u32 = 25;
const SERVER_LIMIT: u32 = 16;
const WORKER_FACTOR: f64 = 2.0;

pub(super) fn check(server: &Server, report: &mut Report) {
    let groups = groups(server);
    if groups.is_empty() {
        return;
    }
    let files = server.open_files();
    match files {
        Some(files) => groups.iter().for_each(|group| check_files(group, files, report)),
        None => report.unseen(
            CHECK,
            "how many files the processes of Apache may have open (ulimit -n), because none of them is seen to run",
        ),
    }
    let ends_tls = server
        .all("SSLEngine")
        .any(|line| line.argument(0).is_some_and(|word| !word.eq_ignore_ascii_case("off")));
    if ends_tls && server.has("mpm_event") {
        check_places(server, &groups, files, report);
    }
}

/// A process group whose applications can be ones of ASGI.
struct Group<'a> {
    directive: &'a Directive,
    name: &'a str,
}

fn groups(server: &Server) -> Vec<Group<'_>> {
    let asgi: Vec<String> = Script::all(server)
        .into_iter()
        .filter(|script| script.is_asgi)
        .map(|script| script.group.name)
        .collect();
    let of = |directive| {
        let group = Group { directive, name: directive.argument(0)? };
        let says_so =
            directive.option("interface").is_some_and(|it| !it.eq_ignore_ascii_case("wsgi"));
        (says_so || asgi.iter().any(|name| name == group.name)).then_some(group)
    };
    server.all("WSGIDaemonProcess").filter_map(of).collect()
}

impl Group<'_> {
    fn number(&self, name: &str, default: u32) -> u64 {
        let named = self.directive.option(name).and_then(|value| value.parse().ok());
        named.unwrap_or(default).into()
    }

    /// WebSockets that one of its processes may have open.
    fn limit(&self) -> u64 {
        self.number("websocket-limit", Asgi::default().websocket_limit)
    }

    /// The most processes that it has.
    fn processes(&self) -> u64 {
        let most = self.directive.option("processes").and_then(|range| range.rsplit('-').next());
        most.and_then(|number| number.parse().ok()).unwrap_or(1)
    }
}

/// The files that a process needs for what its group allows.
fn check_files(group: &Group<'_>, files: u64, report: &mut Report) {
    let (sockets, requests) =
        (group.limit(), group.number("asgi-concurrency", Asgi::default().concurrency));
    let wanted = sockets.saturating_add(requests).saturating_add(OTHER_FILES);
    if files - files / RESERVE < wanted {
        let enough = wanted.saturating_mul(RESERVE).div_ceil(RESERVE - 1);
        report.warn(
            CHECK,
            format!(
                "a process of Apache may have {files} files open, and one of process group {} needs more for {sockets} \
                 WebSockets (websocket-limit) and {requests} requests (asgi-concurrency): beyond its limit it cannot \
                 take connections; set ulimit -n, or LimitNOFILE of the service, to {enough} ({})",
                group.name, group.directive.place
            ),
        );
    }
}

/// What Apache carries of WebSockets over TLS. Only limits that were chosen are held against it: the default is not what a
/// site expects.
fn check_places(server: &Server, groups: &[Group<'_>], files: Option<u64>, report: &mut Report) {
    let chosen = groups.iter().filter(|it| it.directive.option("websocket-limit").is_some());
    let wanted =
        chosen.map(|it| it.limit().saturating_mul(it.processes())).fold(0, u64::saturating_add);
    let threads = server.number("ThreadsPerChild").unwrap_or(THREADS_PER_CHILD).max(1);
    let limit = server.number("ServerLimit").unwrap_or(SERVER_LIMIT);
    let workers = server.number("MaxRequestWorkers").or_else(|| server.number("MaxClients"));
    let workers = workers.unwrap_or(limit.saturating_mul(threads));
    let children = u64::from(workers.div_ceil(threads).min(limit).max(1));
    let factor = server.all("AsyncRequestWorkerFactor").last().and_then(|line| line.argument(0));
    let factor = factor.and_then(|text| text.parse().ok()).unwrap_or(WORKER_FACTOR).max(1.0);
    let by_files = files.map(|files| files.saturating_sub(FILES_OF_APACHE) / FILES_OF_A_PLACE);
    let by_threads = (f64::from(threads) * factor / 4.0) as u64;
    let places = by_threads.min(by_files.unwrap_or(u64::MAX)).saturating_mul(children);
    if places < wanted {
        let each = wanted.div_ceil(children);
        let factor = each.saturating_mul(4).div_ceil(threads.into());
        let enough = each.saturating_mul(FILES_OF_A_PLACE).saturating_add(FILES_OF_APACHE);
        report.warn(
            CHECK,
            format!(
                "process groups allow {wanted} WebSockets (websocket-limit), and over TLS Apache carries {places} of them \
                 without a thread; set AsyncRequestWorkerFactor {factor}, and have it open {enough} files (ulimit -n, \
                 LimitNOFILE)"
            ),
        );
    }
    let spare = server.number("MaxSpareThreads").unwrap_or(threads.saturating_mul(10));
    if wanted > 0 && spare < workers {
        report.warn(
            CHECK,
            format!(
                "MaxSpareThreads {spare} has processes of Apache ended that have idle threads, and the WebSockets over \
                 TLS with them; set MaxSpareThreads {workers}"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str =
        "ASGIScriptAlias / /srv/app.py process-group=site\nWSGIDaemonProcess site processes=1-2";

    fn found(check: impl FnOnce(&Server, &[Group<'_>], &mut Report), text: &str) -> Vec<String> {
        let (server, mut report) = (Server::of(text, &["mpm_event"]), Report::default());
        check(&server, &groups(&server), &mut report);
        report.sentences().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn fewer_files_than_a_process_needs_are_told() {
        let said = |files: u64, options: &str| {
            let check = |_: &Server, groups: &[Group<'_>], report: &mut Report| {
                groups.iter().for_each(|group| check_files(group, files, report));
            };
            found(check, &format!("{GROUP} {options}"))
        };
        let few = said(1024, "");
        assert!(few[0].contains("1000 WebSockets") && few[0].contains("to 1331 ("), "{few:?}");
        assert!(said(1329, "").len() == 1 && said(1331, "").is_empty());
        assert!(said(1024, "websocket-limit=700").is_empty());
        assert!(said(u64::MAX, "").is_empty());
        // A group of WSGI has none.
        let other = "WSGIScriptAlias / /srv/app.py process-group=site\nWSGIDaemonProcess site";
        assert!(groups(&Server::of(other, &[])).is_empty());
        let auto = "WSGIDaemonProcess site interface=auto";
        assert_eq!(groups(&Server::of(auto, &[])).len(), 1);
    }

    #[test]
    fn fewer_places_without_a_thread_than_a_chosen_limit_are_told() {
        let said = |files: Option<u64>, lines: &str| {
            let check = |server: &Server, groups: &[Group<'_>], report: &mut Report| {
                check_places(server, groups, files, report);
            };
            found(check, lines)
        };
        // 16 children, each with 12.
        assert!(said(None, GROUP).is_empty());
        let limit = format!("{GROUP} websocket-limit=400");
        let few = said(None, &limit);
        assert!(few[0].contains("allow 800 WebSockets") && few[0].contains("carries 192 of"));
        assert!(few[0].contains("Factor 8, and have it open 456 files"), "{few:?}");
        assert!(few[1].contains("set MaxSpareThreads 400"), "{few:?}");
        let more = format!("{limit}\nAsyncRequestWorkerFactor 8");
        assert_eq!(said(Some(456), &more).len(), 1);
        assert_eq!(said(Some(400), &more).len(), 2);
        assert_eq!(said(Some(456), &format!("{more}\nMaxSpareThreads 400")).len(), 0);
    }
}
