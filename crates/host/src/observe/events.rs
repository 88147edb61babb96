//! Events: who wants to hear of them, and how they are told (reference section 6.4).
#![forbid(unsafe_code)]

use crate::cpython::{Attached, ExceptionKind, Object, Result, Shelf};
use crate::failure;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use wsgi::Level;

/// The callbacks of one interpreter, in lists that applications see and may change.
pub(crate) struct Subscribers {
    pub(crate) events: Shelf,
    pub(crate) shutdown: Shelf,
    pub(crate) signals: Shelf,
    /// `mod_wsgi.active_requests`, once somebody has looked at it.
    pub(crate) active_requests: OnceLock<Shelf>,
    /// Whether a `subscribe_` function has been called, for threads that are not attached.
    called: AtomicBool,
}

impl Subscribers {
    pub(crate) fn new(py: Attached<'_>) -> Result<'_, Self> {
        Ok(Self {
            events: Shelf::keep(py.list()?),
            shutdown: Shelf::keep(py.list()?),
            signals: Shelf::keep(py.list()?),
            active_requests: OnceLock::new(),
            called: AtomicBool::new(false),
        })
    }

    /// Adds a callback to one of the lists.
    pub(crate) fn add<'py>(&self, list: &Shelf, callback: &Object<'py>) -> Result<'py, ()> {
        self.called.store(true, Ordering::Relaxed);
        list.get(callback.py()).append(callback)
    }

    /// Whether anybody ever subscribed.
    pub(crate) fn any(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }

    /// Whether events of requests have to be built.
    pub(crate) fn hear_of_requests(&self, py: Attached<'_>) -> bool {
        self.events.get(py).sequence_length() > 0
    }

    /// Tells an event to those who hear of all, then to those of `special`.
    pub(crate) fn publish<'py>(
        &self,
        special: Option<&Shelf>,
        event: &Event<'py>,
        log: &mut dyn FnMut(Level, &str),
    ) {
        let py = event.payload.py();
        for list in std::iter::once(&self.events).chain(special) {
            // What a callback subscribes hears of the next event; what it removes still hears of this.
            let callbacks = match list.get(py).list_items() {
                Ok(callbacks) => callbacks,
                Err(raised) => return raised.clear(),
            };
            for index in 0..callbacks.sequence_length() {
                let told =
                    callbacks.sequence_item(index).and_then(|callback| event.tell(&callback));
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

/// Something that has happened, with what callbacks are told of it.
pub(crate) struct Event<'py> {
    name: &'static str,
    pub(crate) payload: Object<'py>,
}

impl<'py> Event<'py> {
    pub(crate) fn new(py: Attached<'py>, name: &'static str) -> Result<'py, Self> {
        Ok(Self { name, payload: py.dict()? })
    }

    /// Adds to what is told.
    pub(crate) fn put(&self, key: &str, value: &Object<'py>) -> Result<'py, ()> {
        self.payload.set_item(&self.payload.py().interned(key)?, value)
    }

    /// What is told now, after callbacks had their say.
    pub(crate) fn get(&self, key: &str) -> Result<'py, Option<Object<'py>>> {
        self.payload.item(&self.payload.py().interned(key)?)
    }

    /// Calls `callback(name, **payload)`. A dict that it returns is told to those after it as well.
    fn tell(&self, callback: &Object<'py>) -> Result<'py, ()> {
        let py = self.payload.py();
        let name = py.tuple([py.interned(self.name)?])?;
        let answer = callback.call_keywords(&name, &self.payload.dict_copy()?)?;
        if answer.is_dict() {
            self.payload.call_method(c"update", [&answer])?;
        }
        Ok(())
    }
}
