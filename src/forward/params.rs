//! A request as FastCGI params: the environ's variables, and what the daemon has to know beside them.
#![forbid(unsafe_code)]

use super::Group;
use crate::config::Settings;
use crate::environ;
use crate::handler::Application;
use crate::httpd::Request;
use fastcgi::{Extensions, PairList};
use std::cell::RefCell;
use wsgi::{Environ, Key, Steady};

/// What we want to receive beside plain FastCGI.
pub(super) const EXTENSIONS: Extensions = Extensions { log: true, file: true };
/// Bytes of memory that a thread keeps for each list.
const KEPT: usize = 16 * 1024;

/// The params of a request.
#[derive(Default)]
pub(super) struct Params {
    /// What it has in common with most requests of its application.
    pub(super) steady: PairList,
    /// Its own.
    pub(super) own: PairList,
}

thread_local! {
    static MEMORY: RefCell<Params> =
        const { RefCell::new(Params { steady: PairList::new(), own: PairList::new() }) };
}

impl Params {
    /// Those of `request`, in memory that this thread has used before.
    pub(super) fn of(
        request: &mut Request<'_>,
        settings: &Settings<'_>,
        application: &Application<'_>,
        group: &Group,
        queued: i64,
    ) -> Self {
        let mut params = MEMORY.take();
        params.steady.clear(KEPT);
        params.own.clear(KEPT);
        let mut writer = Writer { params: &mut params, group };
        environ::fill(request, settings, &mut writer);
        writer.time(Key::QueueStart, queued);
        if request.is_head() {
            params.own.pair(b"mod_wsgi.x-header-only", b"1");
        }
        let steady = &mut params.steady;
        for name in EXTENSIONS.names() {
            steady.pair(name.as_bytes(), b"1");
        }
        steady.pair(b"mod_wsgi.x-script", group.definition().inside(application.script));
        if let Some(modified) = application.modified {
            decimal(steady, b"mod_wsgi.x-modified", modified);
        }
        steady.pair(b"mod_wsgi.x-reloading", flag(settings.script_reloading));
        if settings.ignore_activity {
            steady.pair(b"mod_wsgi.x-ignore-activity", flag(true));
        }
        if request.log_level() != group.log_level() {
            decimal(steady, b"mod_wsgi.x-log-level", request.log_level().into());
        }
        steady.pair(b"mod_wsgi.callable_object", &application.callable);
        steady.pair(b"mod_wsgi.application_group", &application.application_group);
        params
    }

    /// Gives the memory back.
    pub(super) fn put_away(self) {
        MEMORY.set(self);
    }
}

const fn flag(value: bool) -> &'static [u8] {
    if value { b"1" } else { b"0" }
}

fn decimal(list: &mut PairList, name: &[u8], number: i64) {
    list.pair(name, number.to_string().as_bytes());
}

struct Writer<'a> {
    params: &'a mut Params,
    group: &'a Group,
}

impl Environ for Writer<'_> {
    fn steady(&mut self, steady: &Steady) {
        for (key, value) in steady.iter() {
            // What the worker can see it sees by another name.
            let value = match key {
                Key::ScriptFilename | Key::DocumentRoot => self.group.definition().inside(value),
                _ => value,
            };
            self.params.steady.pair(key.name().as_bytes(), value);
        }
    }

    fn set(&mut self, key: Key, value: &[u8]) {
        self.params.own.pair(key.name().as_bytes(), value);
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        let variable = name.iter().map(|&byte| match byte {
            b'-' => b'_',
            byte => byte.to_ascii_uppercase(),
        });
        self.params.own.pair_of(b"HTTP_", variable, value);
    }

    fn other(&mut self, name: &[u8], value: &[u8]) {
        self.params.own.pair(name, value);
    }

    fn time(&mut self, key: Key, micros: i64) {
        decimal(&mut self.params.own, key.name().as_bytes(), micros);
    }
}
