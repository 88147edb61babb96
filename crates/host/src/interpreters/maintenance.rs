//! What a process does with its Python beside serving requests: probes the lock, lists module files, forks, runs a
//! service script.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Fork, Result};
use crate::failure;
use crate::gateway::target::Target;
use crate::host::Host;
use crate::interpreters::load::run_service;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use wsgi::Level;

impl Host {
    /// Takes the main interpreter's lock and gives it back. Blocks as long as another thread keeps the lock
    /// (`deadlock-timeout`). How long that was; `None` once Python is being finalised.
    pub fn probe_gil(&self) -> Option<Duration> {
        let _look = self.guard_look()?;
        let begun = Instant::now();
        let attached = self.interpreters.main().attach();
        let wait = begun.elapsed();
        drop(attached);
        Some(wait)
    }

    /// The source files of all modules that are loaded, in any interpreter (`reload=On`).
    pub fn module_files(&self) -> Vec<PathBuf> {
        let Some(_look) = self.guard_look() else { return Vec::new() };
        let mut files = Vec::new();
        for interpreter in self.interpreters.all() {
            let Some(attachment) = interpreter.attach() else { continue };
            if let Err(raised) = collect_files(attachment.py(), &mut files) {
                raised.clear();
            }
        }
        files.sort();
        files.dedup();
        files
    }

    /// Collects garbage and then exempts everything that is left from collection, so that
    /// processes forked from this one go on sharing it (`gc.freeze`).
    pub fn freeze(&self) {
        let Some(attachment) = self.interpreters.main().attach() else { return };
        let py = attachment.py();
        let steps = || {
            let gc = py.import(c"gc")?;
            gc.call_method(c"collect", [])?;
            gc.call_method(c"freeze", [])?;
            Ok(())
        };
        let done: Result<'_, ()> = steps();
        if let Err(raised) = done {
            raised.clear();
        }
    }

    /// How many threads `threading` knows, the calling one included: the others do not survive a fork.
    pub fn python_threads(&self) -> usize {
        let Some(attachment) = self.interpreters.main().attach() else { return 0 };
        let py = attachment.py();
        let count = py
            .import(c"threading")
            .and_then(|threading| threading.call_method(c"active_count", []))
            .and_then(|count| count.as_i64());
        count.map_or_else(
            |raised| {
                raised.clear();
                0
            },
            |count| usize::try_from(count).unwrap_or(0),
        )
    }

    /// Forks this process by way of `fork`, which returns twice: with `Some` here, with `None` in the
    /// child, where this thread is the only one and can use Python. Only for the thread that started Python,
    /// while there is no interpreter but the main one.
    ///
    /// # Errors
    /// Those of `fork`.
    pub fn fork<T>(&self, fork: Fork<T>) -> io::Result<Option<T>> {
        self.interpreters.main().python.fork(fork)
    }

    /// Runs a service script to its end (`WSGIDaemonProcess threads=0`) on the thread that started Python.
    /// SIGTERM raises `SystemExit` in it, unless it sets another handler. Exceptions other than `SystemExit`
    /// are logged.
    pub fn run_service(&self, target: &Target<'_>) {
        if let Some(attachment) = self.interpreters.main().attach()
            && let Err(raised) = leave_at_sigterm(attachment.py())
        {
            let exception = raised.take();
            self.log.log(Level::Warning, b"SIGTERM will end the service script at once");
            failure::traceback(&exception, &mut |level, line| self.log.log(level, line.as_bytes()));
        }
        let found = self.interpreter(target.application_group, target.main_interpreter);
        if let Some(interpreter) = found {
            run_service(&interpreter, &self.options.process_group, target, &*self.log);
        }
    }
}

fn collect_files<'py>(py: Attached<'py>, files: &mut Vec<PathBuf>) -> Result<'py, ()> {
    // A copy: other threads may import modules meanwhile.
    let modules = py.modules().dict_copy()?.call_method(c"values", [])?.iter()?;
    let (key, names) = (py.interned("__file__")?, py.import(c"os")?.attribute(c"fsencode")?);
    while let Some(module) = modules.next()? {
        // Not by getattr: a module may have its own.
        let dict = match module.module_dict() {
            Ok(dict) => dict,
            Err(raised) => {
                raised.clear();
                continue;
            }
        };
        let Some(file) = dict.item(&key)?.filter(|file| file.is_str()) else { continue };
        let name = names.call([&file])?;
        if let Some(bytes) = name.as_bytes() {
            files.push(PathBuf::from(OsString::from_vec(bytes.to_vec())));
        }
    }
    Ok(())
}

/// `signal.signal(SIGTERM, …)` with a handler that raises `SystemExit`.
fn leave_at_sigterm(py: Attached<'_>) -> Result<'_, ()> {
    let signal = py.import(c"signal")?;
    let names = py.dict()?;
    let code = py.str("def leave(*ignored): raise SystemExit(0)")?;
    py.import(c"builtins")?.call_method(c"exec", [&code, &names])?;
    if let Some(leave) = names.item(&py.str("leave")?)? {
        signal.call_method(c"signal", [&signal.attribute(c"SIGTERM")?, &leave])?;
    }
    Ok(())
}
