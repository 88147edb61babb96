//! Scripts: loaded for a request, ahead of one together with their application, or to run by themselves; failures are
//! logged.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, ExceptionKind, Object};
use crate::failure::{self, ErrorLocation};
use crate::gateway::target::Target;
use crate::interpreters::application::application;
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::script::{LoadKind, Replacement, ScriptFile};
use crate::log::ServerLog;
use wsgi::Level;

/// Loads a script outside of any request.
pub(crate) fn preload(
    interpreter: &Interpreter,
    process_group: &str,
    target: &Target<'_>,
    log: &dyn ServerLog,
) -> bool {
    let Some(attachment) = interpreter.attach() else { return false };
    let place = ErrorLocation { application_group: &interpreter.name, process_group };
    let log = |level, line: &str| log.log(level, line.as_bytes());
    let Ok(module) =
        load(attachment.py(), interpreter, &place, &target.script, Purpose::Import, None, &log)
    else {
        return false;
    };
    if target.callable.is_empty() {
        return true;
    }
    application(interpreter, &place, &module, target, None, &log).is_some()
}

/// Runs a script to its end; `SystemExit` is no failure.
pub(crate) fn run_service(
    interpreter: &Interpreter,
    process_group: &str,
    target: &Target<'_>,
    log: &dyn ServerLog,
) {
    let Some(attachment) = interpreter.attach() else { return };
    let script = String::from_utf8_lossy(target.script.path);
    let place = ErrorLocation { application_group: &interpreter.name, process_group };
    let line = format!("[script {script}] Running service script '{script}' in {place}.");
    log.log(Level::Info, line.as_bytes());
    let run =
        interpreter.state.scripts.module(attachment.py(), &target.script, false, |_| {}, |_| {});
    let Err(why) = run else { return };
    let (headline, exception) = why.headline(&script);
    if exception.is_some_and(|exception| exception.is(ExceptionKind::SystemExit)) {
        return;
    }
    log.log(Level::Error, headline.as_bytes());
    if let Some(exception) = exception {
        failure::report(exception, &script, &place, None, None, &mut |level, line| {
            log.log(level, line.as_bytes());
        });
    }
}

/// What a script is loaded for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An application that is to serve a request. The script's own `reload_required` is called.
    Request,
    /// It is to be there before the first request. The script's own `reload_required` is called.
    Import,
    /// Functions of a script of the server.
    Consultation,
}

/// Why a request does not get the module of its script.
pub(crate) enum LoadFailure {
    /// It is not loaded, and this is the HTTP status of a request that needs it.
    Status(u16),
    /// It is old, and another process is to serve the request.
    Outdated,
}

/// The script's module dict, or why a request does not get it. `variables`: what there is of the request's environ.
pub(crate) fn load<'py>(
    py: Attached<'py>,
    interpreter: &Interpreter,
    place: &ErrorLocation<'_>,
    file: &ScriptFile<'_>,
    purpose: Purpose,
    variables: Option<&Object<'py>>,
    log: &dyn Fn(Level, &str),
) -> std::result::Result<Object<'py>, LoadFailure> {
    // Only needed for log lines.
    let script = || String::from_utf8_lossy(file.path);
    let announce = |loading| {
        let script = script();
        let verb = if loading == LoadKind::First { "Loading" } else { "Reloading" };
        let line = format!("[script {script}] {verb} WSGI script '{script}' into {place}.");
        log(Level::Info, &line);
    };
    let report = |exception: &_| {
        failure::report(exception, &script(), place, variables, None, &mut |level, line| {
            log(level, line);
        });
    };
    let module = interpreter.state.scripts.module(
        py,
        file,
        purpose != Purpose::Consultation,
        announce,
        report,
    );
    if module.is_ok() && file.replacement.is_some_and(Replacement::ends_request) {
        return Err(LoadFailure::Outdated);
    }
    module.map_err(|why| {
        let (headline, exception) = why.headline(&script());
        let flag = if purpose == Purpose::Request { " [LF]" } else { "" };
        log(Level::Error, &format!("{headline}{flag}"));
        if let Some(exception) = exception {
            report(exception);
        }
        LoadFailure::Status(why.status())
    })
}
