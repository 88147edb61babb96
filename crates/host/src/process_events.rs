//! Events of the process, for applications that have subscribed to them: `process_signal`, `process_stopping`.
#![forbid(unsafe_code)]

use crate::cpython::{Persistent, Result};
use crate::failure;
use crate::host::Host;
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::yielding::Yielding;
use crate::observe::events::{Event, Subscribers};
use std::sync::Arc;
use wsgi::Level;

impl Host {
    /// Publishes a signal that this process got (`process_signal`): its name, such as `SIGUSR1`, and its number. Runs
    /// the callbacks in the calling thread.
    pub fn signal(&self, name: &str, number: i32) {
        for interpreter in self.with_subscribers() {
            let Some(attachment) = interpreter.attach() else { continue };
            let py = attachment.py();
            let subscribers = &interpreter.state.subscribers;
            let event = Event::new(py, "process_signal").and_then(|event| {
                event.put("signame", &py.str(name)?)?;
                event.put("signum", &py.int(number.into())?).map(|()| event)
            });
            self.publish_event(subscribers, &subscribers.signals, event);
        }
    }

    /// Publishes `process_stopping`, in every interpreter with subscribers.
    pub(crate) fn publish_stopping(&self, reason: &str) {
        let interpreters = self.with_subscribers();
        // A busy thread of another interpreter would not let this one in.
        let yielding =
            (!interpreters.is_empty()).then(|| Yielding::of(self.interpreters.all().iter()));
        for interpreter in interpreters {
            let Some(attachment) = interpreter.attach() else { continue };
            let py = attachment.py();
            let subscribers = &interpreter.state.subscribers;
            let event = Event::new(py, "process_stopping")
                .and_then(|event| event.put("shutdown_reason", &py.str(reason)?).map(|()| event));
            self.publish_event(subscribers, &subscribers.shutdown, event);
        }
        if let Some(yielding) = yielding {
            yielding.stop_all();
        }
    }

    fn publish_event<'py>(
        &self,
        subscribers: &Subscribers,
        special: &Persistent,
        event: Result<'py, Event<'py>>,
    ) {
        match event {
            Ok(event) => subscribers.publish(Some(special), &event, &mut |level, line| {
                self.log.log(level, line.as_bytes());
            }),
            Err(raised) => {
                let exception = raised.take();
                self.log
                    .log(Level::Error, b"WSGI0104: an event of the process cannot be published");
                failure::traceback(&exception, &mut |level, line| {
                    self.log.log(level, line.as_bytes());
                });
            }
        }
    }

    /// The interpreters in which an application has called a `subscribe_` function.
    fn with_subscribers(&self) -> Vec<Arc<Interpreter>> {
        let mut all = self.interpreters.all();
        all.retain(|interpreter| interpreter.state.subscribers.any());
        all
    }
}
