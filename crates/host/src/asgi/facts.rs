//! What events, metrics, reports of slow requests and lines of the log need of the variables of a request.
#![forbid(unsafe_code)]

use crate::observe::metrics::{Timestamps, seconds_now};
use crate::telemetry::RequestTexts;
use wsgi::{Environ, Key};

/// The variables, and when the request reached the stages of its life.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) texts: RequestTexts,
    pub(super) timestamps: Timestamps,
    uri: String,
}

impl Facts {
    /// Collects those that `fill` hands over, of a request whose application begins now.
    pub(super) fn collect(fill: impl FnOnce(&mut dyn Environ)) -> Self {
        let mut facts = Self::default();
        fill(&mut facts);
        facts.timestamps.application = seconds_now();
        facts
    }

    /// Method and target.
    pub(super) fn line(&self) -> String {
        let target = if self.uri.is_empty() { &self.texts.path_info } else { &self.uri };
        format!("{} {target}", self.texts.method)
    }

    /// The process of the web server that has the request, where that is known.
    pub(super) fn server_pid(&self) -> u32 {
        self.texts.server_pid.parse().unwrap_or(std::process::id())
    }
}

impl Environ for Facts {
    fn set(&mut self, key: Key, value: &[u8]) {
        let texts = &mut self.texts;
        let place = match key {
            Key::RequestMethod => &mut texts.method,
            Key::RequestUri => &mut self.uri,
            Key::PathInfo => &mut texts.path_info,
            Key::ScriptName => &mut texts.script_name,
            Key::UrlScheme => &mut texts.scheme,
            Key::ServerName => &mut texts.hostname,
            Key::ServerProtocol => &mut texts.protocol,
            Key::RemoteAddr => &mut texts.peer,
            Key::RequestId => &mut texts.log_id,
            Key::ServerPid => &mut texts.server_pid,
            _ => return,
        };
        *place = String::from_utf8_lossy(value).into_owned();
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"USER_AGENT") || name.eq_ignore_ascii_case(b"USER-AGENT") {
            self.texts.user_agent = String::from_utf8_lossy(value).into_owned();
        }
    }

    fn other(&mut self, _: &[u8], _: &[u8]) {}

    fn time(&mut self, key: Key, micros: i64) {
        let seconds = micros as f64 / 1e6;
        match key {
            Key::RequestStart => self.timestamps.request = seconds,
            Key::QueueStart => self.timestamps.queue = seconds,
            Key::DaemonStart => self.timestamps.daemon = seconds,
            _ => {}
        }
    }
}

/// The identifier of a request in the log.
#[derive(Default)]
pub(super) struct LogId(Option<String>);

impl LogId {
    /// The one among the variables that `fill` hands over.
    pub(super) fn find(fill: impl FnOnce(&mut dyn Environ)) -> Option<String> {
        let mut found = Self::default();
        fill(&mut found);
        found.0
    }
}

impl Environ for LogId {
    fn set(&mut self, key: Key, value: &[u8]) {
        if matches!(key, Key::RequestId) {
            self.0 = Some(String::from_utf8_lossy(value).into_owned());
        }
    }

    fn header(&mut self, _: &[u8], _: &[u8]) {}

    fn other(&mut self, _: &[u8], _: &[u8]) {}

    fn time(&mut self, _: Key, _: i64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifier_is_that_of_the_variables() {
        let fill = |environ: &mut dyn Environ| {
            environ.header(b"X", b"not this");
            environ.set(Key::RequestId, b"aXk");
            environ.set(Key::PathInfo, b"nor this");
        };
        assert_eq!(LogId::find(fill).as_deref(), Some("aXk"));
        assert_eq!(LogId::find(|_| ()), None);
    }

    #[test]
    fn line_has_the_target_as_it_was_sent_or_else_the_path() {
        let fill = |uri: &'static [u8]| {
            move |environ: &mut dyn Environ| {
                environ.set(Key::RequestMethod, b"GET");
                environ.set(Key::PathInfo, b"/a b");
                environ.set(Key::RequestUri, uri);
                environ.set(Key::ServerPid, b"17");
                environ.time(Key::QueueStart, 1_500_000);
            }
        };
        let facts = Facts::collect(fill(b"/a%20b?q"));
        assert_eq!((facts.line().as_str(), facts.server_pid()), ("GET /a%20b?q", 17));
        assert!(facts.timestamps.queue == 1.5 && facts.timestamps.request == 0.0);
        assert!(facts.timestamps.application > 1.5);
        assert_eq!(Facts::collect(fill(b"")).line(), "GET /a b");
    }
}
