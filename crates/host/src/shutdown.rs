//! The end of one process' Python: the event is published, interpreters are ended, CPython is finalised.
#![forbid(unsafe_code)]

use crate::cpython::{Attachment, Raised, is_attached};
use crate::failure;
use crate::gateway::current;
use crate::host::Host;
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::yielding::Yielding;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};
use wsgi::Level;

/// How long the end waits for what looks at Python: longer than an event loop is asked that has stopped, and may be shorter
/// than a lock is held.
const LOOK_LIMIT: Duration = Duration::from_millis(500);
const LOOK_POLL: Duration = Duration::from_millis(2);

impl Host {
    /// Publishes `process_stopping` with the reason. Then ends the interpreters and finalises
    /// Python: `threading` shutdown and `atexit` of each sub-interpreter, then of the main one. Leaves
    /// Python as it is while requests are being served (their threads could not survive it) and where
    /// the configuration says so.
    ///
    /// The calling thread may be in the middle of a request (prefork ends its children in a signal handler). If
    /// it is in Python code then, that holds the lock and will not go on, and nothing can be published.
    pub fn stop(&self, reason: &str) {
        if is_attached() {
            self.log.log(
                Level::Info,
                b"process_stopping is not published: a request is in Python code",
            );
            return self.report_end(reason);
        }
        current::forget();
        let Some(reporter) = self.reporter.get() else { return self.stop_python(reason) };
        reporter.stopping(reason, self.active());
        let active = self.active();
        // The reporter's thread needs the lock, too.
        let yielding = (active == 0).then(|| Yielding::of(self.interpreters.all().iter()));
        reporter.finish(active == 0);
        if let Some(yielding) = yielding {
            yielding.stop_all();
        }
        self.stop_python(reason);
        reporter.stopped(reason, active == 0, active);
    }

    /// Waits for what looks at Python, such as a report of stacks; whether nothing does any more. None begins once
    /// `stopping` is set.
    fn await_looks(&self) -> bool {
        let until = Instant::now() + LOOK_LIMIT;
        while self.is_looked_at() {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(LOOK_POLL);
        }
        true
    }

    fn stop_python(&self, reason: &str) {
        if let Some(slow) = self.slow.get() {
            slow.stop(self.active() == 0);
        }
        if !self.options.destroy_interpreters {
            self.publish_stopping(reason);
            return;
        }
        self.stopping.store(true, Ordering::SeqCst);
        if self.active() > 0 {
            self.publish_stopping(reason);
            self.log.log(Level::Info, b"requests are still being served; Python is not finalised");
            return;
        }
        if !self.await_looks() {
            self.publish_stopping(reason);
            let line = b"a thread still waits to look at Python, which is not finalised";
            self.log.log(Level::Info, line);
            return;
        }
        self.publish_stopping(reason);
        let all = self.interpreters.take_all();
        let mut yielding = Yielding::of(all.iter());
        let main = self.interpreters.main();
        let mut finalisable = true;
        for interpreter in all {
            if !Arc::ptr_eq(&interpreter, main) {
                finalisable &= self.end(&interpreter, &mut yielding);
            }
        }
        if finalisable {
            self.log.log(Level::Debug, b"finalising Python");
            yielding.stop(main);
            finalisable = main.python.finalize();
        }
        // Threads that use the runtime keep it from being finalised; applications still get their `atexit`.
        if !finalisable && let Some(attachment) = main.attach() {
            self.run_atexit(&attachment, "");
        }
    }

    /// Ends one sub-interpreter; returns whether it has been ended.
    fn end(&self, interpreter: &Arc<Interpreter>, yielding: &mut Yielding) -> bool {
        let python = &interpreter.python;
        let Some(attachment) = interpreter.attach() else { return false };
        // First: threading waits for the thread it takes for its main one, which is the one that
        // created the interpreter, and that thread's end is the end of its thread state.
        python.release_other_thread_states(&attachment);
        self.run_atexit(&attachment, &interpreter.name);
        drop(attachment);
        yielding.stop(interpreter);
        if python.end(&self.interpreters.main().python) {
            return true;
        }
        let line = format!(
            "daemon threads are still running in sub-interpreter '{}'; it is not destroyed",
            interpreter.name
        );
        self.log.log(Level::Info, line.as_bytes());
        yielding.start(interpreter);
        false
    }

    /// What CPython does first when an interpreter ends, done by hand to see afterwards whether
    /// daemon threads are left, which it would take for a fatal error: wait for the other threads of
    /// `threading`, then run `atexit`.
    fn run_atexit(&self, attachment: &Attachment, name: &str) {
        let py = attachment.py();
        let steps = || {
            let threading = py.import(c"threading")?;
            threading.call_method(c"_shutdown", [])?;
            // It must not be called again by CPython: it asserts that it is the first time.
            let nothing = py.import(c"builtins")?.attribute(c"bool")?;
            threading.set_attribute(c"_shutdown", &nothing)?;
            py.import(c"atexit")?.call_method(c"_run_exitfuncs", [])?;
            if self.options.interpreter(name).restrict_stdout {
                // CPython flushes it at the end, and would complain that it cannot.
                py.set_sys_attribute(c"stdout", &py.none())?;
            }
            Ok(())
        };
        if let Err(raised) = steps() {
            let raised: Raised<'_> = raised;
            let exception = raised.take();
            self.log
                .log(Level::Error, b"WSGI0098: exception raised while an interpreter was ended");
            failure::traceback(&exception, &mut |level, line| self.log.log(level, line.as_bytes()));
        }
    }
}
