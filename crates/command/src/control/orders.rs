//! The commands that change something: reload, drain, recycle.

use super::connection::Reply;
use super::find;
use super::group::Group;
use super::printable::{printable, printable_json};
use super::report::{Report, reports};
use crate::failure::Failure;
use crate::lines;
use crate::options::{Control, OfGroup, OfProcess};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::time::Duration;

/// How long an order may take, and how long a question.
const LIMIT: u64 = 120;
const QUESTION_LIMIT: Duration = Duration::from_secs(5);

/// Replaces all workers of a group, and returns when the last new one is ready and no old one accepts any more.
pub(crate) fn reload(options: &OfGroup) -> Result<ExitCode, Failure> {
    let group = find::group(&options.control, &options.group)?;
    let reply = order(&group, &options.control, "/-/reload")?;
    finish(&group, &options.control, &reply, "reloaded")
}

/// Has a group take no more requests, and returns when the last one is answered.
pub(crate) fn drain(options: &OfGroup) -> Result<ExitCode, Failure> {
    let group = find::group(&options.control, &options.group)?;
    let reply = order(&group, &options.control, "/-/drain")?;
    finish(&group, &options.control, &reply, "drained")
}

/// Replaces one worker, and returns when the new one is ready and the old one accepts no more.
pub(crate) fn recycle(options: &OfProcess) -> Result<ExitCode, Failure> {
    let pid = options.pid;
    let group = of_worker(&options.control, pid)?;
    let reply = order(&group, &options.control, &format!("/-/recycle?pid={pid}"))?;
    finish(&group, &options.control, &reply, "recycled")
}

/// The group that has this worker. A group says itself what workers it has, so one of another user than the process is not
/// asked.
fn of_worker(options: &Control, pid: u32) -> Result<Group, Failure> {
    let owner = std::fs::metadata(format!("/proc/{pid}"))
        .map_err(|_| Failure::server(format!("there is no process {pid}")))?
        .uid();
    let of_owner = |group: &Group| {
        std::fs::symlink_metadata(&group.path).is_ok_and(|socket| socket.uid() == owner)
    };
    let mut groups = find::groups(options, None)?;
    groups.retain(of_owner);
    let has = |report: &Report| {
        report.workers().iter().any(|worker| worker["pid"].as_u64() == Some(pid.into()))
    };
    let mut found = reports(groups, QUESTION_LIMIT).into_iter().filter(has);
    match (found.next(), found.next()) {
        (Some(report), None) => Ok(report.group),
        (Some(one), Some(other)) => Err(Failure::server(format!(
            "both {} and {} say that process {pid} is theirs",
            printable(&one.group.path.to_string_lossy()),
            printable(&other.group.path.to_string_lossy())
        ))),
        _ => Err(Failure::server(format!("process {pid} is no worker of a process group"))),
    }
}

fn order(group: &Group, options: &Control, target: &str) -> Result<Reply, Failure> {
    let limit = Duration::from_secs(options.timeout.unwrap_or(LIMIT));
    let failed = |why| format!("process group '{}': {why}", printable(&group.name()));
    group.ask("POST", target, limit).map_err(|why| Failure::server(printable(&failed(why))))
}

/// Prints what has become of an order; the exit status is 1 where it was not carried out.
fn finish(
    group: &Group,
    options: &Control,
    reply: &Reply,
    done: &str,
) -> Result<ExitCode, Failure> {
    let name = printable(&group.name());
    let is_done = reply.code == 200;
    // That of drain is a text.
    let body = serde_json::from_str(&reply.body).unwrap_or(Value::Null);
    if options.json {
        let mut value =
            json!({ "group": group.name(), "server_pid": group.name.server, "done": is_done });
        for key in ["replaced", "error", "workers_ready"] {
            if let Some(found) = body.get(key) {
                value[key] = found.clone();
            }
        }
        if !is_done && value.get("error").is_none() {
            value["error"] = reply.body.trim().into();
        }
        lines::to_standard_output(&printable_json(&value));
        return Ok(ExitCode::from(u8::from(!is_done)));
    }
    if !is_done {
        let why = body["error"].as_str().unwrap_or(reply.body.trim());
        let serving = match body["workers_ready"].as_u64() {
            Some(0) => "; no worker serves",
            Some(_) => "; the workers that were there go on with their code",
            None => "",
        };
        let why = printable(why);
        return Err(Failure::server(format!(
            "process group '{name}' is not {done}: {why}{serving}"
        )));
    }
    let mut text = format!("process group '{name}' is {done}\n");
    for worker in body["replaced"].as_array().map_or(&[][..], Vec::as_slice) {
        let pid = |key: &str| worker[key].as_u64().map_or("none".to_owned(), |pid| pid.to_string());
        text.push_str(&format!("  worker {} in place of {}\n", pid("pid"), pid("old_pid")));
    }
    lines::to_standard_output(&text);
    Ok(ExitCode::SUCCESS)
}
