//! The command status: how the groups of a server are, for people, programs and monitoring plugins.

use super::find;
use super::printable::{printable, printable_json};
use super::report::{Report, Severity, number, reports};
use super::table::{duration, table};
use crate::lines;
use crate::options::OfGroups;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// How long a manager may take to say how its group is.
const LIMIT: u64 = 5;

/// The columns.
const HEAD: [&str; 10] =
    ["GROUP", "STATE", "WORKERS", "BUSY", "WAIT", "OLDEST", "EXITS", "SINCE", "SERVER", "PROBLEM"];

/// Prints, and gives the exit status of a monitoring plugin: 0 if all is well, 1 for a warning, 2 if a group does not
/// serve, 3 if that is not known.
pub(crate) fn status(options: &OfGroups) -> ExitCode {
    let limit = Duration::from_secs(options.control.timeout.unwrap_or(LIMIT));
    let groups = match find::groups(&options.control, options.group.as_deref()) {
        Ok(groups) => groups,
        Err(why) => {
            let text = match options.control.json {
                true => printable_json(&json!({ "severity": "unknown", "error": why.to_string() })),
                false => format!("WSGI UNKNOWN: {why}\n"),
            };
            lines::to_standard_output(&text);
            return ExitCode::from(Severity::Unknown as u8);
        }
    };
    let reports = reports(groups, limit);
    let severities = reports.iter().map(|report| report.judge().0);
    let worst = severities.fold(Severity::Ok, Severity::worse);
    let text = match options.control.json {
        true => {
            let groups: Vec<Value> = reports.iter().map(Report::json).collect();
            printable_json(&json!({ "severity": worst.name(), "groups": groups }))
        }
        false => text(&reports, worst),
    };
    lines::to_standard_output(&text);
    ExitCode::from(worst as u8)
}

/// A line for monitoring plugins, and a table.
fn text(reports: &[Report], worst: Severity) -> String {
    let mut problems = reports.iter().filter_map(|report| {
        let why = report.judge().1?;
        Some(format!("'{}': {why}", report.group.name()))
    });
    let ready = reports.iter().filter(|report| report.judge().0 == Severity::Ok).count();
    let first = problems.next().map(|problem| format!("; {problem}")).unwrap_or_default();
    let more = match problems.count() {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    };
    let head = format!(
        "WSGI {}: {ready} of {} process groups well{first}{more}",
        worst.name().to_uppercase(),
        reports.len()
    );
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(reports.iter().map(row));
    format!("{}\n{}", printable(&head), table(&rows))
}

fn row(report: &Report) -> Vec<String> {
    let (group, why) = (report.group.name(), report.judge().1.unwrap_or_default());
    let server = report.group.name.server.to_string();
    let Ok(status) = &report.status else {
        let unknown = std::iter::repeat_n("-".to_owned(), 6);
        let known = [group, "?".to_owned()].into_iter();
        return known.chain(unknown).chain([server, why]).collect();
    };
    let seconds = |value: &Value| duration(value.as_f64().unwrap_or(0.0));
    let (ready, busy) = (number(&status["workers_ready"]), number(&status["requests_active"]));
    let exits = status["exits"].as_object();
    let by_itself = ["exited", "status", "signal", "killed", "time_limit", "oom", "start_failed"];
    let exits =
        by_itself.iter().map(|name| exits.map_or(0, |exits| exits.get(*name).map_or(0, number)));
    vec![
        group,
        status["condition"].as_str().unwrap_or("?").to_owned(),
        format!("{ready}/{}", number(&status["processes"]["most"])),
        format!("{busy}/{}", ready.saturating_mul(number(&status["capacity_per_worker"]))),
        status["queue_depth"].as_u64().map_or("-".to_owned(), |count| count.to_string()),
        if busy > 0 { seconds(&status["oldest_request_seconds"]) } else { "-".to_owned() },
        exits.fold(0, u64::saturating_add).to_string(),
        seconds(&status["manager"]["age_seconds"]),
        server,
        why,
    ]
}
