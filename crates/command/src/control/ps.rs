//! The command ps: every worker of the groups of a server.

use super::find;
use super::printable::printable_json;
use super::report::{Report, number, reports};
use super::table::{duration, megabytes, table};
use crate::failure::Failure;
use crate::lines;
use crate::options::OfGroups;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// How long a manager may take to say what its workers do.
const LIMIT: u64 = 5;

/// The columns.
const HEAD: [&str; 12] = [
    "GROUP",
    "SLOT",
    "PID",
    "STATE",
    "AGE",
    "SERVED",
    "BUSY",
    "WAIT",
    "MEMORY",
    "PRIVATE",
    "CPU",
    "LAST EXIT",
];

/// Prints a line for each worker, and below it what it serves. The exit status is 1 where a group has not answered.
pub(crate) fn ps(options: &OfGroups) -> Result<ExitCode, Failure> {
    let limit = Duration::from_secs(options.control.timeout.unwrap_or(LIMIT));
    let groups = find::groups(&options.control, options.group.as_deref())?;
    let reports = reports(groups, limit);
    if options.control.json {
        let workers: Vec<Value> = reports.iter().flat_map(workers).collect();
        lines::to_standard_output(&printable_json(&json!({ "workers": workers })));
    } else {
        lines::to_standard_output(&text(&reports));
    }
    let mut is_complete = true;
    for report in &reports {
        if let Err(why) = &report.status {
            is_complete = false;
            let name = report.group.name();
            let line = super::printable::printable(&format!("process group '{name}': {why}"));
            lines::to_standard_error(&format!("mod_wsgi_rs: {line}\n"));
        }
    }
    Ok(ExitCode::from(u8::from(!is_complete)))
}

/// The workers of a group, for programs.
fn workers(report: &Report) -> Vec<Value> {
    let named = |worker: &Value| {
        let mut worker = worker.clone();
        if let Some(worker) = worker.as_object_mut() {
            worker.insert("group".to_owned(), report.group.name().into());
            worker.insert("server_pid".to_owned(), report.group.name.server.into());
        }
        worker
    };
    report.workers().iter().map(named).collect()
}

fn text(reports: &[Report]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for report in reports {
        for worker in report.workers() {
            rows.push(row(report, worker));
            let requests = worker["requests"].as_array().map_or(&[][..], Vec::as_slice);
            rows.extend(requests.iter().map(request));
        }
    }
    table(&rows)
}

fn row(report: &Report, worker: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let group = report.group.name();
    let slot = number(&worker["slot"]).to_string();
    let seconds = |value: &Value| value.as_f64().unwrap_or(0.0);
    if worker["pid"].as_u64().is_none() {
        // Nothing starts in a drained group.
        let next = match report.is_drained() {
            true => "-".to_owned(),
            false => format!("next in {}", duration(seconds(&worker["restart_in_seconds"]))),
        };
        let known = [group, slot, "-".to_owned(), text(&worker["state"]), next];
        let blank = std::iter::repeat_n(String::new(), HEAD.len() - 1 - known.len());
        return known.into_iter().chain(blank).chain([text(&worker["last_exit"])]).collect();
    }
    vec![
        group,
        slot,
        number(&worker["pid"]).to_string(),
        text(&worker["state"]),
        duration(seconds(&worker["age_seconds"])),
        number(&worker["served"]).to_string(),
        number(&worker["busy"]).to_string(),
        worker["waiting"].as_u64().map_or("-".to_owned(), |count| count.to_string()),
        megabytes(&worker["resident_bytes"]),
        megabytes(&worker["private_bytes"]),
        format!("{:.1} s", seconds(&worker["cpu_seconds"])),
        text(&worker["last_exit"]),
    ]
}

/// A line for a request, below that of its worker.
fn request(request: &Value) -> Vec<String> {
    let age = duration(request["age_seconds"].as_f64().unwrap_or(0.0));
    let line = request["line"].as_str().unwrap_or_default();
    // As long as the column is, it would push those of the workers apart.
    vec![String::new(), String::new(), String::new(), String::new(), age, line.to_owned()]
}
