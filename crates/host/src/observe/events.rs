//! Events: the callbacks of their subscribers, and how they are called (reference section 6.4).
#![forbid(unsafe_code)]

use crate::cpython::{Attached, ExceptionKind, Object, Persistent, Result};
use crate::failure;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use wsgi::Level;

/// The callbacks of one interpreter, in lists that applications see and may change.
pub(crate) struct Subscribers {
    pub(crate) events: Persistent,
    pub(crate) shutdown: Persistent,
    pub(crate) signals: Persistent,
    /// `mod_wsgi.active_requests`, from its first use on.
    pub(crate) active_requests: OnceLock<Persistent>,
    /// Whether a `subscribe_` function has been called, for threads that are not attached.
    called: AtomicBool,
}

impl Subscribers {
    pub(crate) fn new(py: Attached<'_>) -> Result<'_, Self> {
        Ok(Self {
            events: Persistent::new(py.list()?),
            shutdown: Persistent::new(py.list()?),
            signals: Persistent::new(py.list()?),
            active_requests: OnceLock::new(),
            called: AtomicBool::new(false),
        })
    }

    /// Adds a callback to one of the lists.
    pub(crate) fn add<'py>(&self, list: &Persistent, callback: &Object<'py>) -> Result<'py, ()> {
        self.called.store(true, Ordering::Relaxed);
        list.get(callback.py()).append(callback)
    }

    /// Whether a `subscribe_` function has ever been called.
    pub(crate) fn any(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }

    /// Whether events of requests have to be built.
    pub(crate) fn subscribed_to_requests(&self, py: Attached<'_>) -> bool {
        self.events.get(py).sequence_length() > 0
    }

    /// Calls the subscribers to all events, then those in `special`; what they raise is logged.
    pub(crate) fn publish<'py>(
        &self,
        special: Option<&Persistent>,
        event: &Event<'py>,
        log: &mut dyn FnMut(Level, &str),
    ) {
        let py = event.payload.py();
        for list in std::iter::once(&self.events).chain(special) {
            // A callback that another one adds is called from the next event on; one that is removed is still called for
            // this event.
            let callbacks = match list.get(py).list_items() {
                Ok(callbacks) => callbacks,
                Err(raised) => return raised.clear(),
            };
            for index in 0..callbacks.sequence_length() {
                let told = callbacks
                    .sequence_item(index)
                    .and_then(|callback| event.call_subscriber(&callback));
                if let Err(raised) = told {
                    let exception = raised.take();
                    let code = if exception.is(ExceptionKind::SystemExit) {
                        "WSGI0190"
                    } else {
                        "WSGI0112"
                    };
                    let kind = failure::type_name(&exception);
                    let name = event.name;
                    log(
                        Level::Error,
                        &format!("{code}: {kind} raised by a callback for event '{name}'"),
                    );
                    failure::traceback(&exception, log);
                }
            }
        }
    }
}

/// An event and its keyword arguments.
pub(crate) struct Event<'py> {
    name: &'static str,
    pub(crate) payload: Object<'py>,
}

impl<'py> Event<'py> {
    pub(crate) fn new(py: Attached<'py>, name: &'static str) -> Result<'py, Self> {
        Ok(Self { name, payload: py.dict()? })
    }

    /// Adds a keyword argument.
    pub(crate) fn put(&self, key: &str, value: &Object<'py>) -> Result<'py, ()> {
        self.payload.set_item(&self.payload.py().interned(key)?, value)
    }

    /// A keyword argument, which callbacks may have changed.
    pub(crate) fn get(&self, key: &str) -> Result<'py, Option<Object<'py>>> {
        self.payload.item(&self.payload.py().interned(key)?)
    }

    /// Calls `callback(name, **payload)`. A dict that it returns is added to the arguments for the
    /// callbacks after it.
    fn call_subscriber(&self, callback: &Object<'py>) -> Result<'py, ()> {
        let py = self.payload.py();
        let name = py.tuple([py.interned(self.name)?])?;
        let answer = callback.call_keywords(&name, &self.payload.dict_copy()?)?;
        if answer.is_dict() {
            self.payload.call_method(c"update", [&answer])?;
        }
        Ok(())
    }
}
