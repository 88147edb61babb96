//! The command log-level: from which level lines of a group's processes reach the error log, and another one for now.

use super::find;
use super::printable::{printable, printable_json};
use crate::failure::Failure;
use crate::lines;
use crate::options::OfLogLevel;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// How long a manager may take.
const LIMIT: u64 = 5;

/// Prints the level, after it has been set where the command line names one.
pub(crate) fn log_level(options: &OfLogLevel) -> Result<ExitCode, Failure> {
    let group = find::group(&options.control, &options.group)?;
    let limit = Duration::from_secs(options.control.timeout.unwrap_or(LIMIT));
    let reply = match &options.level {
        Some(level) => group.ask("POST", &format!("/-/log-level?level={level}"), limit),
        None => group.ask("GET", "/-/log-level", limit),
    };
    let name = group.name();
    let failed =
        |why: String| Failure::server(printable(&format!("process group '{name}': {why}")));
    let reply = reply.map_err(|why| failed(why.to_string()))?;
    let body: Value = serde_json::from_str(&reply.body).unwrap_or(Value::Null);
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    let (200, Some(level), Some(configured)) = (reply.code, text("level"), text("configured"))
    else {
        return Err(failed(text("error").unwrap_or_else(|| reply.body.trim().to_owned())));
    };
    if options.control.json {
        let value = json!({ "group": name, "server_pid": group.name.server, "level": level,
            "configured": configured });
        lines::to_standard_output(&printable_json(&value));
    } else {
        let until = match level == configured {
            true => String::new(),
            false => format!(" until it is reloaded or Apache restarts (configured: {configured})"),
        };
        let line = format!("process group '{name}' logs at level {level}{until}");
        lines::to_standard_output(&format!("{}\n", printable(&line)));
    }
    Ok(ExitCode::SUCCESS)
}
