//! The command stacks: what the threads of a group's workers do in Python.

use super::find;
use super::printable::{printable, printable_json};
use super::report::number;
use super::table::duration;
use crate::failure::Failure;
use crate::lines;
use crate::options::OfStacks;
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

/// How long a manager may take, which waits for its workers for four seconds.
const LIMIT: u64 = 6;

/// Prints the stacks of all threads. The exit status is 1 where those of a worker are missing.
pub(crate) fn stacks(options: &OfStacks) -> Result<ExitCode, Failure> {
    let limit = Duration::from_secs(options.control.timeout.unwrap_or(LIMIT));
    let group = find::group(&options.control, &options.group)?;
    let pid = options.pid.map(|pid| format!("?pid={pid}")).unwrap_or_default();
    let name = group.name();
    let failed =
        |why: String| Failure::server(printable(&format!("process group '{name}': {why}")));
    let reply = group
        .ask("GET", &format!("/-/stacks{pid}"), limit)
        .map_err(|why| failed(why.to_string()))?;
    let body = serde_json::from_str(&reply.body).unwrap_or(Value::Null);
    if reply.code != 200 {
        let why = body["error"].as_str().unwrap_or(reply.body.trim());
        return Err(failed(why.to_owned()));
    }
    let workers = list(&body["workers"]);
    if options.control.json {
        let server = group.name.server;
        let value = json!({ "group": name, "server_pid": server, "workers": workers });
        lines::to_standard_output(&printable_json(&value));
    } else {
        lines::to_standard_output(&text(workers));
    }
    let is_missing = workers.iter().any(|worker| !worker["error"].is_null());
    Ok(ExitCode::from(u8::from(is_missing)))
}

/// The stacks for people.
pub(super) fn text(workers: &[Value]) -> String {
    let mut text = String::new();
    for worker in workers {
        if !text.is_empty() {
            text.push('\n');
        }
        push_worker(&mut text, worker);
    }
    if workers.is_empty() {
        text.push_str("no worker runs\n");
    }
    text
}

fn push_worker(text: &mut String, worker: &Value) {
    let (threads, idle): (Vec<&Value>, Vec<&Value>) =
        list(&worker["threads"]).iter().partition(|thread| !list(&thread["frames"]).is_empty());
    let state = printable(worker["state"].as_str().unwrap_or("?"));
    let (pid, slot) = (number(&worker["pid"]), number(&worker["slot"]));
    let _ = writeln!(text, "worker {pid} (slot {slot}, {state})");
    if let Some(why) = worker["error"].as_str() {
        let _ = writeln!(text, "  {}", printable(why));
        return;
    }
    if worker["lock_obtained"] == false {
        text.push_str("  the GIL was not free within 0.25 s: thread names are missing");
        text.push_str(", and the tasks of an event loop\n");
    }
    for thread in threads {
        push_thread(text, thread);
    }
    for task in list(&worker["tasks"]) {
        let _ = write!(text, "  task {}", printable(task["name"].as_str().unwrap_or("?")));
        push_frames(text, task);
    }
    if !idle.is_empty() {
        let names: Vec<String> = idle.iter().map(|thread| label(thread)).collect();
        let _ = writeln!(text, "  not in Python: {}", names.join(", "));
    }
    if worker["incomplete"] == true {
        text.push_str("  some threads or frames are missing\n");
    }
}

fn push_thread(text: &mut String, thread: &Value) {
    let _ = write!(text, "  thread {}", label(thread));
    match thread["application_group"].as_str() {
        Some("") => text.push_str(", main interpreter"),
        Some(group) => drop(write!(text, ", application group '{}'", printable(group))),
        None => text.push_str(", interpreter of the application's own"),
    }
    push_frames(text, thread);
}

/// The request of a thread or a task, and its frames.
fn push_frames(text: &mut String, of: &Value) {
    if let Some(line) = of["request"]["line"].as_str() {
        let age = duration(of["request"]["age_seconds"].as_f64().unwrap_or(0.0));
        let _ = write!(text, ": {} for {age}", printable(line));
    }
    text.push('\n');
    for frame in list(&of["frames"]) {
        let text_of = |key: &str| printable(frame[key].as_str().unwrap_or("?"));
        let line = frame["line"].as_i64().unwrap_or(0);
        let _ = writeln!(text, "    {}:{line} {}", text_of("file"), text_of("function"));
    }
    let left_out = number(&of["frames_left_out"]);
    if left_out > 0 {
        let _ = writeln!(text, "    … {left_out} outer frames");
    }
}

/// Name and number of a thread.
fn label(thread: &Value) -> String {
    let name = printable(thread["name"].as_str().unwrap_or("?"));
    let id = thread["native_id"].as_u64().or_else(|| thread["ident"].as_u64()).unwrap_or(0);
    format!("{name} ({id})")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_have_their_requests_and_control_no_terminal() {
        let frame = json!({ "function": "View.get\x1b[2J", "file": "/srv/app.py", "line": 12 });
        let thread = json!({ "name": "wsgi-0", "ident": 1, "native_id": 4713, "application_group": "shop",
            "request": { "line": "GET /report", "age_seconds": 12.5 }, "frames": [frame.clone()],
            "frames_left_out": 3 });
        let idle = json!({ "name": "wsgi-1", "ident": 2, "native_id": null, "frames": [] });
        let worker = json!({ "slot": 0, "pid": 4711, "state": "ready", "error": null,
            "incomplete": false, "lock_obtained": false, "threads": [thread, idle],
            "tasks": [{ "name": "Task-7\x1b", "frames": [frame], "frames_left_out": 0,
                "request": { "line": "GET /", "age_seconds": 3.0 } }] });
        let failed = json!({ "slot": 1, "pid": 4712, "state": "starting", "error": "it starts" });
        let expected = "worker 4711 (slot 0, ready)\n  \
            the GIL was not free within 0.25 s: thread names are missing, and the tasks of an event loop\n  \
            thread wsgi-0 (4713), application group 'shop': GET /report for 12 s\n    \
            /srv/app.py:12 View.get\\u{1b}[2J\n    \
            … 3 outer frames\n  \
            task Task-7\\u{1b}: GET / for 3.0 s\n    \
            /srv/app.py:12 View.get\\u{1b}[2J\n  \
            not in Python: wsgi-1 (2)\n\n\
            worker 4712 (slot 1, starting)\n  it starts\n";
        assert_eq!(text(&[worker, failed]), expected);
        let nonsense = [json!(1), json!({ "threads": { "a": 1 } }), json!({ "threads": [[], 2] })];
        assert!(text(&nonsense).starts_with("worker 0 (slot 0, ?)\n"));
    }
}
