//! Where the logs go, and in which format.

use super::facts::Facts;
use serde::Serialize;

/// The format of the lines that the launcher reads: fields between tabs, which Apache escapes in all that comes from
/// clients.
pub(crate) const REQUESTS: &str = "%{%Y-%m-%dT%H:%M:%S%z}t\\t%h\\t%m\\t%U%q\\t%>s\\t%B\\t%D";
/// The same for Apache's error log.
pub(crate) const ERRORS: &str = "%l\\t%m\\t%P\\t%M";

const COMMON: &str = "%h %l %u %t \"%r\" %>s %b";
const COMBINED: &str = "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-agent}i\"";

#[derive(Debug, Serialize)]
pub(super) struct LogFiles {
    error: String,
    error_format: Option<String>,
    level: String,
    access: Option<String>,
    access_format: String,
}

impl LogFiles {
    pub(super) fn new(facts: &Facts<'_>) -> Self {
        let logs = &facts.options.logs;
        let wants_requests = logs.access_log || facts.is_development();
        let usual = if facts.options.development.debug { "info" } else { "warn" };
        let (error, access) =
            match (facts.uses_pipes(), logs.log_to_terminal && logs.log_directory.is_none()) {
                (true, _) => (facts.in_root("errors.pipe"), facts.in_root("requests.pipe")),
                // Not /dev/stderr: it cannot be opened where it is a socket, or another user's.
                (false, true) => ("|/bin/cat >&2".to_owned(), "|/bin/cat".to_owned()),
                (false, false) => {
                    (file(facts, &logs.error_log_name), file(facts, &logs.access_log_name))
                }
            };
        let format = match logs.access_log_format.as_deref() {
            Some("combined") => COMBINED,
            None if facts.uses_pipes() => REQUESTS,
            None | Some("common") => COMMON,
            Some(format) => format,
        };
        Self {
            error,
            error_format: match (&logs.error_log_format, facts.uses_pipes()) {
                (None, true) => Some(ERRORS.to_owned()),
                (format, _) => format.clone(),
            },
            level: logs.log_level.clone().unwrap_or_else(|| usual.to_owned()),
            access: wants_requests.then_some(access),
            access_format: format.to_owned(),
        }
    }
}

/// A log file, or the program that begins new ones.
pub(super) fn file(facts: &Facts<'_>, name: &str) -> String {
    let logs = &facts.options.logs;
    let folder = logs.log_directory.as_deref().unwrap_or(facts.root.path());
    let path = Facts::path(&folder.join(name));
    if !logs.rotate_logs {
        return path;
    }
    let program = match &logs.rotatelogs_executable {
        Some(path) => Facts::path(path),
        None => crate::machine::find_program("rotatelogs".as_ref())
            .map_or_else(|| "rotatelogs".to_owned(), |path| path.display().to_string()),
    };
    format!("|{program} {path}.%Y-%m-%d-%H_%M_%S {}M", logs.max_log_size)
}
