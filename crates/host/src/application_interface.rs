//! Which interface an application has whose configuration does not say, as a use of a process' Python.
#![forbid(unsafe_code)]

use crate::failure::{self, ErrorLocation};
use crate::gateway::target::Target;
use crate::host::Host;
use crate::interpreters::application::application;
use crate::interpreters::interface::{ApplicationInterface, interface_of};
use crate::interpreters::load::{Purpose, load};
use wsgi::Level;

impl Host {
    /// The interface of the application of `target`; `None` where there is no application: the log has the reason, from
    /// the time when its script was loaded or from this one. The calling thread must not be attached to any interpreter.
    pub fn interface_of(&self, target: &Target<'_>) -> Option<ApplicationInterface> {
        let _active = self.guard_active()?;
        let interpreter = self.interpreter(target.application_group, target.main_interpreter)?;
        let attachment = interpreter.attach()?;
        let place = ErrorLocation {
            application_group: &interpreter.name,
            process_group: &self.options.process_group,
        };
        let log = |level: Level, line: &str| self.log.log(level, line.as_bytes());
        let (py, script) = (attachment.py(), &target.script);
        let module = load(py, &interpreter, &place, script, Purpose::Import, None, &log).ok()?;
        let found = application(&interpreter, &place, &module, target, None, &log)?;
        interface_of(&found)
            .map_err(|raised| {
                let script = String::from_utf8_lossy(script.path);
                let exception = raised.take();
                failure::report(&exception, &script, &place, None, None, &mut |level, line| {
                    log(level, line);
                });
            })
            .ok()
    }
}
