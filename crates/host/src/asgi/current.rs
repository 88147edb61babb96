//! Which request the running task belongs to: a context variable, so that what a request starts (`create_task`,
//! `to_thread`) belongs to it as well.
#![forbid(unsafe_code)]

use crate::asgi::gate::Gate;
use crate::asgi::request::Request;
use crate::cpython::{Attached, ClassRef, Instance, Object, Persistent, Result};
use crate::gateway::current::{TaskRequest, set_task_request};
use crate::objects::{JsonLine, TaskLog, set_task_log};
use crate::observe::events::Subscribers;
use std::sync::OnceLock;
use wsgi::Level;

/// The variable, and the class of its values, in the main interpreter: the only one that has an event loop of the
/// server's.
struct Current {
    variable: Persistent,
    class: ClassRef<Request>,
}

static CURRENT: OnceLock<Current> = OnceLock::new();

/// Makes the variable known. The first one stays.
pub(super) fn set_variable<'py>(variable: Object<'py>, class: ClassRef<Request>) {
    let _ = CURRENT.set(Current { variable: Persistent::new(variable), class });
    set_task_log(find);
    set_task_request(TaskRequest { data, id });
}

/// A new request as a Python object; `None` before the variable is known.
pub(super) fn instantiate(py: Attached<'_>, request: Request) -> Option<Result<'_, Object<'_>>> {
    Some(CURRENT.get()?.class.get(py).instantiate(request))
}

/// The request that a Python object is; `None` where that is something else.
pub(super) fn with_request<R>(object: &Object<'_>, with: impl FnOnce(&Request) -> R) -> Option<R> {
    let class = CURRENT.get()?.class.get(object.py());
    Instance::of(object, &class).map(|request| with(&request))
}

/// The value of the variable in the running task, or in a thread that it has started.
fn value(py: Attached<'_>) -> Result<'_, Option<Object<'_>>> {
    match CURRENT.get() {
        Some(current) => current.variable.get(py).context_value(),
        None => Ok(None),
    }
}

fn find(py: Attached<'_>, with: &mut dyn FnMut(&mut dyn TaskLog)) {
    let value = match value(py) {
        Ok(Some(value)) => value,
        Ok(None) => return,
        Err(raised) => return raised.clear(),
    };
    with_request(&value, |request| request.while_running(|gate| with(gate)));
}

/// `mod_wsgi.request_data()` of the running task's request, if there is one.
fn data<'py>(py: Attached<'py>, subscribers: &Subscribers) -> Result<'py, Option<Object<'py>>> {
    let Some(value) = value(py)? else { return Ok(None) };
    with_request(&value, |request| request.data(py, subscribers)).unwrap_or(Ok(None))
}

/// The identifier in the log of the running task's request, if there is one.
fn id(py: Attached<'_>) -> Result<'_, Option<String>> {
    let Some(value) = value(py)? else { return Ok(None) };
    Ok(with_request(&value, Request::id).flatten())
}

impl TaskLog for Gate {
    fn text(&mut self, level: Level, text: &[u8], json: Option<&JsonLine>) {
        self.log_text(level, text, json);
    }

    fn line(&mut self, level: Level, line: &[u8]) {
        self.log(level, line);
    }

    fn logs(&self, level: Level) -> bool {
        Self::would_log(self, level)
    }
}
