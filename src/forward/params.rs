//! A request as FastCGI params: the environ's variables, and what the daemon has to know beside them.
#![forbid(unsafe_code)]

use super::Group;
use crate::application::Application;
use crate::config::Settings;
use crate::environ;
use crate::httpd::Request;
use fastcgi::{Extensions, PairList, param};
use std::cell::RefCell;
use wsgi::{CommonVariables, Environ, Key};

/// What we want to receive beside plain FastCGI.
pub(super) const EXTENSIONS: Extensions = Extensions { log: true, file: true };
/// Bytes of memory that a thread keeps for each list.
const KEPT: usize = 16 * 1024;

/// The params of a request.
pub(super) struct Params<'a> {
    memory: Memory,
    application: &'a Application<'a>,
    settings: &'a Settings<'a>,
    group: &'a Group,
    /// Where it is not the group's own.
    log_level: Option<u8>,
}

#[derive(Default)]
struct Memory {
    /// What the request has in common with most requests of its application.
    steady: CommonVariables,
    /// What stands for that, and for what the daemon has to know beside it.
    key: Vec<u8>,
    /// The request's own pairs.
    own: PairList,
}

thread_local! {
    static MEMORY: RefCell<Memory> = const {
        RefCell::new(Memory { steady: CommonVariables::new(), key: Vec::new(), own: PairList::new() })
    };
}

impl<'a> Params<'a> {
    /// Those of `request`, in memory that this thread has used before.
    pub(super) fn of(
        request: &mut Request<'_>,
        settings: &'a Settings<'a>,
        application: &'a Application<'a>,
        group: &'a Group,
        queued: i64,
    ) -> Self {
        let mut memory = MEMORY.take();
        memory.steady.clear();
        memory.own.clear(KEPT);
        environ::fill(request, settings, &mut memory);
        memory.time(Key::QueueStart, queued);
        // A filter that changes the body has to see one to tell its length, also for HEAD.
        if request.is_head() && !request.has_content_filter() {
            memory.own.pair(param::HEADER_ONLY, b"1");
        }
        let log_level = Some(request.log_level()).filter(|level| *level != group.log_level());
        let mut params = Self { memory, application, settings, group, log_level };
        params.make_key();
        params
    }

    /// The request is to go to another worker: it has not waited for that one until now.
    pub(super) fn queue_again(&mut self) {
        // The receiver takes the last one.
        self.memory.time(Key::QueueStart, wsgi::epoch_micros());
    }

    /// Gives the memory back.
    pub(super) fn put_away(self) {
        MEMORY.set(self.memory);
    }

    /// What stands for the steady pairs: if two requests to a group have the same key, they have the same
    /// steady pairs.
    pub(super) fn key(&self) -> &[u8] {
        &self.memory.key
    }

    /// The pairs of this request alone.
    pub(super) fn own(&self) -> &PairList {
        &self.memory.own
    }

    /// All that [`encode`](Self::encode) depends on, each part with its length in front.
    fn make_key(&mut self) {
        let Self { memory: Memory { steady, key, .. }, application, settings, log_level, .. } =
            self;
        key.clear();
        key.shrink_to(KEPT);
        key.extend_from_slice(&[
            settings.script_reloading.into(),
            settings.ignore_activity.into(),
            log_level.is_some().into(),
            log_level.unwrap_or_default(),
            application.modified.is_some().into(),
        ]);
        key.extend_from_slice(&application.modified.unwrap_or_default().to_ne_bytes());
        for text in [application.script, &application.callable, &application.application_group] {
            key.extend_from_slice(&text.len().to_ne_bytes());
            key.extend_from_slice(text);
        }
        key.extend_from_slice(steady.as_bytes());
    }

    /// Adds the steady pairs to `list`.
    pub(super) fn encode(&self, list: &mut PairList) {
        let Self { memory, application, settings, group, log_level } = self;
        let definition = group.definition();
        for (key, value) in memory.steady.iter() {
            // What the worker can see it sees by another name.
            let value = match key {
                Key::ScriptFilename | Key::DocumentRoot => definition.inside(value),
                _ => value,
            };
            list.pair(key.name().as_bytes(), value);
        }
        for name in EXTENSIONS.names() {
            list.pair(name.as_bytes(), b"1");
        }
        list.pair(param::SECRET, group.secret().as_bytes());
        list.pair(param::SCRIPT, definition.inside(application.script));
        if let Some(modified) = application.modified {
            decimal(list, param::MODIFIED, modified);
        }
        list.pair(param::RELOADING, flag(settings.script_reloading));
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

impl Environ for Memory {
    fn common(&mut self, steady: &CommonVariables) {
        self.steady.copy_from(steady);
    }

    fn set(&mut self, key: Key, value: &[u8]) {
        self.own.pair(key.name().as_bytes(), value);
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        let variable = name.iter().map(|&byte| match byte {
            b'-' => b'_',
            byte => byte.to_ascii_uppercase(),
        });
        self.own.pair_of(b"HTTP_", variable, value);
    }

    fn other(&mut self, name: &[u8], value: &[u8]) {
        // The daemon would take them for ours.
        if !wsgi::is_private_variable(name) {
            self.own.pair(name, value);
        }
    }

    fn time(&mut self, key: Key, micros: i64) {
        decimal(&mut self.own, key.name().as_bytes(), micros);
    }
}
