//! A request as FastCGI params: the environ's variables, and what the daemon has to know beside them.
#![forbid(unsafe_code)]

use super::Group;
use crate::config::Settings;
use crate::environ;
use crate::handler::Application;
use crate::httpd::Request;
use fastcgi::{ClientConnection, Extensions, Limits, ParamsWriter, WireError};
use wsgi::{Environ, Key};

/// Appends BEGIN_REQUEST and all PARAMS of `request` to `out`.
///
/// # Errors
/// When a limit of the wire is exceeded.
pub(super) fn write(
    request: &mut Request<'_>,
    settings: &Settings<'_>,
    application: &Application<'_>,
    group: &Group,
    queued: i64,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let mut client = ClientConnection::new(Limits::default());
    let extensions = Extensions { log: true, file: true };
    let mut params = Params { writer: client.begin(out, true, extensions), group };
    environ::fill(request, settings, &mut params);
    params.time(Key::QueueStart, queued);
    params.other(b"mod_wsgi.x-script", group.definition().inside(application.script));
    if let Some(modified) = application.modified {
        params.decimal(b"mod_wsgi.x-modified", modified);
    }
    params.other(b"mod_wsgi.x-reloading", flag(settings.script_reloading));
    if settings.ignore_activity {
        params.other(b"mod_wsgi.x-ignore-activity", flag(true));
    }
    params.other(b"mod_wsgi.x-header-only", flag(request.is_head()));
    if request.log_level() != group.log_level() {
        params.decimal(b"mod_wsgi.x-log-level", request.log_level().into());
    }
    params.other(b"mod_wsgi.callable_object", &application.callable);
    params.other(b"mod_wsgi.application_group", &application.application_group);
    params.other(b"mod_wsgi.process_group", group.name().as_bytes());
    params.writer.finish()
}

const fn flag(value: bool) -> &'static [u8] {
    if value { b"1" } else { b"0" }
}

struct Params<'a> {
    writer: ParamsWriter<'a>,
    group: &'a Group,
}

impl Params<'_> {
    fn decimal(&mut self, name: &[u8], number: i64) {
        self.writer.pair(name, number.to_string().as_bytes());
    }
}

impl Environ for Params<'_> {
    fn set(&mut self, key: Key, value: &[u8]) {
        // What the worker can see it sees by another name.
        let value = match key {
            Key::ScriptFilename | Key::DocumentRoot => self.group.definition().inside(value),
            _ => value,
        };
        self.writer.pair(key.name().as_bytes(), value);
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        let mut variable = Vec::with_capacity(name.len() + 5);
        variable.extend_from_slice(b"HTTP_");
        variable.extend(
            name.iter().map(|&byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }),
        );
        self.writer.pair(&variable, value);
    }

    fn other(&mut self, name: &[u8], value: &[u8]) {
        self.writer.pair(name, value);
    }

    fn time(&mut self, key: Key, micros: i64) {
        self.decimal(key.name().as_bytes(), micros);
    }
}
