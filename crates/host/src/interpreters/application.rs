//! The application of a loaded script: an object of its module, or what a factory there makes; failures are logged. How a
//! script becomes a module is not known here.
#![forbid(unsafe_code)]

use crate::cpython::{Exception, ExceptionKind, Object, Raised};
use crate::failure::{self, ErrorLocation};
use crate::gateway::target::Target;
use crate::hints;
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::script::Reloading;
use wsgi::Level;

/// A callable object that is written so is what the function before it returns (`create_app()`).
const CALL: &[u8] = b"()";

/// The callable that `target` names in `module`; `None` where there is none, which the log then says. `variables`: what
/// there is of the request's environ.
pub(crate) fn application<'py>(
    interpreter: &Interpreter,
    place: &ErrorLocation<'_>,
    module: &Object<'py>,
    target: &Target<'_>,
    variables: Option<&Object<'py>>,
    log: &dyn Fn(Level, &str),
) -> Option<Object<'py>> {
    let found = find(interpreter, module, target);
    let (script, usable) = (&target.script, found.is_ok());
    // Most requests are for what is known to be usable.
    if !usable || script.reloading == Reloading::ByReplacement {
        interpreter.state.scripts.note_usable(script, usable);
    }
    found.map_err(|why| why.report(module, place, target, variables, log)).ok()
}

/// Why there is no application.
enum Missing<'py> {
    /// The module has no such name.
    Absent,
    /// The object of that name cannot be called: its type.
    NotCallable(String),
    /// The factory needs arguments: what Python says.
    Arguments(String),
    /// The factory has returned an object of this type.
    Made(String),
    /// The factory has raised.
    Raised(Exception<'py>),
    /// Python could not even look.
    Unknown,
}

impl<'py> From<Raised<'py>> for Missing<'py> {
    fn from(raised: Raised<'py>) -> Self {
        raised.clear();
        Self::Unknown
    }
}

fn find<'py>(
    interpreter: &Interpreter,
    module: &Object<'py>,
    target: &Target<'_>,
) -> Result<Object<'py>, Missing<'py>> {
    let name = interpreter.state.environ_cache.callable(module.py(), target.callable)?;
    match module.item(&name)? {
        Some(application) if application.is_callable() => Ok(application),
        Some(other) => Err(Missing::NotCallable(other.type_name())),
        None => match target.callable.strip_suffix(CALL) {
            Some(factory) => make(interpreter, module, target, factory, &name),
            None => Err(Missing::Absent),
        },
    }
}

/// Has the factory make the application, which later requests find in the module under its full name. One thread does,
/// and no script is loaded meanwhile.
fn make<'py>(
    interpreter: &Interpreter,
    module: &Object<'py>,
    target: &Target<'_>,
    factory: &[u8],
    name: &Object<'py>,
) -> Result<Object<'py>, Missing<'py>> {
    let py = module.py();
    let scripts = &interpreter.state.scripts;
    let _loading = scripts.loading(py);
    // The script may have been loaded again while this thread waited.
    let module = scripts.loaded(py, &target.script).unwrap_or_else(|| module.clone());
    if let Some(made) = module.item(name)? {
        return Ok(made);
    }
    let factory = module.item(&py.latin1(factory)?)?.ok_or(Missing::Absent)?;
    if !factory.is_callable() {
        return Err(Missing::NotCallable(factory.type_name()));
    }
    let made = factory.call0().map_err(|raised| {
        let exception = raised.take();
        // Raised by the call itself: no frame of the factory is in the traceback.
        if exception.is(ExceptionKind::Type) && exception.traceback.is_none() {
            return Missing::Arguments(exception.value.text());
        }
        Missing::Raised(exception)
    })?;
    if !made.is_callable() {
        return Err(Missing::Made(made.type_name()));
    }
    module.set_item(name, &made)?;
    Ok(made)
}

impl<'py> Missing<'py> {
    fn report(
        self,
        module: &Object<'py>,
        place: &ErrorLocation<'_>,
        target: &Target<'_>,
        variables: Option<&Object<'py>>,
        log: &dyn Fn(Level, &str),
    ) {
        let script = String::from_utf8_lossy(target.script.path);
        let name = String::from_utf8_lossy(target.callable);
        let what = match &self {
            Self::Unknown => return,
            Self::Raised(exception) => {
                let code = match exception.is(ExceptionKind::SystemExit) {
                    true => "WSGI0107",
                    false => "WSGI0109",
                };
                let line = format!(
                    "{code}: [script {script}] Factory '{name}' of WSGI script '{script}' has failed. [LF]"
                );
                log(Level::Error, &line);
                let mut log = |level, line: &str| log(level, line);
                return failure::report(exception, &script, place, variables, None, &mut log);
            }
            Self::Absent => format!("does not contain WSGI application '{name}'"),
            Self::NotCallable(kind) => {
                format!("has a {kind}, which cannot be called, for WSGI application '{name}'")
            }
            Self::Arguments(why) => format!(
                "has a factory that needs arguments for WSGI application '{name}': {why}; call it in the script, as \
                 in application = {}(...)",
                name.trim_end_matches("()")
            ),
            Self::Made(kind) => format!(
                "has a factory that returns a {kind}, which cannot be called, for WSGI application '{name}'"
            ),
        };
        let line =
            format!("WSGI0089: [script {script}] Target WSGI script '{script}' {what}. [LF]");
        log(Level::Error, &line);
        if matches!(self, Self::Absent | Self::NotCallable(_))
            && let Some(hint) = hints::of_callable(module, &name)
        {
            log(Level::Error, &hint);
        }
    }
}
