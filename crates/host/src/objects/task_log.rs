//! The log of the request that the running task belongs to, where an event loop serves requests: a thread serves many of
//! them at once then. How a task is known is not known here.
#![forbid(unsafe_code)]

use crate::cpython::Attached;
use crate::objects::json_line::JsonLine;
use std::sync::OnceLock;
use wsgi::Level;

/// The log of a request.
pub(crate) trait TaskLog {
    /// Writes text, a record of this level for each line that is complete; as JSON where there is one.
    fn text(&mut self, level: Level, text: &[u8], json: Option<&JsonLine>);
    /// Writes one line.
    fn line(&mut self, level: Level, line: &[u8]);
    /// Whether a line of this level would be written.
    fn logs(&self, level: Level) -> bool;
}

/// Calls a function with the log of the running task's request, if there is one.
pub(crate) type FindTaskLog = fn(Attached<'_>, &mut dyn FnMut(&mut dyn TaskLog));

static FIND: OnceLock<FindTaskLog> = OnceLock::new();

/// Makes known how the request of a task is found. The first one stays.
pub(crate) fn set_task_log(find: FindTaskLog) {
    let _ = FIND.set(find);
}

/// Calls `with` with the log of the running task's request; `None` where there is none.
pub(super) fn with_task_log<R>(
    py: Attached<'_>,
    mut with: impl FnMut(&mut dyn TaskLog) -> R,
) -> Option<R> {
    let find = FIND.get()?;
    let mut result = None;
    find(py, &mut |log| result = Some(with(log)));
    result
}
