//! A request as FastCGI params: the environ's variables, and what the worker has to know beside them. It must
//! never know which worker that is.
#![forbid(unsafe_code)]

use crate::application::Application;
use crate::config::Settings;
use crate::environ;
use crate::groups::GroupPlan;
use crate::httpd::Request;
use fastcgi::{Extensions, PairList, PairListEnd, param};
use std::cell::RefCell;
use wsgi::{CommonVariables, Environ, Key};

/// Bytes of memory that a thread keeps for each list.
const MAX_REUSED_CAPACITY: usize = 16 * 1024;

/// The params of a request.
pub(super) struct Params<'a> {
    buffers: ParamBuffers,
    application: &'a Application<'a>,
    settings: &'a Settings<'a>,
    plan: &'a GroupPlan,
    /// The log level of the request where it is not that of the group, as an `APLOG_*` number.
    log_level: Option<u8>,
    /// When the request began to wait for its worker, in microseconds since the epoch.
    queued: i64,
    asks_for_websocket: bool,
    /// Since when the request waits for a worker with new code, in microseconds of [`scoreboard::now`], or from now on (0);
    /// `None`: it does not.
    waiting_since: Option<u64>,
    /// What every worker gets ends here, once the request has gone to a second one: what follows is for the last one.
    end_for_all: Option<PairListEnd>,
}

#[derive(Default)]
struct ParamBuffers {
    /// The variables that most requests of the application have in common.
    common: CommonVariables,
    /// All that the common params depend on; see [`Params::key`].
    key: Vec<u8>,
    /// The params of this request alone.
    request_params: PairList,
}

thread_local! {
    static BUFFERS: RefCell<ParamBuffers> = const {
        RefCell::new(ParamBuffers { common: CommonVariables::new(), key: Vec::new(), request_params: PairList::new() })
    };
}

impl<'a> Params<'a> {
    /// The params of `request`, in memory that this thread has used before. `queued` is when the request began to
    /// wait for a worker, in microseconds since the epoch.
    pub(super) fn of(
        request: &mut Request<'_>,
        settings: &'a Settings<'a>,
        application: &'a Application<'a>,
        plan: &'a GroupPlan,
        queued: i64,
    ) -> Self {
        let mut buffers = BUFFERS.take();
        buffers.common.clear();
        buffers.request_params.clear(MAX_REUSED_CAPACITY);
        environ::fill(request, settings, &mut buffers);
        buffers.time(Key::QueueStart, queued);
        // A filter that changes the body has to see one to tell its length, also for HEAD.
        if request.is_head() && !request.has_content_filter() {
            buffers.request_params.pair(param::HEADER_ONLY, b"1");
        }
        let log_level = Some(request.log_level()).filter(|level| *level != plan.log_level);
        let mut params = Self {
            buffers,
            application,
            settings,
            plan,
            log_level,
            queued,
            asks_for_websocket: false,
            waiting_since: None,
            end_for_all: None,
        };
        params.make_key();
        params
    }

    /// Has the request wait from now on: it goes to another worker, for which it has not waited so far.
    pub(super) fn restart_queue_clock(&mut self) {
        let list = &mut self.buffers.request_params;
        // However many workers get the request, its params do not grow.
        let end = *self.end_for_all.get_or_insert_with(|| list.end());
        list.cut(end);
        // The receiver takes the last value of a name.
        self.queued = wsgi::epoch_micros();
        self.buffers.time(Key::QueueStart, self.queued);
        self.add_waiting_since();
    }

    /// Has the request wait for a worker with new code, unless the first one has it.
    pub(super) fn wait_for_new_code(&mut self) {
        self.waiting_since = Some(0);
        self.add_waiting_since();
    }

    /// Has the request, which goes to another worker, wait for new code `since` then, in microseconds of
    /// [`scoreboard::now`]; `None`: no more.
    pub(super) fn restart_waiting_since(&mut self, since: Option<u64>) {
        self.waiting_since = since;
        self.restart_queue_clock();
    }

    /// Since when the request waits for new code, 0 where it has not waited yet; `None` where no worker may give it back for
    /// that.
    pub(super) const fn waiting_since(&self) -> Option<u64> {
        self.waiting_since
    }

    fn add_waiting_since(&mut self) {
        let list = &mut self.buffers.request_params;
        match self.waiting_since {
            Some(since) => list.pair(param::WAITING_SINCE, environ::decimal(since, &mut [0; 20])),
            None => list.pair(param::WAITING_SINCE, b""),
        }
    }

    /// When the request began to wait for the worker that it goes to, in microseconds since the epoch.
    pub(super) const fn queued(&self) -> i64 {
        self.queued
    }

    /// The request asks for a WebSocket, which may be accepted.
    pub(super) fn set_websocket(&mut self) {
        self.asks_for_websocket = true;
        self.buffers.request_params.pair(param::WEBSOCKET, b"1");
    }

    /// The body is read once the application asks for it.
    pub(super) fn set_continue(&mut self) {
        self.buffers.request_params.pair(param::CONTINUE, b"1");
    }

