//! top with `--json`: a line with an object for each interval, for programs. It knows no terminal.

use super::figures::{Before, Figures, capacity};
use super::source::{INTERVAL, LIMIT};
use crate::control::find;
use crate::control::group::Group;
use crate::control::printable::printable_json_line;
use crate::control::report::{Report, Severity, reports};
use crate::failure::Failure;
use crate::options::OfTop;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the workers of each group had done when they were last looked at.
type Known = BTreeMap<Group, Before>;

/// Prints so many lines as `--count` says, or until the reader has gone. The exit status is that of the last line: 1 where it
/// has an error, or a group has not answered.
pub(super) fn stream(options: &OfTop) -> Result<ExitCode, Failure> {
    let limit = options.groups.control.timeout.map_or(LIMIT, Duration::from_secs);
    let find = || find::groups(&options.groups.control, options.groups.group.as_deref());
    let mut known = Known::new();
    // Rates are the difference to an answer before.
    match find() {
        Ok(groups) => drop(document(reports(groups, limit), &mut known, Instant::now())),
        Err(why) => {
            print(&json!({ "error": why.to_string() }))?;
            return Ok(ExitCode::from(why.exit_status()));
        }
    }
    let (mut next, mut printed) = (Instant::now() + INTERVAL, 0);
    loop {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next = Instant::now() + INTERVAL;
        let (line, is_complete) = match find() {
            Ok(groups) => document(reports(groups, limit), &mut known, Instant::now()),
            Err(why) => (json!({ "time_seconds": time(), "error": why.to_string() }), false),
        };
        let is_read = print(&line)?;
        printed += 1;
        if !is_read || options.count.is_some_and(|count| printed >= count) {
            return Ok(ExitCode::from(u8::from(!is_complete)));
        }
    }
}

/// The line of these answers, and whether all groups have answered.
fn document(reports: Vec<Report>, known: &mut Known, at: Instant) -> (Value, bool) {
    let worst = reports.iter().map(|it| it.judge().0).fold(Severity::Ok, Severity::worse);
    let is_complete = reports.iter().all(|report| report.status.is_ok());
    let mut now = Known::new();
    let groups: Vec<Value> = reports
        .iter()
        .map(|report| {
            let old = known.remove(&report.group).unwrap_or_default();
            let (value, before) = with_rates(report, &old, at);
            now.insert(report.group.clone(), before);
            value
        })
        .collect();
    *known = now;
    let line = json!({ "time_seconds": time(), "severity": worst.name(), "groups": groups });
    (line, is_complete)
}

/// What a group has said, with what its workers have done since the answer before, `old`; a worker that was not there then has
/// null.
fn with_rates(report: &Report, old: &Before, at: Instant) -> (Value, Before) {
    let (mut value, mut before) = (report.json(), Before::new());
    let mut all = Figures::default();
    for worker in value.get_mut("workers").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(pid) = worker["pid"].as_u64() else { continue };
        let last = old.get(&pid).copied();
        before.extend(last.map(|it| (pid, it)));
        let figures = Figures::of(worker, capacity(report), &mut before, at);
        all.add(&figures);
        worker["served_per_second"] = last.map(|_| figures.rate).into();
        worker["cpu_percent"] = last.map(|_| figures.cpu).into();
    }
    if report.status.is_ok() {
        value["served_per_second"] = all.rate.into();
        value["cpu_percent"] = all.cpu.into();
    }
    (value, before)
}

/// Seconds since the epoch.
fn time() -> f64 {
    std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64()
}

/// Prints a line; whether there is a reader.
fn print(line: &Value) -> Result<bool, Failure> {
    let mut output = io::stdout().lock();
    let printed =
        output.write_all(printable_json_line(line).as_bytes()).and_then(|()| output.flush());
    match printed {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(why) => Err(Failure::server(format!("standard output: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(workers: &Value) -> Report {
        let group = Group::of_file("/run/wsgi.1.0.shop.admin".into()).unwrap();
        Report { group, status: Ok(json!({ "workers": workers, "capacity_per_worker": 2 })) }
    }

    #[test]
    fn rates_are_those_since_the_answer_before_and_unknown_of_a_new_worker() {
        let worker =
            |pid: u64, served: u64| json!({ "pid": pid, "served": served, "cpu_seconds": served });
        let (mut known, start) = (Known::new(), Instant::now());
        let gone = json!({ "pid": null, "state": "gone" });
        document(vec![report(&json!([worker(7, 10), gone]))], &mut known, start);
        let later = start + Duration::from_secs(2);
        let answer = report(&json!([worker(7, 30), worker(8, 900), gone]));
        let (line, is_complete) = document(vec![answer], &mut known, later);
        let group = &line["groups"][0];
        assert!(is_complete && line["time_seconds"].as_f64().unwrap() > 1e9);
        assert_eq!((&line["severity"], &group["name"]), (&json!("ok"), &json!(null)));
        assert_eq!(group["served_per_second"], json!(10.0));
        assert_eq!(group["workers"][0]["cpu_percent"], json!(1000.0));
        assert_eq!(group["workers"][1]["served_per_second"], json!(null));
        assert_eq!(group["workers"][2], gone);
        assert_eq!(known.values().next().unwrap().len(), 2);
        let group = Group::of_file("/run/wsgi.1.0.shop.admin".into()).unwrap();
        let silent = Report { group, status: Err(crate::control::connection::Unanswered::Busy) };
        let (line, is_complete) = document(vec![silent], &mut known, later);
        assert_eq!((is_complete, &line["severity"]), (false, &json!("critical")));
        assert_eq!(line["groups"][0].get("served_per_second"), None);
    }
}
