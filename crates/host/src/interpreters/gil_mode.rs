//! How the interpreters of this process share its time: by one lock, by a lock each, or by none
//! (reference section 4.4). What this Python does not support is logged once and ignored.
#![forbid(unsafe_code)]

use crate::cpython::{FREE_THREADED, HAS_OWN_GIL};
use crate::log::SharedLog;
use crate::options::{HostOptions, InterpreterOptions};
use wsgi::Level;

/// The modes that this process uses of those that are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GilMode {
    /// Python runs without its lock.
    pub(crate) free_threading: bool,
}

impl GilMode {
    /// Decides, and logs options without effect.
    pub(crate) fn decide(options: &HostOptions, log: &SharedLog) -> Self {
        let warn = |line: &str| log.log(Level::Warning, line.as_bytes());
        if options.free_threading && !FREE_THREADED {
            warn("WSGI0200: WSGIFreeThreading has no effect: this Python is not built for it");
        }
        let free_threading = options.free_threading && FREE_THREADED;
        if options.interpreters().any(|own| own.own_gil) {
            if !HAS_OWN_GIL {
                warn("WSGI0198: WSGIPerInterpreterGIL has no effect: it needs Python 3.12");
            } else if free_threading {
                warn(
                    "WSGI0202: WSGIPerInterpreterGIL has no effect: with WSGIFreeThreading there is no lock",
                );
            }
        }
        if free_threading && options.interpreters().any(|own| own.switch_interval.is_some()) {
            let code = if options.process_group.is_empty() { "WSGI0203" } else { "WSGI0204" };
            warn(&format!(
                "{code}: WSGISwitchInterval has no effect: with WSGIFreeThreading threads do not switch"
            ));
        }
        Self { free_threading }
    }

    /// Whether a sub-interpreter gets a lock of its own.
    pub(crate) const fn own_gil(self, own: &InterpreterOptions) -> bool {
        own.own_gil && HAS_OWN_GIL && !self.free_threading
    }

    /// The switch interval to set in the interpreter `name`: it belongs to the lock, not to the
    /// interpreter.
    pub(crate) fn switch_interval(
        self,
        own: &InterpreterOptions,
        name: &str,
        log: &SharedLog,
    ) -> Option<f64> {
        let interval = own.switch_interval.filter(|_| !self.free_threading)?;
        if own.interval_is_its_own && !name.is_empty() && !self.own_gil(own) {
            let line = format!(
                "WSGI0199: WSGISwitchInterval has no effect for application group '{name}': it shares its \
                 lock with others, and the interval with it"
            );
            log.log(Level::Warning, line.as_bytes());
            return None;
        }
        Some(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl crate::log::ServerLog for Lines {
        fn log(&self, _: Level, line: &[u8]) {
            let code = String::from_utf8_lossy(line).chars().take(8).collect();
            self.0.lock().unwrap().push(code);
        }
    }

    #[test]
    fn an_interval_of_one_interpreter_must_not_reach_the_others() {
        let log = Arc::new(Lines::default());
        let shared: SharedLog = Arc::<Lines>::clone(&log);
        let modes = GilMode { free_threading: false };
        let all = InterpreterOptions {
            python_path: Vec::new(),
            switch_interval: Some(0.1),
            interval_is_its_own: false,
            restrict_stdin: false,
            restrict_stdout: false,
            print_level: Level::Error,
            json_records: false,
            restrict_signal: true,
            own_gil: false,
        };
        let its_own = InterpreterOptions { interval_is_its_own: true, ..all.clone() };
        let locked = InterpreterOptions { own_gil: true, ..its_own.clone() };
        assert_eq!(modes.switch_interval(&all, "x", &shared), Some(0.1));
        assert_eq!(modes.switch_interval(&its_own, "", &shared), Some(0.1));
        assert_eq!(modes.switch_interval(&locked, "x", &shared).is_some(), HAS_OWN_GIL);
        log.0.lock().unwrap().clear();
        assert_eq!(modes.switch_interval(&its_own, "x", &shared), None);
        assert_eq!(*log.0.lock().unwrap(), ["WSGI0199"]);
    }
}
