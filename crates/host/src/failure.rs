//! How an exception is logged: a headline, then the traceback, a record for each line.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Exception, ExceptionKind, Object, Result};
use crate::hints;
use wsgi::Level;

/// How interpreters are named in log lines.
pub(crate) struct ErrorLocation<'a> {
    /// Empty for the main interpreter.
    pub(crate) application_group: &'a str,
    /// Empty in embedded mode.
    pub(crate) process_group: &'a str,
}

impl std::fmt::Display for ErrorLocation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.application_group.is_empty() {
            f.write_str("main interpreter")?;
        } else {
            write!(f, "sub-interpreter '{}'", self.application_group)?;
        }
        if self.process_group.is_empty() {
            f.write_str(" in embedded mode")
        } else {
            write!(f, " of daemon process '{}'", self.process_group)
        }
    }
}

/// Writes the records of an exception raised while a request was served, with a hint below them where the cause is a
/// known one. `variables`: the environ of the request, or what there is of it. `flag`: what the access log says of the
/// request, where it fails by this exception.
pub(crate) fn report<'py>(
    exception: &Exception<'py>,
    script: &str,
    place: &ErrorLocation<'_>,
    variables: Option<&Object<'py>>,
    flag: Option<&'static str>,
    log: &mut dyn FnMut(Level, &str),
) {
    let name = type_name(exception);
    let exit = exception.is(ExceptionKind::SystemExit);
    let (code, what) = if exit {
        ("WSGI0175", format!("{name} exception raised by WSGI script '{script}' ignored"))
    } else {
        ("WSGI0174", format!("{name} exception raised processing WSGI script '{script}'"))
    };
    let flag = flag.map(|flag| format!(" [{flag}]")).unwrap_or_default();
    log(Level::Error, &format!("{code}: [script {script}] {what} for {place}.{flag}"));
    let text = write_traceback(exception, log);
    let is_main = place.application_group.is_empty();
    if let Some(hint) = hint(&text, is_main) {
        log(Level::Error, &hint);
    } else if let Some(hint) = hints::of_exception(exception, script, variables) {
        log(Level::Error, &hint);
    }
}

/// Writes the traceback of an exception, with a hint below it where the cause is a known one.
pub(crate) fn traceback(exception: &Exception<'_>, log: &mut dyn FnMut(Level, &str)) {
    let text = write_traceback(exception, log);
    if let Some(hint) = hint(&text, true) {
        log(Level::Error, &hint);
    }
}

/// Writes the traceback of an exception, and returns it.
fn write_traceback(exception: &Exception<'_>, log: &mut dyn FnMut(Level, &str)) -> String {
    let text = match format(exception) {
        Ok(text) => text,
        Err(raised) => {
            raised.clear();
            format!("{}: (the traceback cannot be formatted)", type_name(exception))
        }
    };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        log(Level::Error, line);
    }
    text
}

/// Writes the calling thread's Python stack.
pub(crate) fn stack(py: Attached<'_>, log: &mut dyn FnMut(&str)) {
    let mut walk = || {
        let entries = py.import(c"traceback")?.call_method(c"format_stack", [])?;
        each_line(&entries, log)
    };
    if let Err(raised) = walk() {
        raised.clear();
    }
}

/// Calls `log` with each line of a list of texts, such as those of `traceback.format_stack`.
pub(crate) fn each_line<'py>(entries: &Object<'py>, log: &mut dyn FnMut(&str)) -> Result<'py, ()> {
    let entries = entries.iter()?;
    while let Some(entry) = entries.next()? {
        entry.to_text()?.lines().filter(|line| !line.trim().is_empty()).for_each(&mut *log);
    }
    Ok(())
}

/// The exception's class, bare.
pub(crate) fn type_name(exception: &Exception<'_>) -> String {
    let name = exception.class.attribute(c"__name__").and_then(|name| name.to_text());
    name.unwrap_or_else(|raised| {
        raised.clear();
        "Exception".to_owned()
    })
}

fn format<'py>(exception: &Exception<'py>) -> Result<'py, String> {
    let py = exception.class.py();
    let lines = py.import(c"traceback")?.call_method(
        c"format_exception",
        [&exception.class, &exception.value, &exception.traceback],
    )?;
    let mut text = String::new();
    let lines = lines.iter()?;
    while let Some(line) = lines.next()? {
        text.push_str(&line.to_text()?);
    }
    Ok(text)
}

/// How a sentence goes on about what a sub-interpreter cannot do.
pub(crate) const MAIN_INTERPRETER_ONLY: &str = "only works in the main interpreter; give the application \
    'WSGIApplicationGroup %{GLOBAL}', in a process group of its own if several applications need it.";

/// Advice for what wants the main interpreter, in whatever place of the chain of exceptions it has said so.
fn hint(text: &str, is_main: bool) -> Option<String> {
    // Texts of exceptions; lines of source are indented.
    let says = |part: &&str| text.lines().any(|line| !line.starts_with(' ') && line.contains(part));
    let known = [
        "do not yet support subinterpreters",
        "does not support loading in subinterpreters",
        "may only be initialized once per interpreter process",
        "Interpreter change detected",
    ];
    // What CPython says of os.fork(), multiprocessing and subprocess; from 3.12 on, with a lock of its own only.
    let forks = ["fork not supported for", "preexec_fn not supported within"];

    // In the main interpreter it means that the application has removed numpy from sys.modules.
    let elsewhere = ["cannot load module more than once per process"];
    let subject = if known.iter().any(says) || !is_main && elsewhere.iter().any(says) {
        "this extension module"
    } else if !is_main && forks.iter().any(says) {
        "a fork by Python"
    } else {
        return None;
    };
    Some(format!("Hint: {subject} {MAIN_INTERPRETER_ONLY}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_named_as_mod_wsgi_names_them() {
        let table = [
            ("", "", "main interpreter in embedded mode"),
            ("x|", "", "sub-interpreter 'x|' in embedded mode"),
            ("", "site", "main interpreter of daemon process 'site'"),
        ];
        for (application_group, process_group, text) in table {
            assert_eq!(ErrorLocation { application_group, process_group }.to_string(), text);
        }
    }

    #[test]
    fn an_extension_that_wants_the_main_interpreter_gets_a_hint() {
        let text =
            "Traceback …\nImportError: PyO3 modules do not yet support subinterpreters, see x";
        assert!(hint(text, true).is_some());
        let caught = format!("{text}\n\nThe above exception was …:\n\nTraceback …\nValueError: x");
        assert!(hint(&caught, true).is_some());
        assert!(
            hint("Traceback …\n  raise ImportError('Interpreter change detected')", true).is_none()
        );
        let numpy = "Traceback …\nImportError: cannot load module more than once per process";
        assert!(hint(numpy, false).is_some() && hint(numpy, true).is_none());
        let fork = "Traceback …\nRuntimeError: fork not supported for isolated subinterpreters";
        assert!(hint(fork, false).unwrap().starts_with("Hint: a fork by Python only works"));
        assert!(hint("ImportError: No module named 'x'", false).is_none());
    }
}