    /// The client may get early hints.
    pub(super) fn set_early_hints(&mut self) {
        self.buffers.request_params.pair(param::EARLY_HINTS, b"1");
    }

    /// Whether [`Self::set_websocket`] has been called.
    pub(super) const fn asks_for_websocket(&self) -> bool {
        self.asks_for_websocket
    }

    /// Gives the memory back to the thread.
    pub(super) fn return_buffers(self) {
        BUFFERS.set(self.buffers);
    }

    /// The key of the common params: two requests to a group that have equal keys have equal common params.
    pub(super) fn key(&self) -> &[u8] {
        &self.buffers.key
    }

    /// The params of this request alone.
    pub(super) fn request_params(&self) -> &PairList {
        &self.buffers.request_params
    }

    /// All that [`encode`](Self::encode) depends on, each part with its length in front.
    fn make_key(&mut self) {
        let Self {
            buffers: ParamBuffers { common, key, .. },
            application,
            settings,
            log_level,
            ..
        } = self;
        key.clear();
        key.shrink_to(MAX_REUSED_CAPACITY);
        key.extend_from_slice(&[
            settings.script_reloading.is_on().into(),
            settings.ignore_activity.into(),
            log_level.is_some().into(),
            log_level.unwrap_or_default(),
            application.modified.is_some().into(),
        ]);
        if let Some(version) = application.modified {
            key.extend_from_slice(&version.to_bytes());
        }
        for text in [application.script, &application.callable, &application.application_group] {
            key.extend_from_slice(&text.len().to_ne_bytes());
            key.extend_from_slice(text);
        }
        key.extend_from_slice(common.as_bytes());
    }

    /// Adds the common params to `list`. They are sent once for each connection, whose `extensions` stay the same.
    pub(super) fn encode(&self, list: &mut PairList, extensions: Extensions) {
        let Self { buffers, application, settings, plan, log_level, .. } = self;
        let definition = &plan.definition;
        for (key, value) in buffers.common.iter() {
            // After chroot= the worker sees the same file under another path.
            let value = match key {
                Key::ScriptFilename | Key::DocumentRoot => definition.inside(value),
                _ => value,
            };
            list.pair(key.name().as_bytes(), value);
        }
        for name in extensions.names() {
            list.pair(name.as_bytes(), b"1");
        }
        list.pair(param::SECRET, plan.secret.as_bytes());
        list.pair(param::SCRIPT, definition.inside(application.script));
        if let Some(version) = application.modified {
            list.pair(param::MODIFIED, version.to_string().as_bytes());
        }
        list.pair(param::RELOADING, flag(settings.script_reloading.is_on()));
        if plan.sockets.len() > 1 {
            list.pair(param::TRIES_OTHERS, flag(true));
        }
        if settings.ignore_activity {
            list.pair(param::IGNORE_ACTIVITY, flag(true));
        }
        if let Some(level) = log_level {
            decimal(list, param::LOG_LEVEL, (*level).into());
        }
        list.pair(param::CALLABLE_OBJECT, &application.callable);
        list.pair(param::APPLICATION_GROUP, &application.application_group);
    }
}

const fn flag(value: bool) -> &'static [u8] {
    if value { b"1" } else { b"0" }
}

fn decimal(list: &mut PairList, name: &[u8], number: i64) {
    match u64::try_from(number) {
        Ok(number) => list.pair(name, environ::decimal(number, &mut [0; 20])),
        Err(_) => list.pair(name, number.to_string().as_bytes()),
    }
}

impl Environ for ParamBuffers {
    fn common(&mut self, common: &CommonVariables) {
        self.common.copy_from(common);
    }

    fn set(&mut self, key: Key, value: &[u8]) {
        self.request_params.pair(key.name().as_bytes(), value);
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        let variable = name.iter().map(|&byte| match byte {
            b'-' => b'_',
            byte => byte.to_ascii_uppercase(),
        });
        self.request_params.pair_of(b"HTTP_", variable, value);
    }

    fn other(&mut self, name: &[u8], value: &[u8]) {
        // The worker would take them for those of Apache's child.
        if !wsgi::is_private_variable(name) {
            self.request_params.pair(name, value);
        }
    }

    fn time(&mut self, key: Key, micros: i64) {
        decimal(&mut self.request_params, key.name().as_bytes(), micros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastcgi::{Limits, Params as Received};

    #[test]
    fn no_variable_of_a_request_is_taken_for_a_param_of_ours() {
        let mut buffers = ParamBuffers::default();
        for name in [
            param::SECRET,
            param::SCRIPT,
            param::HEADER_ONLY,
            param::WEBSOCKET,
            b"mod_wsgi.x-later",
        ] {
            buffers.other(name, b"1");
        }
        buffers.other(b"mod_wsgi.input_chunked", b"1");
        buffers.header(b"X-Forwarded-For", b"2");
        let received = Received::parse(buffers.request_params.as_bytes(), &Limits::default());
        let names: Vec<_> = received.unwrap().iter().map(|(name, _)| name.to_vec()).collect();
        assert_eq!(names, [&b"mod_wsgi.input_chunked"[..], b"HTTP_X_FORWARDED_FOR"]);
    }
}
