//! The event loop of a process that serves applications of ASGI, as a use of its Python.
#![forbid(unsafe_code)]

use crate::asgi::{AsgiSettings, AsgiSource, Serving, run};
use crate::host::Host;
use crate::log::SharedLog;
use crate::observe::slow::SlowRequestThread;
use std::sync::Arc;

impl Host {
    /// Serves what comes from `source` on an event loop in the main interpreter, until the source ends it; whether there was
    /// a loop, else the reason has been logged. The calling thread must not be attached to any interpreter.
    pub fn run_event_loop(&self, source: Arc<dyn AsgiSource>, settings: AsgiSettings) -> bool {
        let Some(_active) = self.guard_active() else { return true };
        let limit = self.options.slow_requests;
        if let Some(limit) = limit {
            self.slow.get_or_init(|| SlowRequestThread::start(limit, &self.activity, &self.log));
        }
        let served = run(Serving {
            source,
            interpreter: Arc::clone(self.interpreters.main()),
            process_group: self.options.process_group.clone(),
            log: SharedLog::clone(&self.log),
            settings,
            activity: Arc::clone(&self.activity),
            watches: limit.is_some() || self.options.observable,
        });
        served.is_ok()
    }
}
