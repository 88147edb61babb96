//! Metrics as the dicts that `mod_wsgi`'s functions return (reference section 6.6).

use crate::cpython::{Attached, Object, Result};
use crate::observe::activity::Activity;
use crate::observe::metrics::{
    Interval, PHASES, ThreadSample, ThreadUtilization, Utilization, seconds, seconds_now,
};
use crate::options::ServerBoard;
use crate::posix::{Usage, resident};
use std::time::Duration;

/// A dict that is being filled.
struct Table<'py>(Object<'py>);

impl<'py> Table<'py> {
    fn new(py: Attached<'py>) -> Result<'py, Self> {
        Ok(Self(py.dict()?))
    }

    fn put(&self, key: &str, value: &Object<'py>) -> Result<'py, ()> {
        self.0.set_item(&self.0.py().interned(key)?, value)
    }

    fn int(&self, key: &str, value: i64) -> Result<'py, ()> {
        self.put(key, &self.0.py().int(value)?)
    }

    fn float(&self, key: &str, value: f64) -> Result<'py, ()> {
        self.put(key, &self.0.py().float(value)?)
    }

    fn text(&self, key: &str, value: &[u8]) -> Result<'py, ()> {
        self.put(key, &self.0.py().latin1(value)?)
    }

    fn list(
        &self,
        key: &str,
        values: impl Iterator<Item = Result<'py, Object<'py>>>,
    ) -> Result<'py, ()> {
        let list = self.0.py().list()?;
        for value in values {
            list.append(&value?)?;
        }
        self.put(key, &list)
    }
}

/// `request_metrics()`.
pub(super) fn of_requests<'py>(
    py: Attached<'py>,
    activity: &Activity,
    threads: i64,
) -> Result<'py, Object<'py>> {
    let (interval, samples) = activity.drain();
    let used = interval.utilization();
    let table = Table::new(py)?;
    put_process(&table, &used)?;
    let in_use = ThreadUtilization::of(&samples, used.period, activity.places(threads));
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    table.int("request_threads_maximum", threads)?;
    table.int("request_threads_started", count(in_use.started))?;
    table.int("request_threads_active", count(in_use.active))?;
    table.float("capacity_utilization", in_use.capacity)?;
    put_requests(&table, &interval, used.period)?;
    put_phases(&table, &interval)?;
    put_threads(&table, &samples, threads)?;
    Ok(table.0)
}

/// The interval and what the process used in it.
fn put_process<'py>(table: &Table<'py>, used: &Utilization) -> Result<'py, ()> {
    let stop = seconds_now();
    table.int("pid", std::process::id().into())?;
    table.float("start_time", stop - used.period)?;
    table.float("stop_time", stop)?;
    table.float("sample_period", used.period)?;
    for (name, part) in
        [("cpu_user", used.user), ("cpu_system", used.system), ("cpu", used.user + used.system)]
    {
        table.float(&format!("{name}_utilization"), part)?;
        // Deprecated names.
        table.float(&format!("{name}_time"), part)?;
    }
    table.int("memory_max_rss", used.usage.most_resident)?;
    table.int("memory_rss", resident())
}

/// Counts of requests, bytes and calls; `period` is in seconds.
fn put_requests<'py>(table: &Table<'py>, interval: &Interval, period: f64) -> Result<'py, ()> {
    table.int("request_count", interval.count)?;
    table.float("request_throughput", interval.count as f64 / period)?;
    for (class, count) in (1..).zip(interval.statuses) {
        table.int(&format!("status_{class}xx"), count)?;
    }
    for (name, [bytes, calls], calls_name) in
        [("input", interval.input, "reads"), ("output", interval.output, "writes")]
    {
        table.int(&format!("{name}_bytes"), bytes)?;
        table.int(&format!("{name}_{calls_name}"), calls)?;
    }
    table.int("gil_wait_count", interval.waits)
}

/// The durations of each phase.
fn put_phases<'py>(table: &Table<'py>, interval: &Interval) -> Result<'py, ()> {
    let py = table.0.py();
    for (phase, times) in PHASES.into_iter().zip(&interval.phases) {
        let put = |suffix: &str, value: Option<Object<'py>>| {
            table.put(&format!("{phase}_time{suffix}"), &value.unwrap_or(py.none()))
        };
        put("", times.mean().map(|mean| py.float(mean)).transpose()?)?;
        let (least, most) = times.extremes().unzip();
        put("_min_us", least.map(|least| py.int(least)).transpose()?)?;
        put("_max_us", most.map(|most| py.int(most)).transpose()?)?;
        let buckets = times.buckets.iter().map(|&count| py.int(count.into()));
        table.list(&format!("{phase}_time_buckets"), buckets)?;
    }
    Ok(())
}

