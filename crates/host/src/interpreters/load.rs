//! Scripts and the applications in them: loaded for a request, ahead of one, or to run by themselves; failures are
//! logged.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, ExceptionKind, Object};
use crate::failure::{self, ErrorLocation};
use crate::gateway::environ::EnvironCache;
use crate::gateway::target::Target;
use crate::hints;
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
    let Ok(module) = load(attachment.py(), interpreter, &place, &target.script, true, None, &log)
    else {
        return false;
    };
    if target.callable.is_empty() {
        return true;
    }
    let found = find_application(&interpreter.state.environ_cache, &module, target);
    interpreter.state.scripts.note_usable(&target.script, matches!(found, Ok(Some(_))));
    match found {
        Ok(Some(_)) => true,
        Ok(None) => false,
        Err(line) => {
            log(Level::Error, &line);
            if let Some(hint) =
                hints::of_callable(&module, &String::from_utf8_lossy(target.callable))
            {
                log(Level::Error, &hint);
            }
            false
        }
    }
}

/// The callable, or the log line about why there is none; `None` when memory is exhausted.
pub(crate) fn find_application<'py>(
    names: &EnvironCache,
    module: &Object<'py>,
    target: &Target<'_>,
) -> std::result::Result<Option<Object<'py>>, String> {
    let name = names.callable(module.py(), target.callable);
    match name.and_then(|name| module.item(&name)) {
        Ok(Some(application)) if application.is_callable() => Ok(Some(application)),
        Err(raised) => {
            raised.clear();
            Ok(None)
        }
        Ok(found) => {
            let script = String::from_utf8_lossy(target.script.path);
            let name = String::from_utf8_lossy(target.callable);
            let what = match found {
                None => "does not contain WSGI application".to_owned(),
                Some(object) => {
                    let kind = object.type_name();
                    format!("has a {kind}, which cannot be called, for WSGI application")
                }
            };
            Err(format!(
                "WSGI0089: [script {script}] Target WSGI script '{script}' {what} '{name}'."
            ))
        }
    }
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
        failure::report(exception, &script, &place, None, &mut |level, line| {
            log.log(level, line.as_bytes());
        });
    }
}

/// Why a request does not get the module of its script.
pub(crate) enum LoadFailure {
    /// It is not loaded, and this is the HTTP status of a request that needs it.
    Status(u16),
    /// It is old, and another process is to serve the request.
    Outdated,
}

/// The script's module dict, or why a request does not get it. `asks`: the script's own
/// `reload_required` is called. `variables`: what there is of the request's environ.
pub(crate) fn load<'py>(
    py: Attached<'py>,
    interpreter: &Interpreter,
    place: &ErrorLocation<'_>,
    file: &ScriptFile<'_>,
    asks: bool,
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
        failure::report(exception, &script(), place, variables, &mut |level, line| {
            log(level, line);
        });
    };
    let module = interpreter.state.scripts.module(py, file, asks, announce, report);
    if module.is_ok() && file.replacement.is_some_and(Replacement::ends_request) {
        return Err(LoadFailure::Outdated);
    }
    module.map_err(|why| {
        let (headline, exception) = why.headline(&script());
        log(Level::Error, &headline);
        if let Some(exception) = exception {
            report(exception);
        }
        LoadFailure::Status(why.status())
    })
}
