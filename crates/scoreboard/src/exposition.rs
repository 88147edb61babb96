//! Figures of process groups as Prometheus reads them: its text format 0.0.4, or OpenMetrics 1.0. Labels are names of
//! groups, flags, classes and slots; never a URL or the number of a process. It must never know where the figures come
//! from: Apache's status page and the manager of a group both write with it.
#![forbid(unsafe_code)]

use crate::events::{Events, ExitReason, START_BOUNDS};
use crate::executor::{ExecutorLoad, ExecutorLoads};
use crate::flag::Flag;
use crate::histogram::Histogram;
use crate::label::Label;
use crate::python_version::PythonVersion;
use crate::requests::RequestCounts;
use std::fmt::{self, Display, Write};

/// Metrics that are being written.
pub struct Exposition {
    text: String,
    is_openmetrics: bool,
}

/// What a metric is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It grows only.
    Counter,
    /// It grows and falls.
    Gauge,
    /// Counts by upper bounds.
    Histogram,
}

/// Microseconds as seconds, with all digits.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// What became of the requests of a process group.
pub struct RequestFigures<'a> {
    /// The name of the group; empty: Apache's own processes.
    pub group: &'a str,
    /// `wsgi`, `asgi` or `auto`.
    pub interface: &'a str,
    /// What has been counted.
    pub counts: &'a RequestCounts,
    /// Whether its requests wait for workers.
    pub has_queue: bool,
}

/// What a process group does, or what Apache's own processes do.
pub struct GroupFigures<'a> {
    /// Its name; empty: Apache's own processes.
    pub name: &'a str,
    /// Processes that start, serve or leave.
    pub workers: u64,
    /// Processes that take requests.
    pub ready: u64,
    /// Requests that a process serves at a time.
    pub capacity: u64,
    /// Requests that are being served.
    pub busy: u64,
    /// Requests that wait for a process, where that is known.
    pub queue_depth: Option<u64>,
    /// Microseconds since the oldest request that is being served was begun.
    pub oldest: u64,
    /// What its processes have done so far, where that is counted.
    pub history: Option<GroupHistory>,
    /// WebSockets that its processes have open; `None` where they have no event loop.
    pub sockets: Option<u64>,
    /// Its processes, by slot.
    pub processes: Vec<ProcessFigures>,
    /// What the executors of its event loops have to do; `None` where no application of ASGI is to be expected.
    pub executors: Option<ExecutorLoads>,
}

/// What all processes of a group have done so far.
#[derive(Clone, Copy)]
pub struct GroupHistory {
    /// Starts and exits.
    pub events: Events,
    /// Processor time in microseconds.
    pub cpu: u64,
}

/// A process of a group.
pub struct ProcessFigures {
    /// Its slot.
    pub slot: usize,
    /// Processor time in microseconds.
    pub cpu: u64,
    /// Bytes of memory that it has.
    pub resident: u64,
    /// Bytes of that, without files.
    pub private: u64,
}

