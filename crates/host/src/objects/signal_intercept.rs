//! `signal.signal` where the configuration keeps signals for Apache (`WSGIRestrictSignal`).

use crate::cpython::{Attached, Class, ExceptionKind, Instance, Object, Persistent, Result, Slots};
use crate::failure;
use crate::log::SharedLog;
use std::ffi::CStr;
use wsgi::Level;

/// A callable that takes a registration and forgets it, except in a process the application forked.
pub(crate) struct SignalIntercept {
    /// The real `signal.signal`.
    pub(crate) real: Option<Persistent>,
    /// The process whose signals are not the application's.
    pub(crate) process: u32,
    pub(crate) log: SharedLog,
}

impl Class for SignalIntercept {
    const NAME: &'static CStr = c"mod_wsgi.SignalIntercept";
    const SLOTS: Slots<Self> = Slots { call: Some(call), ..Slots::NONE };

    fn release(&mut self, py: Attached<'_>) {
        if let Some(real) = self.real.take() {
            real.clear(py);
        }
    }
}

fn call<'py>(
    this: &Instance<'_, 'py, SignalIntercept>,
    arguments: &Object<'py>,
) -> Result<'py, Object<'py>> {
    let py = this.py();
    if arguments.sequence_length() != 2 {
        return Err(py.raise(ExceptionKind::Type, "signal() takes a signal number and a handler"));
    }
    let (number, handler) = (arguments.sequence_item(0)?, arguments.sequence_item(1)?);
    if std::process::id() != this.process
        && let Some(real) = &this.real
    {
        return real.get(py).call([&number, &handler]);
    }
    let number = number.as_index()?;
    this.log.log(
        Level::Info,
        format!("callback registration for signal {number} ignored (WSGIRestrictSignal)")
            .as_bytes(),
    );
    failure::stack(py, &mut |line| this.log.log(Level::Info, line.as_bytes()));
    Ok(handler)
}
