//! How an exception is logged: a headline, then the traceback, a record for each line.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Exception, ExceptionKind, Object, Result};
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

/// Writes the records of an exception raised while a request was served.
pub(crate) fn report(
    exception: &Exception<'_>,
    script: &str,
    place: &ErrorLocation<'_>,
    log: &mut dyn FnMut(Level, &str),
) {
    let name = type_name(exception);
    let exit = exception.is(ExceptionKind::SystemExit);
    let (code, what) = if exit {
        ("WSGI0175", format!("{name} exception raised by WSGI script '{script}' ignored"))
    } else {
        ("WSGI0174", format!("{name} exception raised processing WSGI script '{script}'"))
    };
    log(Level::Error, &format!("{code}: [script {script}] {what} for {place}."));
    traceback(exception, log);
}

/// Writes the traceback of an exception, with a hint below it where the cause is a known one.
pub(crate) fn traceback(exception: &Exception<'_>, log: &mut dyn FnMut(Level, &str)) {
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
    if let Some(hint) = hint(&text) {
        log(Level::Error, hint);
    }
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

/// Advice for failures with one well-known cause.
fn hint(text: &str) -> Option<&'static str> {
    const SUBINTERPRETER: &str = "Hint: this extension module only works in the main interpreter; \
        give the application 'WSGIApplicationGroup %{GLOBAL}', in a process group of its own if \
        several applications need it.";
    let last = text.trim_end().lines().last().unwrap_or_default();
    let known = [
        "do not yet support subinterpreters",
        "does not support loading in subinterpreters",
        "may only be initialized once per interpreter process",
        "Interpreter change detected",
        "fork not supported for subinterpreters",
    ];
    known.iter().any(|part| last.contains(part)).then_some(SUBINTERPRETER)
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
        assert!(hint(text).is_some());
        assert!(hint("ImportError: No module named 'x'").is_none());
    }
}