/// Lists with an entry for each thread that there may be, so that they keep their length.
fn put_threads<'py>(table: &Table<'py>, samples: &[ThreadSample], threads: i64) -> Result<'py, ()> {
    let py = table.0.py();
    let length = usize::try_from(threads).unwrap_or(0).max(samples.len());
    let all = || (0..length).map(|index| samples.get(index).copied().unwrap_or_default());
    let seconds = |time: Duration| py.float(time.as_secs_f64());
    for name in ["request_threads_completed", "request_threads_buckets"] {
        table.list(name, all().map(|sample| py.int(sample.completed)))?;
    }
    table.list("request_threads_busy_time", all().map(|sample| seconds(sample.busy)))?;
    table.list("request_threads_cpu_time", all().map(|sample| py.float(sample.cpu)))?;
    table.list("request_threads_current_elapsed", all().map(|sample| seconds(sample.current)))?;
    table.list("request_threads_max_duration", all().map(|sample| seconds(sample.longest)))
}

/// `process_metrics()`.
pub(super) fn of_process<'py>(py: Attached<'py>, activity: &Activity) -> Result<'py, Object<'py>> {
    let threads = activity.threads();
    let usage = Usage::process();
    let (start, now) = (seconds(activity.started), seconds_now());
    let table = Table::new(py)?;
    table.int("pid", std::process::id().into())?;
    table.float("request_busy_time", activity.busy_time().as_secs_f64())?;
    table.int("request_count", threads.iter().map(|thread| thread.served()).sum())?;
    table.int("memory_max_rss", usage.most_resident)?;
    table.int("memory_rss", resident())?;
    table.float("cpu_user_time", usage.user)?;
    table.float("cpu_system_time", usage.system)?;
    table.float("cpu_time", usage.user + usage.system)?;
    table.float("restart_time", start)?;
    table.float("current_time", now)?;
    table.int("running_time", (now - start) as i64)?;
    table.int("request_threads", i64::try_from(threads.len()).unwrap_or(i64::MAX))?;
    table.int("active_requests", threads.iter().map(|thread| thread.busy()).sum())?;
    table.list(
        "threads",
        threads.iter().map(|thread| {
            let row = Table::new(py)?;
            row.int("thread_id", thread.id)?;
            row.int("request_count", thread.served())?;
            Ok(row.0)
        }),
    )?;
    Ok(table.0)
}

/// `server_metrics()`.
pub(super) fn of_server<'py>(py: Attached<'py>, board: &ServerBoard) -> Result<'py, Object<'py>> {
    let now = seconds_now();
    let table = Table::new(py)?;
    table.int("server_limit", board.server_limit)?;
    table.int("thread_limit", board.thread_limit)?;
    table.int("running_generation", board.generation)?;
    table.float("restart_time", board.restart_time)?;
    table.float("current_time", now)?;
    table.int("running_time", (now - board.restart_time) as i64)?;
    let processes = (0..).zip(&board.processes).map(|(number, process)| {
        let row = Table::new(py)?;
        row.int("process_num", number)?;
        row.int("pid", process.pid)?;
        row.int("generation", process.generation)?;
        row.put("quiescing", &py.bool(process.quiescing))?;
        let workers = (0..).zip(&process.workers).map(|(number, worker)| {
            let row = Table::new(py)?;
            row.int("thread_num", number)?;
            row.int("generation", worker.generation)?;
            row.text("status", &[worker.status])?;
            row.int("access_count", worker.access_count)?;
            row.int("bytes_served", worker.bytes_served)?;
            row.float("start_time", worker.start_time)?;
            row.float("stop_time", worker.stop_time)?;
            row.float("last_used", worker.last_used)?;
            row.text("client", &worker.client)?;
            row.text("request", &worker.request)?;
            row.text("vhost", &worker.vhost)?;
            Ok(row.0)
        });
        row.list("workers", workers)?;
        Ok(row.0)
    });
    table.list("processes", processes)?;
    Ok(table.0)
}
