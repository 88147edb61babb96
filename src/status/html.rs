//! The status as a page: one document with its style sheet, without scripts, which loads itself again. All that comes
//! from requests, names and workers is escaped.
#![forbid(unsafe_code)]

use super::snapshot::{GroupStatus, Snapshot, WorkerStatus};
use crate::failure_flag::{Flag, Flags};
use crate::groups::{RecentFailure, RequestCounts};
use scoreboard::ExitReason;
use std::fmt::{Display, Write};

/// Text that may stand in an element or in an attribute in double quotes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            other if other.is_control() => f.write_str("\u{fffd}"),
            other => f.write_char(other),
        })
    }
}

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>mod_wsgi_rs status</title>
<meta http-equiv=\"refresh\" content=\"5\"><meta name=\"viewport\" content=\"width=device-width\">
<style>
body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem;color:#1c1c1c;background:#fff}
h1{font-size:1.3rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}
table{border-collapse:collapse;margin:.4rem 0;width:100%}
th,td{text-align:left;padding:.2rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
code{font:13px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}
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
    put(&mut page, format_args!("<h1>mod_wsgi_rs {version}</h1><p class=small>up {uptime}</p>"));
    requests(&mut page, snapshot);
    snapshot.groups.iter().for_each(|it| group(&mut page, it));
    failures(&mut page, &snapshot.failures);
    page.push_str("</body></html>\n");
    page
}

fn put(page: &mut String, text: impl Display) {
    // Writing to memory does not fail.
    let _ = writeln!(page, "{text}");
}

fn requests(page: &mut String, snapshot: &Snapshot) {
    page.push_str(
        "<h2>Requests</h2><table><tr><th>Group<th class=n>Requests<th class=n>5xx<th class=n>p50\
         <th class=n>p95<th class=n>p99<th class=n>Queue p95<th class=n>Busy<th class=n>Threads\
         <th class=n>Waiting<th class=n>Oldest<th>Flags\n",
    );
    let mut row = |name: &str, counts: &RequestCounts, group: Option<&GroupStatus>| {
        let times = [
            counts.duration.percentile(50),
            counts.duration.percentile(95),
            counts.duration.percentile(99),
            counts.queue.percentile(95),
        ];
        let errors = counts.classes.last().copied().unwrap_or(0);
        let (name, total) = (Escaped(name), counts.total());
        put(page, format_args!("<tr><td>{name}<td class=n>{total}<td class=n>{errors}"));
        for time in times {
            let time = time.map_or_else(|| "&#8211;".to_owned(), duration);
            put(page, format_args!("<td class=n>{time}"));
        }
        match group {
            None => page.push_str("<td><td><td><td>"),
            Some(group) => {
                let threads = group.ready().saturating_mul(group.capacity);
                let (busy, waiting) = (group.busy(), group.queue_depth);
                let oldest = duration(group.oldest());
                put(
                    page,
                    format_args!(
                        "<td class=n>{busy}<td class=n>{threads}<td class=n>{waiting}<td class=n>{oldest}"
                    ),
                );
            }
        }
        page.push_str("<td>");
        for flag in Flag::ALL {
            let count = counts.flags.get(flag as usize).copied().unwrap_or(0);
            if count > 0 {
                put(page, format_args!("{}&nbsp;{count}", flag.code()));
            }
        }
    };
    row("(Apache's own processes)", &snapshot.embedded, None);
    for group in snapshot.groups.iter().filter(|group| group.serves) {
        row(&group.name, &group.counts, Some(group));
    }
    page.push_str("</table>\n");
}

fn group(page: &mut String, group: &GroupStatus) {
    let (name, interface) = (Escaped(&group.name), group.interface);
    put(page, format_args!("<h2>{name} <span class=small>{interface}</span></h2>"));
    if let Some(why) = &group.start_block {
        put(page, format_args!("<p class=bad>Does not start: {}</p>", Escaped(why)));
    }
    let exits: String = ExitReason::ALL
        .into_iter()
        .filter(|reason| group.events.exits(*reason) > 0)
        .map(|reason| format!(", {} {}", group.events.exits(reason), reason.name()))
        .collect();
    put(page, format_args!("<p class=small>started {}{exits}</p>", group.events.starts));
    page.push_str(
        "<table><tr><th class=n>Slot<th class=n>Process<th>State<th class=n>Age<th class=n>Served\
         <th class=n>Resident<th class=n>Private<th class=n>CPU<th>Requests<th>Last exit\n",
    );
    group.workers.iter().for_each(|it| worker(page, it));
    page.push_str("</table>\n");
}

fn worker(page: &mut String, worker: &WorkerStatus) {
    let WorkerStatus { slot, pid, state, served, usage, .. } = worker;
    let (age, cpu) = (duration(worker.age), duration(usage.cpu.saturating_mul(1000)));
    let (resident, private) = (megabytes(usage.resident), megabytes(usage.private));
    put(
        page,
        format_args!(
            "<tr><td class=n>{slot}<td class=n>{pid}<td>{state}<td class=n>{age}<td class=n>{served}\
             <td class=n>{resident}<td class=n>{private}<td class=n>{cpu}<td>"
        ),
    );
    for request in &worker.requests {
        let line = request.line.as_deref().unwrap_or("(not shown)");
        let age = duration(request.age);
        put(page, format_args!("<div>{age} <code>{}</code></div>", Escaped(line)));
    }
    let exit = worker.last_exit.as_deref().unwrap_or_default();
    put(page, format_args!("<td>{}", Escaped(exit)));
}

fn failures(page: &mut String, failures: &[RecentFailure]) {
    page.push_str(
        "<h2>Last failures</h2><table><tr><th>Seconds since the epoch<th>Flags<th class=n>Status\
         <th>Virtual host<th>Group<th>Script<th>Request\n",
    );
    for failure in failures {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (time, status) = (failure.time / 1_000_000, failure.status);
        let flags = Flags::from_bits(failure.flags);
        let [host, group, script, request] =
            [&failure.host, &failure.group, &failure.script, &failure.request].map(|it| text(it));
        put(
            page,
            format_args!(
                "<tr><td>{time}<td class=bad>{flags}<td class=n>{status}<td>{}<td>{}<td><code>{}</code>\
                 <td><code>{}</code>",
                Escaped(&host),
                Escaped(&group),
                Escaped(&script),
                Escaped(&request)
            ),
        );
    }
    page.push_str("</table>\n");
}

/// Microseconds for a reader.
fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
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
    fn text_cannot_leave_its_element() {
        let text = "<script>'\"&\u{1}</script>".to_owned();
        assert_eq!(
            Escaped(&text).to_string(),
            "&lt;script&gt;&#39;&quot;&amp;\u{fffd}&lt;/script&gt;"
        );
    }

    #[test]
    fn durations_have_a_unit_that_fits() {
        let table = [
            (999, "999 µs"),
            (2_500, "2 ms"),
            (1_250_000, "1.2 s"),
            (130_000_000, "2 min"),
            (3_900_000_000, "1 h 5 min"),
            (180_000_000_000, "2 d 2 h"),
        ];
        for (micros, text) in table {
            assert_eq!(duration(micros), text);
        }
        duration(u64::MAX);
    }
}
