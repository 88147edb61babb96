//! How the application of a request is found, and what becomes of its exceptions.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Exception, Object};
use crate::failure::{self, ErrorLocation};
use crate::gateway::target::{Served, Target};
use crate::interpreters::application::application as find_application;
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::load::{LoadFailure, Purpose, load};
use std::cell::RefCell;
use wsgi::Level;

/// The application of `target`, or how the request ends without it.
pub(super) fn application<'py>(
    py: Attached<'py>,
    interpreter: &Interpreter,
    process_group: &str,
    target: &Target<'_>,
    log: &mut dyn FnMut(Level, &[u8]),
) -> Result<Object<'py>, Served> {
    let log = RefCell::new(log);
    let write = |level, line: &str| (log.borrow_mut())(level, line.as_bytes());
    let failed = |status| {
        if target.is_elsewhere { Served::NotLoaded(status) } else { Served::LoadFailed(status) }
    };
    let place = ErrorLocation { application_group: &interpreter.name, process_group };
    let module = load(py, interpreter, &place, &target.script, Purpose::Request, None, &write)
        .map_err(|why| match why {
            LoadFailure::Status(status) => failed(status),
            LoadFailure::Outdated => Served::GivenBack,
        })?;
    find_application(interpreter, &place, &module, target, None, &write).ok_or_else(|| failed(500))
}

/// The lines about an exception that an application has raised.
pub(super) fn report(
    interpreter: &Interpreter,
    process_group: &str,
    script: &str,
    exception: &Exception<'_>,
) -> Vec<String> {
    let place = ErrorLocation { application_group: &interpreter.name, process_group };
    let mut lines = Vec::new();
    failure::report(exception, script, &place, None, None, &mut |_, line| {
        lines.push(line.to_owned());
    });
    lines
}
