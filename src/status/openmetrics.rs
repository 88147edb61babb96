//! The status as Prometheus reads it: its text format 0.0.4, or OpenMetrics 1.0 where a client asks for that. Labels are
//! names of groups, flags, classes and slots; never a URL or the number of a process.
#![forbid(unsafe_code)]

use super::escaped::Label;
use super::snapshot::{GroupStatus, Snapshot};
use crate::failure_flag::Flag;
use crate::groups::{Configuration, Histogram, RequestCounts};
use scoreboard::{Events, ExitReason, START_BOUNDS};
use std::fmt::{Display, Write};

/// Metrics that are being written.
struct Page {
    text: String,
    is_openmetrics: bool,
}

/// What a metric is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Microseconds as seconds, with all digits.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// The text.
pub(super) fn page(snapshot: &Snapshot, is_openmetrics: bool) -> String {
    let mut page = Page { text: String::new(), is_openmetrics };
    page.build_info(snapshot);
    page.requests(snapshot);
    page.groups(&snapshot.groups);
    page.work(&snapshot.groups);
    page.workers(&snapshot.groups);
    if is_openmetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

impl Page {
    /// Begins a metric; the name of a counter without `_total`.
    fn begin(&mut self, name: &str, kind: Kind, help: &str) {
        let (kind, suffix) = match kind {
            Kind::Counter if self.is_openmetrics => ("counter", ""),
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
        };
        self.line(format_args!("# HELP {name}{suffix} {help}"));
        self.line(format_args!("# TYPE {name}{suffix} {kind}"));
    }

    fn line(&mut self, line: impl Display) {
        // Writing to memory does not fail.
        let _ = writeln!(self.text, "{line}");
    }

    /// A value of the metric; `labels` are pairs, whose values are escaped.
    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{name}");
        for (index, (label, text)) in labels.iter().enumerate() {
            let separator = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{separator}{label}=\"{}\"", Label(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{end} {value}"));
    }

    fn build_info(&mut self, snapshot: &Snapshot) {
        self.begin("wsgi_build_info", Kind::Gauge, "The version of mod_wsgi_rs, always 1.");
        self.value("wsgi_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.begin("wsgi_uptime_seconds", Kind::Gauge, "Time since the server was started.");
        self.value("wsgi_uptime_seconds", &[], Seconds(snapshot.uptime));
        let Configuration { generation, loaded } = snapshot.configuration;
        let name = "wsgi_configuration_generation";
        self.begin(name, Kind::Gauge, "1 after the start, and one more after each restart.");
        self.value(name, &[], generation);
        let name = "wsgi_configuration_load_timestamp_seconds";
        self.begin(name, Kind::Gauge, "When the configuration was read last.");
        self.value(name, &[], Seconds(loaded));
    }

    fn requests(&mut self, snapshot: &Snapshot) {
        let embedded = ("", "wsgi", &snapshot.embedded);
        let groups = snapshot.groups.iter().filter(|group| group.serves);
        let groups = groups.map(|it| (&*it.name, it.interface, &it.counts));
        let all: Vec<(&str, &str, &RequestCounts)> = [embedded].into_iter().chain(groups).collect();
        let help = "Requests, by class of the HTTP status; the group of embedded mode has no name.";
        self.begin("wsgi_requests", Kind::Counter, help);
        for (group, interface, counts) in &all {
            for (count, class) in counts.classes.iter().zip(["1xx", "2xx", "3xx", "4xx", "5xx"]) {
                let labels = [("group", *group), ("interface", *interface), ("code", class)];
                self.value("wsgi_requests_total", &labels, count);
            }
        }
        self.begin("wsgi_request_failures", Kind::Counter, "Requests by their flag (WSGI_FLAGS).");
        for (group, _, counts) in &all {
            for flag in Flag::ALL {
                let count = counts.flags.get(flag as usize).copied().unwrap_or(0);
                let labels = [("group", *group), ("flag", flag.code())];
                self.value("wsgi_request_failures_total", &labels, count);
            }
        }
        let name = "wsgi_request_duration_seconds";
        self.begin(name, Kind::Histogram, "From the arrival of a request to its end.");
        all.iter().for_each(|(group, _, counts)| self.histogram(name, group, &counts.duration));
        let name = "wsgi_queue_duration_seconds";
        self.begin(name, Kind::Histogram, "How long requests have waited for a worker.");
        for (group, _, counts) in all.iter().skip(1) {
            self.histogram(name, group, &counts.queue);
        }
    }

    fn histogram(&mut self, name: &str, group: &str, histogram: &Histogram) {
        self.buckets(name, group, histogram.cumulative(), histogram.sum);
    }

    /// The upper bounds of buckets, each with the number of values up to it, and the sum of all.
    fn buckets(
        &mut self,
        name: &str,
        group: &str,
        cumulative: impl Iterator<Item = (Option<u64>, u64)>,
        sum: u64,
    ) {
        let mut all = 0;
        for (bound, count) in cumulative {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), shortest);
            self.value(&format!("{name}_bucket"), &[("group", group), ("le", &bound)], count);
            all = count;
        }
        self.value(&format!("{name}_sum"), &[("group", group)], Seconds(sum));
        self.value(&format!("{name}_count"), &[("group", group)], all);
    }

    /// How workers have started, and what all of them together have used.
    fn work(&mut self, groups: &[GroupStatus]) {
        let name = "wsgi_process_start_duration_seconds";
        self.begin(name, Kind::Histogram, "From the start of a process until it takes requests.");
        for group in groups {
            let Events { start_times, start_sum, .. } = group.events;
            let bounds = START_BOUNDS.into_iter().map(Some).chain([None]);
            let cumulative = bounds.zip(start_times).scan(0_u64, |sum, (bound, count)| {
                *sum = sum.saturating_add(count);
                Some((bound, *sum))
            });
            self.buckets(name, &group.name, cumulative, start_sum);
        }
        type Figure = fn(&GroupStatus) -> u64;
        let times: [(&str, &str, Figure); 2] = [
            ("wsgi_cpu_seconds", "Processor time of all processes so far.", |it| it.cpu),
            ("wsgi_gil_wait_seconds", "How long probes have waited for Python's lock.", |it| {
                it.events.lock_wait
            }),
        ];
        for (name, help, figure) in times {
            self.begin(name, Kind::Counter, help);
            for group in groups {
                let time = Seconds(figure(group));
                self.value(&format!("{name}_total"), &[("group", &group.name)], time);
            }
        }
        let name = "wsgi_gil_probes";
        self.begin(name, Kind::Counter, "Probes of Python's lock (deadlock-timeout).");
        for group in groups {
            let labels = [("group", &*group.name)];
            self.value("wsgi_gil_probes_total", &labels, group.events.lock_probes);
        }
    }

    fn groups(&mut self, groups: &[GroupStatus]) {
        type Figure = fn(&GroupStatus) -> u64;
        let gauges: [(&str, &str, Figure); 5] = [
            ("wsgi_workers", "Processes that start, serve or leave.", |it| {
                it.workers.iter().filter(|worker| worker.pid != 0).count() as u64
            }),
            ("wsgi_workers_ready", "Processes that take requests.", GroupStatus::ready),
            ("wsgi_threads", "Requests that all ready processes can serve at a time.", |it| {
                it.ready().saturating_mul(it.capacity)
            }),
            ("wsgi_threads_busy", "Requests that are being served.", GroupStatus::busy),
            ("wsgi_queue_depth", "Requests that wait for a process.", |it| it.queue_depth),
        ];
        for (name, help, figure) in gauges {
            self.begin(name, Kind::Gauge, help);
            for group in groups {
                self.value(name, &[("group", &group.name)], figure(group));
            }
        }
        let name = "wsgi_oldest_request_seconds";
        self.begin(name, Kind::Gauge, "Age of the oldest request that is being served.");
        for group in groups {
            self.value(name, &[("group", &group.name)], Seconds(group.oldest()));
        }
        self.begin("wsgi_process_starts", Kind::Counter, "Processes that have been started.");
        for group in groups {
            let labels = [("group", &*group.name)];
            self.value("wsgi_process_starts_total", &labels, group.events.starts);
        }
        self.begin("wsgi_process_exits", Kind::Counter, "Processes that have ended, by reason.");
        for group in groups {
            for reason in ExitReason::ALL {
                let labels = [("group", &*group.name), ("reason", reason.name())];
                self.value("wsgi_process_exits_total", &labels, group.events.exits(reason));
            }
        }
    }

    fn workers(&mut self, groups: &[GroupStatus]) {
        type Figure = fn(&sys::ProcessUsage) -> u64;
        let name = "wsgi_process_cpu_seconds";
        self.begin(name, Kind::Gauge, "Processor time of the running processes.");
        self.each_worker(groups, name, |usage| usage.cpu.saturating_mul(1000), true);
        let memory: [(&str, &str, Figure); 2] = [
            ("wsgi_process_resident_memory_bytes", "Memory of a process.", |it| it.resident),
            ("wsgi_process_private_memory_bytes", "Memory without files.", |it| it.private),
        ];
        for (name, help, figure) in memory {
            self.begin(name, Kind::Gauge, help);
            self.each_worker(groups, name, figure, false);
        }
    }

    fn each_worker(
        &mut self,
        groups: &[GroupStatus],
        name: &str,
        figure: fn(&sys::ProcessUsage) -> u64,
        is_time: bool,
    ) {
        for group in groups {
            let mut previous = None;
            for worker in &group.workers {
                // While a worker is replaced its slot has two.
                if worker.pid == 0 || previous == Some(worker.slot) {
                    continue;
                }
                previous = Some(worker.slot);
                let slot = worker.slot.to_string();
                let labels = [("group", &*group.name), ("slot", &*slot)];
                let value = figure(&worker.usage);
                if is_time {
                    self.value(name, &labels, Seconds(value));
                } else {
                    self.value(name, &labels, value);
                }
            }
        }
    }
}

/// Microseconds as seconds, without zeros at the end.
fn shortest(micros: u64) -> String {
    let text = Seconds(micros).to_string();
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_numbers_in_seconds() {
        let bounds = [500, 1_000, 2_500_000, 30_000_000].map(shortest);
        assert_eq!(bounds, ["0.0005", "0.001", "2.5", "30"]);
    }

    #[test]
    fn values_of_labels_are_escaped() {
        let mut page = Page { text: String::new(), is_openmetrics: false };
        page.value("a", &[("group", "x\"\\\ny")], 1);
        assert_eq!(page.text, "a{group=\"x\\\"\\\\\\ny\"} 1\n");
    }

    #[test]
    fn openmetrics_names_a_counter_without_its_suffix() {
        let text = |is_openmetrics| {
            let mut page = Page { text: String::new(), is_openmetrics };
            page.begin("a", Kind::Counter, "b");
            page.text
        };
        assert_eq!(text(false), "# HELP a_total b\n# TYPE a_total counter\n");
        assert_eq!(text(true), "# HELP a b\n# TYPE a counter\n");
    }
}