impl Exposition {
    /// The media type of Prometheus' text format.
    pub const TEXT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";
    /// That of OpenMetrics.
    pub const OPENMETRICS_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Whether a client with this `Accept` wants OpenMetrics.
    pub fn is_openmetrics_wanted(accept: &[u8]) -> bool {
        let wanted = b"application/openmetrics-text";
        accept.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted))
    }

    /// The media type of what is written.
    pub const fn media_type(is_openmetrics: bool) -> &'static str {
        if is_openmetrics { Self::OPENMETRICS_TYPE } else { Self::TEXT_TYPE }
    }

    /// One without metrics but the version of this program.
    pub fn new(is_openmetrics: bool, version: &str) -> Self {
        let mut page = Self { text: String::new(), is_openmetrics };
        let name = "wsgi_build_info";
        page.begin(name, Kind::Gauge, "The version of mod_wsgi_rs, always 1.");
        page.value(name, &[("version", version)], 1);
        page
    }

    /// The Pythons of groups, by name; that of Apache's own processes is empty.
    pub fn pythons(&mut self, pythons: &[(&str, PythonVersion)]) {
        let name = "wsgi_python_info";
        self.begin(name, Kind::Gauge, "The Python of the processes of a group, always 1.");
        for (group, python) in pythons {
            let (version, abi) = (python.to_string(), python.abi());
            let labels = [("group", *group), ("version", &version), ("abi", &abi)];
            self.value(name, &labels, 1);
        }
    }

    /// The text.
    pub fn finish(mut self) -> String {
        if self.is_openmetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// How long the server has been up, in microseconds.
    pub fn uptime(&mut self, uptime: u64) {
        self.begin("wsgi_uptime_seconds", Kind::Gauge, "Time since the server was started.");
        self.value("wsgi_uptime_seconds", &[], Seconds(uptime));
    }

    /// The number of the configuration, and when it was read, in microseconds since the epoch.
    pub fn configuration(&mut self, generation: u64, loaded: u64) {
        let name = "wsgi_configuration_generation";
        self.begin(name, Kind::Gauge, "1 after the start, and one more after each restart.");
        self.value(name, &[], generation);
        let name = "wsgi_configuration_load_timestamp_seconds";
        self.begin(name, Kind::Gauge, "When the configuration was read last.");
        self.value(name, &[], Seconds(loaded));
    }

    /// What became of requests.
    pub fn requests(&mut self, all: &[RequestFigures<'_>]) {
        let help = "Requests, by class of the HTTP status; the group of embedded mode has no name.";
        self.begin("wsgi_requests", Kind::Counter, help);
        for RequestFigures { group, interface, counts, .. } in all {
            for (count, class) in counts.classes.iter().zip(RequestCounts::CLASS_NAMES) {
                let labels = [("group", *group), ("interface", *interface), ("code", class)];
                self.value("wsgi_requests_total", &labels, count);
            }
        }
        self.begin("wsgi_request_failures", Kind::Counter, "Requests by their flag (WSGI_FLAGS).");
        for RequestFigures { group, counts, .. } in all {
            for flag in Flag::ALL {
                let count = counts.flags.get(flag as usize).copied().unwrap_or(0);
                let labels = [("group", *group), ("flag", flag.code())];
                self.value("wsgi_request_failures_total", &labels, count);
            }
        }
        let name = "wsgi_request_duration_seconds";
        self.begin(name, Kind::Histogram, "From the arrival of a request to its end.");
        all.iter().for_each(|it| self.histogram(name, it.group, &it.counts.duration));
        let name = "wsgi_queue_duration_seconds";
        self.begin(name, Kind::Histogram, "How long requests have waited for a worker.");
        for it in all.iter().filter(|it| it.has_queue) {
            self.histogram(name, it.group, &it.counts.queue);
        }
    }

    /// What the groups and their processes do.
    pub fn groups(&mut self, groups: &[GroupFigures<'_>]) {
        type Figure = fn(&GroupFigures<'_>) -> Option<u64>;
        let gauges: [(&str, &str, Figure); 5] = [
            ("wsgi_workers", "Processes that start, serve or leave.", |it| Some(it.workers)),
            ("wsgi_workers_ready", "Processes that take requests.", |it| Some(it.ready)),
            ("wsgi_threads", "Requests that all ready processes can serve at a time.", |it| {
                Some(it.ready.saturating_mul(it.capacity))
            }),
            ("wsgi_threads_busy", "Requests that are being served.", |it| Some(it.busy)),
            ("wsgi_queue_depth", "Requests that wait for a process.", |it| it.queue_depth),
        ];
        for (name, help, figure) in gauges {
            let values = groups.iter().filter_map(|it| figure(it).map(|value| (it.name, value)));
            let values: Vec<_> = values.collect();
            if values.is_empty() && !groups.is_empty() {
                continue;
            }
            self.begin(name, Kind::Gauge, help);
            values.iter().for_each(|(group, value)| self.value(name, &[("group", *group)], value));
        }
        self.executors(groups);
        let name = "wsgi_oldest_request_seconds";
        self.begin(name, Kind::Gauge, "Age of the oldest request that is being served.");
        for group in groups {
            self.value(name, &[("group", group.name)], Seconds(group.oldest));
        }
        let counted = groups.iter().filter_map(|group| Some((group.name, group.history?)));
        self.history(&counted.collect::<Vec<_>>());
        self.event_loops(groups);
        self.processes(groups);
    }

    /// What the executors of event loops have to do, of the groups that have some.
    fn executors(&mut self, groups: &[GroupFigures<'_>]) {
        type Figure = fn(&ExecutorLoad) -> u64;
        let figures: [(&str, &str, Figure); 3] = [
            ("wsgi_executor_threads", "Functions that executors can run at a time.", |it| {
                it.threads
            }),
            ("wsgi_executor_threads_busy", "Functions that executors run.", |it| it.busy),
            ("wsgi_executor_queue_depth", "Functions that wait for a thread.", |it| it.waiting),
        ];
        let all = || groups.iter().filter_map(|it| it.executors.map(|loads| (it.name, loads)));
        if all().next().is_none() {
            return;
        }
        for (name, help, figure) in figures {
            self.begin(name, Kind::Gauge, help);
            for (group, loads) in all() {
                for (executor, load) in loads.each() {
                    let labels = [("group", group), ("executor", executor.name())];
                    self.value(name, &labels, figure(&load));
                }
            }
        }
    }

    /// What there is only where processes have an event loop.
    fn event_loops(&mut self, groups: &[GroupFigures<'_>]) {
        let of_loops: Vec<_> = groups
            .iter()
            .filter_map(|it| Some((it.name, it.history?.events, it.sockets?)))
            .collect();
        if of_loops.is_empty() && !groups.is_empty() {
            return;
        }
        let name = "wsgi_websocket_connections";
        self.begin(name, Kind::Gauge, "WebSockets that are open.");
        for (group, _, sockets) in &of_loops {
            self.value(name, &[("group", *group)], sockets);
        }
        let name = "wsgi_websocket_messages";
        self.begin(name, Kind::Counter, "Messages over WebSockets.");
        for (group, events, _) in &of_loops {
            let counts = [("received", events.messages_received), ("sent", events.messages_sent)];
            for (direction, count) in counts {
                let labels = [("group", *group), ("direction", direction)];
                self.value("wsgi_websocket_messages_total", &labels, count);
            }
        }
        let name = "wsgi_event_loop_lag_seconds";
        self.begin(name, Kind::Histogram, "How late timers of event loops were.");
        for (group, events, _) in &of_loops {
            self.histogram(name, group, &events.loop_lag);
        }
    }

    /// Starts and exits, and what all processes of a group together have used.
    fn history(&mut self, groups: &[(&str, GroupHistory)]) {
        self.begin("wsgi_process_starts", Kind::Counter, "Processes that have been started.");
        for (group, history) in groups {
            let labels = [("group", *group)];
            self.value("wsgi_process_starts_total", &labels, history.events.starts);
        }
        self.begin("wsgi_process_exits", Kind::Counter, "Processes that have ended, by reason.");
        for (group, history) in groups {
            for reason in ExitReason::ALL {
                let labels = [("group", *group), ("reason", reason.name())];
                self.value("wsgi_process_exits_total", &labels, history.events.exits(reason));
            }
        }
        let name = "wsgi_process_start_duration_seconds";
        self.begin(name, Kind::Histogram, "From the start of a process until it takes requests.");
        for (group, history) in groups {
            let Events { start_times, start_sum, .. } = history.events;
            let bounds = START_BOUNDS.into_iter().map(Some).chain([None]);
            let cumulative = bounds.zip(start_times).scan(0_u64, |sum, (bound, count)| {
                *sum = sum.saturating_add(count);
                Some((bound, *sum))
            });
            self.buckets(name, group, cumulative, start_sum);
        }
        type Figure = fn(&GroupHistory) -> u64;
        let times: [(&str, &str, Figure); 2] = [
            ("wsgi_cpu_seconds", "Processor time of all processes so far.", |it| it.cpu),
            ("wsgi_gil_wait_seconds", "How long probes have waited for Python's lock.", |it| {
                it.events.lock_wait
            }),
        ];
        for (name, help, figure) in times {
            self.begin(name, Kind::Counter, help);
            for (group, history) in groups {
                let time = Seconds(figure(history));
                self.value(&format!("{name}_total"), &[("group", *group)], time);
            }
        }
        let name = "wsgi_gil_probes";
        self.begin(name, Kind::Counter, "Probes of Python's lock (deadlock-timeout).");
        for (group, history) in groups {
            let labels = [("group", *group)];
            self.value("wsgi_gil_probes_total", &labels, history.events.lock_probes);
        }
    }

    fn processes(&mut self, groups: &[GroupFigures<'_>]) {
        type Figure = fn(&ProcessFigures) -> String;
        let figures: [(&str, &str, Figure); 3] = [
            ("wsgi_process_cpu_seconds", "Processor time of the running processes.", |it| {
                Seconds(it.cpu).to_string()
            }),
            ("wsgi_process_resident_memory_bytes", "Memory of a process.", |it| {
                it.resident.to_string()
            }),
            ("wsgi_process_private_memory_bytes", "Memory without files.", |it| {
                it.private.to_string()
            }),
        ];
        for (name, help, figure) in figures {
            self.begin(name, Kind::Gauge, help);
            for group in groups {
                let mut previous = None;
                for process in &group.processes {
                    // While a worker is replaced its slot has two.
                    if previous == Some(process.slot) {
                        continue;
                    }
                    previous = Some(process.slot);
                    let slot = process.slot.to_string();
                    self.value(name, &[("group", group.name), ("slot", &*slot)], figure(process));
                }
            }
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
        // All but the bound and the number, once for all of them.
        let bucket = format!("{name}_bucket{{group=\"{}\",le=\"", Label(group));
        for (bound, count) in cumulative {
            self.text.push_str(&bucket);
            match bound {
                Some(bound) => self.text.push_str(&shortest(bound)),
                None => self.text.push_str("+Inf"),
            }
            self.line(format_args!("\"}} {count}"));
            all = count;
        }
        self.value(&format!("{name}_sum"), &[("group", group)], Seconds(sum));
        self.value(&format!("{name}_count"), &[("group", group)], all);
    }

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

    /// A value of the metric; `labels` are pairs, whose values are escaped.
    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(label);
            // Writing to memory does not fail.
            let _ = write!(self.text, "=\"{}\"", Label(text));
        }
        self.text.push_str(if labels.is_empty() { " " } else { "} " });
        self.line(format_args!("{value}"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
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
    fn openmetrics_names_a_counter_without_its_suffix_and_has_an_end() {
        let text = |is_openmetrics| {
            let mut page = Exposition { text: String::new(), is_openmetrics };
            page.begin("a", Kind::Counter, "b");
            page.value("a_total", &[("group", "x\"\ny")], 1);
            page.finish()
        };
        let value = "a_total{group=\"x\\\"\\ny\"} 1\n";
        assert_eq!(text(false), format!("# HELP a_total b\n# TYPE a_total counter\n{value}"));
        assert_eq!(text(true), format!("# HELP a b\n# TYPE a counter\n{value}# EOF\n"));
    }

    #[test]
    fn slot_with_two_processes_has_one_value_and_an_unknown_queue_none() {
        let process = |slot, resident| ProcessFigures { slot, cpu: 0, resident, private: 0 };
        let text = |queue_depth| {
            let mut page = Exposition::new(false, "1");
            page.groups(&[GroupFigures {
                name: "site",
                workers: 2,
                ready: 1,
                capacity: 5,
                busy: 0,
                queue_depth,
                oldest: 1_500_000,
                history: Some(GroupHistory { events: Events::default(), cpu: 7 }),
                sockets: None,
                processes: vec![process(0, 7), process(0, 8), process(1, 9)],
                executors: None,
            }]);
            page.finish()
        };
        let unknown = text(None);
        assert!(!unknown.contains("queue_depth"), "{unknown}");
        let lines = unknown.lines().filter(|line| line.starts_with("wsgi_process_resident"));
        assert_eq!(lines.count(), 2);
        for line in [
            "wsgi_oldest_request_seconds{group=\"site\"} 1.500000",
            "wsgi_threads{group=\"site\"} 5",
        ] {
            assert!(unknown.lines().any(|found| found == line), "{line}");
        }
        assert!(text(Some(3)).contains("wsgi_queue_depth{group=\"site\"} 3\n"));
    }

    #[test]
    fn client_that_accepts_openmetrics_gets_that() {
        for (accept, wanted) in [
            (&b"application/openmetrics-text;version=1.0.0,text/plain"[..], true),
            (b"text/html, Application/OpenMetrics-Text", true),
            (b"text/plain", false),
            (b"", false),
        ] {
            assert_eq!(Exposition::is_openmetrics_wanted(accept), wanted);
        }
    }
}
