//! What is noted of a request beside its response, where events, metrics, reports of slow requests, lines of JSON or
//! `mod_wsgi.request_data()` need it. A request without any of them has none of this.
#![forbid(unsafe_code)]

use crate::asgi::facts::Facts;
use crate::cpython::{Attached, Object, Persistent, Result};
use crate::observe::activity::Activity;
use crate::observe::events::Subscribers;
use crate::observe::io_counters::IoCounters;
use crate::observe::loop_requests::LoopRequest;
use crate::observe::metrics::{Finished, Measurement, Timestamps};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What is noted of a request.
#[derive(Default)]
pub(super) struct Notes {
    /// Its identifier in the log.
    id: OnceLock<String>,
    data: Mutex<Data>,
    observed: OnceLock<Observed>,
}

/// `mod_wsgi.request_data()`, and its key in `mod_wsgi.active_requests`.
#[derive(Default)]
struct Data {
    dict: Option<Persistent>,
    listed: Option<String>,
}

/// A request that is observed from its start.
pub(super) struct Observed {
    /// Its number among those that are under way.
    number: usize,
    pub(super) request: Arc<LoopRequest>,
    pub(super) server_pid: u32,
    pub(super) timestamps: Timestamps,
    measurement: Option<Measurement>,
    /// Callbacks have been told of its start, and are to be told of the rest.
    is_told: AtomicBool,
    /// It has become an open WebSocket, which is no request that takes long.
    is_open: AtomicBool,
}

impl Observed {
    pub(super) fn new(
        number: usize,
        request: Arc<LoopRequest>,
        facts: &Facts,
        measured: bool,
    ) -> Self {
        let measurement = measured.then(|| Measurement::on_loop(request.since));
        Self {
            number,
            request,
            server_pid: facts.server_pid(),
            timestamps: facts.timestamps,
            measurement,
            is_told: AtomicBool::new(false),
            is_open: AtomicBool::new(false),
        }
    }

    /// Callbacks are being told of its start.
    pub(super) fn note_told(&self) {
        self.is_told.store(true, Ordering::Relaxed);
    }

    /// Whether callbacks have been told of its start.
    pub(super) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Relaxed)
    }

    /// It is an open WebSocket from now on.
    pub(super) fn note_open(&self, py: Attached<'_>, activity: &Activity) {
        self.is_open.store(true, Ordering::Relaxed);
        activity.loop_requests.remove(py, self.number, &self.request);
    }

    /// Notes its end in the figures of the process.
    pub(super) fn record(
        &self,
        py: Attached<'_>,
        activity: &Activity,
        status: u16,
        io: &IoCounters,
    ) {
        activity.loop_requests.remove(py, self.number, &self.request);
        if self.is_open.load(Ordering::Relaxed) {
            return;
        }
        let finished = Finished { status, timestamps: Some(self.timestamps), io, gil_wait: None };
        if let Some(measurement) = &self.measurement {
            activity.record_request(&finished, measurement);
        }
        if let Some(details) = &self.request.details {
            activity.record_slow(details, self.request.since, &finished, self.measurement);
        }
    }
}

impl Notes {
    /// The request's identifier in the log, where that is noted.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.get().map(String::as_str)
    }

    /// Notes the identifier. The first one stays.
    pub(super) fn keep_id(&self, id: String) {
        let _ = self.id.set(id);
    }

    /// Where the request is observed.
    pub(super) fn observed(&self) -> Option<&Observed> {
        self.observed.get()
    }

    /// Observes the request. The first time counts.
    pub(super) fn observe(&self, observed: Observed) {
        let _ = self.observed.set(observed);
    }

    /// The dict for the application's own data, which is listed where requests are. `id` gives the request's
    /// identifier.
    pub(super) fn data<'py>(
        &self,
        py: Attached<'py>,
        subscribers: &Subscribers,
        id: impl FnOnce() -> Option<String>,
    ) -> Result<'py, Object<'py>> {
        let known = self.lock().dict.as_ref().map(|dict| dict.get(py));
        let dict = match known {
            Some(dict) => dict,
            None => self.keep(py, py.dict()?),
        };
        // Nothing is locked while objects are made: a garbage collection could come back here.
        let is_listed = self.lock().listed.is_some();
        if let Some(list) = subscribers.active_requests.get().filter(|_| !is_listed)
            && let Some(id) = id()
        {
            list.get(py).set_item(&py.str(&id)?, &dict)?;
            self.lock().listed = Some(id);
        }
        Ok(dict)
    }

    /// Gives back what is kept of Python's, once the request is over.
    pub(super) fn end(&self, py: Attached<'_>, subscribers: &Subscribers) {
        let Data { dict, listed } = std::mem::take(&mut *self.lock());
        if let Some((id, list)) = listed.zip(subscribers.active_requests.get())
            && let Err(raised) = py.str(&id).and_then(|id| list.get(py).remove_item(&id))
        {
            raised.clear();
        }
        if let Some(dict) = dict {
            dict.clear(py);
        }
    }

    /// Keeps a new dict, unless another thread has been faster; the one that is kept.
    fn keep<'py>(&self, py: Attached<'py>, new: Object<'py>) -> Object<'py> {
        let candidate = Persistent::new(new.clone());
        let mut data = self.lock();
        let Some(known) = &data.dict else {
            data.dict = Some(candidate);
            return new;
        };
        let known = known.get(py);
        drop(data);
        candidate.clear(py);
        known
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
