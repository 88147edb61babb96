//! The status as a page: one document with its style sheet, without scripts, which loads itself again. All that comes
//! from requests, names and workers is escaped.
#![forbid(unsafe_code)]

use super::escaped::Escaped;
use super::snapshot::{ChildrenStatus, GroupStatus, Requests, Snapshot, WorkerStatus};
use super::stack::{Stack, StackFrame};
use crate::failure_flag::{Flag, Flags};
use crate::groups::{Configuration, RecentFailure};
use scoreboard::{ExitReason, Histogram, Percentile, RequestCounts, START_BOUNDS, percentile};
use std::fmt::{Display, Write};
use wsgi::UtcTime;

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>mod_wsgi_rs status</title>
<link rel=\"icon\" href=\"data:,\"><meta http-equiv=\"refresh\" content=\"5\"><meta name=\"viewport\" content=\"width=device-width\">
<style>
:root{color-scheme:light dark}
body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem;color:#1c1c1c;background:#fff}
h1{font-size:1.3rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;margin:.4rem 0;width:100%}
th,td{text-align:left;padding:.2rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.m{text-align:center}.t{min-width:14rem}.l{white-space:nowrap}a{color:inherit}
code{font:13px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}
details{margin:0 0 .4em 1em}ol{list-style:none;margin:0;padding:0}
.bad{color:#a40000;font-weight:600}.small{color:#555;font-size:.9em}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#181818}
th,td{border-color:#444}.bad{color:#ff8a80}.small{color:#aaa}}
</style></head><body>
";

/// The text.
pub(super) fn page(snapshot: &Snapshot) -> String {
    let mut page = HEAD.to_owned();
    let version = env!("CARGO_PKG_VERSION");
    let uptime = duration(snapshot.uptime);
    let Configuration { generation, loaded } = snapshot.configuration;
    let (loaded, now) = (UtcTime(loaded), UtcTime(snapshot.now));
    put(
        &mut page,
        format_args!(
            "<h1>mod_wsgi_rs {version}</h1><p class=small>{now} &#183; up {uptime} &#183; configuration \
             {generation}, read {loaded} &#183; {}</p>",
            Escaped(&snapshot.httpd)
        ),
    );
    requests(&mut page, snapshot);
    // Above the groups, of which there may be hundreds.
    failures(&mut page, &snapshot.failures);
    snapshot.children.iter().for_each(|it| children(&mut page, it));
    snapshot.groups.iter().enumerate().for_each(|(number, it)| group(&mut page, number, it));
    page.push_str("</body></html>\n");
    page
}

fn put(page: &mut String, text: impl Display) {
    // Writing to memory does not fail.
    let _ = writeln!(page, "{text}");
}

fn requests(page: &mut String, snapshot: &Snapshot) {
    page.push_str(
        "<h2>Requests</h2><div class=wide><table><tr><th><th colspan=2 class=m>Since the start\
         <th colspan=3 class=m>Recent<th colspan=3 class=m>Recent duration\
         <th colspan=3 class=m>Recent time in the queue<th colspan=4 class=m>Now<th>Since the start\n\
         <tr><th>Group<th class=n>Requests<th class=n>5xx<th class=n>In the last<th class=n>Per second<th class=n>5xx\
         <th class=n>p50<th class=n>p95<th class=n>p99<th class=n>p50<th class=n>p95<th class=n>p99\
         <th class=n>Busy<th class=n>Threads<th class=n>Waiting<th class=n>Oldest<th>Flags\n",
    );
    let name = "(Apache's own processes)";
    match &snapshot.children {
        Some(it) => {
            put(page, format_args!("<tr><td><a href=\"#own\">{name}</a>"));
            counts(page, &snapshot.embedded);
            now(page, it.busy(), it.ready().saturating_mul(it.threads), None, it.oldest());
        }
        None => {
            put(page, format_args!("<tr><td>{name}"));
            counts(page, &snapshot.embedded);
            page.push_str("<td><td><td><td>");
        }
    }
    flags(page, &snapshot.embedded.all);
    for (number, group) in snapshot.groups.iter().enumerate().filter(|(_, group)| group.serves) {
        let name = Escaped(&group.name);
        put(page, format_args!("<tr><td><a href=\"#g{number}\">{name}</a>"));
        counts(page, &group.requests);
        let threads = group.ready().saturating_mul(group.capacity);
        now(page, group.busy(), threads, Some(group.queue_depth), group.oldest());
        flags(page, &group.requests.all);
    }
    page.push_str("</table></div>\n");
}

/// What is under way; `waiting` requests, where any can.
fn now(page: &mut String, busy: u64, threads: u64, waiting: Option<u64>, oldest: u64) {
    let oldest = if busy == 0 { dash() } else { duration(oldest) };
    let waiting = waiting.map_or_else(dash, |it| it.to_string());
    put(
        page,
        format_args!(
            "<td class=n>{busy}<td class=n>{threads}<td class=n>{waiting}<td class=n>{oldest}"
        ),
    );
}

/// What has been counted of requests, without flags.
fn counts(page: &mut String, requests: &Requests) {
    let Requests { all, recent } = requests;
    let (total, errors) = (all.total(), all.server_errors());
    let (window, rate) = (duration(recent.time), recent.per_second());
    let RequestCounts { duration, queue, .. } = &recent.counts;
    let recent_errors = recent.counts.server_errors();
    put(
        page,
        format_args!(
            "<td class=n>{total}<td class=n>{errors}<td class=n>{window}<td class=n>{rate:.1}\
             <td class=n>{recent_errors}"
        ),
    );
    let of = |histogram: &Histogram| [50, 95, 99].map(|it| histogram.percentile(it));
    for time in [of(duration), of(queue)].concat() {
        put(page, format_args!("<td class=n>{}", percentile_text(time)));
    }
}

fn flags(page: &mut String, counts: &RequestCounts) {
    page.push_str("<td>");
    for flag in Flag::ALL {
        let count = counts.flags.get(flag as usize).copied().unwrap_or(0);
        if count > 0 {
            put(page, format_args!("<span class=bad>{}</span>&nbsp;{count}", flag.code()));
        }
    }
}

fn group(page: &mut String, number: usize, group: &GroupStatus) {
    let (name, interface) = (Escaped(&group.name), group.interface);
    let python = group.python.map_or_else(String::new, |it| format!(", Python {it}"));
    put(
        page,
        format_args!("<h2 id=g{number}>{name} <span class=small>{interface}{python}</span></h2>"),
    );
    if let Some(why) = &group.start_block {
        put(page, format_args!("<p class=bad>Does not start: {}</p>", Escaped(why)));
    }
    let exits: String = ExitReason::ALL
        .into_iter()
        .filter(|reason| group.events.exits(*reason) > 0)
        .map(|reason| format!(", {} {}", group.events.exits(reason), reason.name()))
        .collect();
    let (starts, cpu) = (group.events.starts, duration(group.cpu));
    let start = percentile_text(percentile(&START_BOUNDS, &group.events.start_times, 50));
    put(
        page,
        format_args!(
            "<p class=small>started {starts} (p50 {start}){exits}; CPU {cpu} in all{}{}</p>",
            group.reloaded.map_or_else(String::new, |it| format!("; last reload {}", UtcTime(it))),
            event_loop(group)
        ),
    );
    page.push_str(
        "<div class=wide><table><tr><th class=n>Slot<th class=n>Process<th>State<th class=n>Age<th class=n>Served\
         <th class=n>Resident<th class=n>Private<th class=n>CPU<th>Requests<th>Last exit\n",
    );
    let oldest = group.oldest();
    group.workers.iter().for_each(|it| worker(page, it, oldest));
    page.push_str("</table></div>\n");
}

/// What there is only where workers have an event loop.
fn event_loop(group: &GroupStatus) -> String {
    let Some(open) = group.sockets else { return String::new() };
    let lag = percentile_text(group.events.loop_lag.percentile(99));
    format!("; {open} WebSockets open; event loop late by {lag} (p99)")
}

/// Apache's children that have started Python.
fn children(page: &mut String, all: &ChildrenStatus) {
    page.push_str(
        "<h2 id=own>Apache's own processes <span class=small>embedded mode</span></h2>\n",
    );
    if all.children.is_empty() {
        page.push_str("<p class=small>none has started Python</p>\n");
        return;
    }
    page.push_str(
        "<div class=wide><table><tr><th class=n>Process<th>State<th class=n>Age<th class=n>Served\
         <th class=n>Resident<th class=n>Private<th class=n>CPU<th>Requests\n",
    );
    let oldest = all.oldest();
    for child in &all.children {
        page.push_str("<tr>");
        process(page, child, oldest);
    }
    page.push_str("</table></div>\n");
}

/// `oldest`: how old the oldest request of the group is, whose stack is open.
fn worker(page: &mut String, worker: &WorkerStatus, oldest: u64) {
    put(page, format_args!("<tr><td class=n>{}", worker.slot));
    process(page, worker, oldest);
    let exit = worker.last_exit.as_deref().unwrap_or_default();
    put(page, format_args!("<td class=t>{}", Escaped(exit)));
}

/// A process and its requests; `oldest` as for [`worker`].
fn process(page: &mut String, worker: &WorkerStatus, oldest: u64) {
    let WorkerStatus { pid, state, served, usage, .. } = worker;
    let (age, cpu) = (duration(worker.age), duration(usage.cpu.saturating_mul(1000)));
    let (resident, private) = (megabytes(usage.resident), megabytes(usage.private));
    put(
        page,
        format_args!(
            "<td class=n>{pid}<td>{state}<td class=n>{age}<td class=n>{served}\
             <td class=n>{resident}<td class=n>{private}<td class=n>{cpu}<td class=t>"
        ),
    );
    for request in &worker.requests {
        let line = request.line.as_deref().unwrap_or("(not shown)");
        let (age, is_oldest) = (duration(request.age), request.age == oldest);
        put(page, format_args!("<div>{age} <code>{}</code></div>", Escaped(line)));
        if let Some(stack) = &request.stack {
            put_stack(page, stack, is_oldest);
        }
    }
    if worker.unlisted > 0 {
        put(page, format_args!("<div>and {} more</div>", worker.unlisted));
    }
}

/// Where a request is, the innermost frame first.
fn put_stack(page: &mut String, stack: &Stack, is_open: bool) {
    let (age, open) = (duration(stack.age), if is_open { " open" } else { "" });
    put(page, format_args!("<details{open}><summary>{age} ago</summary><ol>"));
    for StackFrame { file, line, function } in &stack.frames {
        let (file, function) = (Escaped(file), Escaped(function));
        put(page, format_args!("<li><code>{file}:{line} {function}</code>"));
    }
    match (stack.frames.is_empty(), stack.is_cut) {
        (true, _) => page.push_str("<li>not in Python code"),
        (false, true) => page.push_str("<li>&#8230;"),
        (false, false) => {}
    }
    page.push_str("</ol></details>\n");
}

fn failures(page: &mut String, failures: &[RecentFailure]) {
    if failures.is_empty() {
        page.push_str("<h2>Last failures</h2><p class=small>none</p>\n");
        return;
    }
    page.push_str(
        "<h2>Last failures</h2><div class=wide><table><tr><th>Time<th>Flags<th class=n>Status\
         <th>Virtual host<th>Group<th>Script<th>Request\n",
    );
    for failure in failures {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (time, status) = (UtcTime(failure.time), failure.status);
        let flags = Flags::from_bits(failure.flags);
        let [host, group, script, request] =
            [&failure.host, &failure.group, &failure.script, &failure.request].map(|it| text(it));
        put(
            page,
            format_args!(
                "<tr><td class=l>{time}<td class=bad>{flags}<td class=n>{status}<td>{}<td>{}\
                 <td class=t><code>{}</code><td class=t><code>{}</code>",
                Escaped(&host),
                Escaped(&group),
                Escaped(&script),
                Escaped(&request)
            ),
        );
    }
    page.push_str("</table></div>\n");
}

/// What there is no figure for.
fn dash() -> String {
    "&#8211;".to_owned()
}

/// A percentile for a reader.
fn percentile_text(percentile: Option<Percentile>) -> String {
    match percentile {
        None => dash(),
        Some(Percentile::Within(micros)) => duration(micros),
        Some(Percentile::Above(micros)) => format!("&gt; {}", duration(micros)),
    }
}

/// Microseconds for a reader.
fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        // Bounds of buckets are whole seconds.
        1_000_000..120_000_000 if micros.is_multiple_of(1_000_000) => {
            format!("{} s", micros / 1_000_000)
        }
        1_000_000..120_000_000 => {
            format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10)
        }
        _ => {
            let minutes = micros / 60_000_000;
            let (days, hours) = (minutes / 1440, minutes / 60 % 24);
            match (days, hours) {
                (0, 0) => format!("{minutes} min"),
                (0, _) => format!("{hours} h {} min", minutes % 60),
                _ => format!("{days} d {hours} h"),
            }
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_that_fits() {
        let table = [
            (999, "999 µs"),
            (2_500, "2 ms"),
            (1_250_000, "1.2 s"),
            (30_000_000, "30 s"),
            (130_000_000, "2 min"),
            (3_900_000_000, "1 h 5 min"),
            (180_000_000_000, "2 d 2 h"),
        ];
        for (micros, text) in table {
            assert_eq!(duration(micros), text);
        }
        duration(u64::MAX);
    }

    #[test]
    fn percentile_beyond_the_last_bucket_is_above_its_bound() {
        let mut histogram = Histogram::default();
        assert_eq!(percentile_text(histogram.percentile(99)), dash());
        histogram.buckets[15] = 1;
        assert_eq!(percentile_text(histogram.percentile(99)), "&gt; 30 s");
    }
}
