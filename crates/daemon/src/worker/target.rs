//! Which application a request is for, read from its params. It never looks at what the client sent.
#![forbid(unsafe_code)]

use crate::probe::Probe;
use crate::worker::file_version;
use fastcgi::{Extensions, Params, param};
use group_config::GroupConfig;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use wsgi::{CommonVariables, FileVersion, Key};

/// An application as a web server names it, and what holds for all of its requests.
#[derive(Debug, Default)]
pub(crate) struct Application {
    pub(crate) script: Vec<u8>,
    pub(crate) callable: Vec<u8>,
    pub(crate) application_group: Vec<u8>,
    /// Whether a changed script is to be noticed.
    pub(crate) reloading: bool,
    /// What is written to the log, where that is not the group's own level.
    pub(crate) log_level: Option<u8>,
    /// Whether the request keeps the worker from being idle (`WSGIIgnoreActivity`).
    pub(crate) is_activity: bool,
    /// Whether a request whose script this worker cannot load may go to another worker.
    pub(crate) tries_others: bool,
    /// What the web server takes beside plain FastCGI.
    pub(crate) extensions: Extensions,
    /// The Apache module has sent the request.
    pub(crate) from_module: bool,
    /// The request has the group's secret, or the group has none.
    pub(crate) is_trusted: bool,
    /// Variables that its requests have in common, and those of them that have no [`Key`].
    pub(crate) common: CommonVariables,
    pub(crate) others: Vec<(Vec<u8>, Vec<u8>)>,
    modified: Option<FileVersion>,
}

impl Application {
    /// The one that the params of a single request name. The application of `config`, if it has one, goes
    /// before what they name.
    pub(crate) fn read(params: Params<'_>, config: &GroupConfig) -> Self {
        let mut it = Self { reloading: true, is_activity: true, ..Self::default() };
        it.is_trusted = config.secret.is_none();
        let is_secret = |value: &[u8]| {
            config.secret.as_ref().is_some_and(|secret| is_same(secret.as_bytes(), value))
        };
        let mut filename: &[u8] = &[];
        for (name, value) in params {
            match name {
                param::SCRIPT => {
                    it.script = value.to_vec();
                    it.from_module = true;
                }
                param::SECRET | param::FRONT_END_SECRET => it.is_trusted |= is_secret(value),
                param::MODIFIED => it.modified = FileVersion::parse(value),
                param::RELOADING => it.reloading = value != b"0",
                param::TRIES_OTHERS => it.tries_others = value == b"1",
                param::IGNORE_ACTIVITY => it.is_activity = value != b"1",
                param::LOG_LEVEL => it.log_level = number(value),
                param::CALLABLE_OBJECT => it.callable = value.to_vec(),
                param::APPLICATION_GROUP => it.application_group = value.to_vec(),
                b"SCRIPT_FILENAME" => filename = value,
                _ => {}
            }
        }
        if let Some(application) = &config.application {
            it.script = application.script.as_os_str().as_bytes().to_vec();
            it.callable = application.callable.as_bytes().to_vec();
            it.application_group.clear();
            it.modified = None;
        } else if !it.from_module {
            it.script = filename.to_vec();
        }
        if it.callable.is_empty() {
            it.callable = b"application".to_vec();
        }
        it.extensions = Extensions::from_params(params);
        it
    }

    /// The application of `config`, whatever the params name; with none there no request is trusted. Of the params the secret
    /// alone counts.
    pub(crate) fn of_config(params: Params<'_>, config: &GroupConfig) -> Self {
        let mut it = Self { reloading: true, is_activity: true, ..Self::default() };
        let secret = params.get(param::FRONT_END_SECRET).unwrap_or_default();
        if let Some(application) = &config.application {
            it.script = application.script.as_os_str().as_bytes().to_vec();
            it.callable = application.callable.as_bytes().to_vec();
            it.is_trusted = config.secret.as_ref().is_none_or(|it| is_same(it.as_bytes(), secret));
        }
        it
    }

    /// The one that params name which many requests have in common.
    pub(crate) fn from_common_params(params: Params<'_>, config: &GroupConfig) -> Self {
        let mut it = Self::read(params, config);
        for (name, value) in params {
            match Key::from_name(name) {
                Some(key) => it.common.set(key, value),
                None if is_private(name) => {}
                None => it.others.push((name.to_vec(), value.to_vec())),
            }
        }
        it
    }

    /// The version of the script file: as the web server has seen it, else as it is now.
    pub(crate) fn modified(&self) -> Option<FileVersion> {
        self.modified
            .or_else(|| file_version::version(Path::new(std::ffi::OsStr::from_bytes(&self.script))))
    }
}

/// Whether two texts are equal, found out in a time that does not depend on where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differences) == 0
}

/// Whether a variable is for this program alone, or set by the gateway itself.
pub(crate) fn is_private(name: &[u8]) -> bool {
    wsgi::is_private_variable(name)
        || name.starts_with(b"MOD_WSGI_RS_")
        || matches!(name, param::CALLABLE_OBJECT | param::APPLICATION_GROUP)
}

/// What the params of a request say beside its application.
#[derive(Debug)]
pub(crate) struct RequestParams<'a> {
    /// When the web server began to look for a worker, in microseconds since the epoch.
    pub(crate) queued: Option<i64>,
    /// Since when the request waits for a worker with new code, in microseconds of [`scoreboard::now`]; `None`: it
    /// does not wait.
    pub(crate) waiting_since: Option<u64>,
    /// The client gets the body of the answer.
    pub(crate) wants_body: bool,
    /// It is a question about the daemon's health.
    pub(crate) probe: Option<Probe>,
    /// The client asks for a WebSocket.
    pub(crate) is_websocket: bool,
    /// The web server reads the body once the application asks for it.
    pub(crate) is_body_withheld: bool,
    /// The client may get early hints.
    pub(crate) takes_early_hints: bool,
    /// Method and URL of the request, as far as the params name them.
    pub(crate) method: &'a [u8],
    pub(crate) uri: &'a [u8],
}

impl<'a> RequestParams<'a> {
    /// Reads them. Of a request that is `remote` no param counts that the Apache module alone sends.
    pub(crate) fn read(params: Params<'a>, remote: bool) -> Self {
        let mut asked = Self {
            queued: None,
            waiting_since: None,
            wants_body: true,
            probe: None,
            is_websocket: false,
            is_body_withheld: false,
            takes_early_hints: false,
            method: b"",
            uri: b"",
        };
        for (name, value) in params {
            match name {
                param::HEADER_ONLY
                | param::WEBSOCKET
                | param::CONTINUE
                | param::EARLY_HINTS
                | param::WAITING_SINCE
                | b"mod_wsgi.queue_start"
                    if remote => {}
                param::HEADER_ONLY => asked.wants_body = value != b"1",
                param::WEBSOCKET => asked.is_websocket = value == b"1",
                param::CONTINUE => asked.is_body_withheld = value == b"1",
                param::EARLY_HINTS => asked.takes_early_hints = value == b"1",
                param::WAITING_SINCE => asked.waiting_since = number(value),
                b"mod_wsgi.queue_start" => asked.queued = number(value),
                b"REQUEST_URI" => asked.uri = value,
                b"SCRIPT_NAME" => {
                    asked.probe = asked.probe.or_else(|| Probe::of_path(value));
                    if asked.uri.is_empty() {
                        asked.uri = value;
                    }
                }
                b"PATH_INFO" => asked.probe = asked.probe.or_else(|| Probe::of_path(value)),
                b"REQUEST_METHOD" => {
                    asked.method = value;
                    asked.wants_body &= value != b"HEAD";
                }
                _ => {}
            }
        }
        asked
    }
}

fn number<N: std::str::FromStr>(value: &[u8]) -> Option<N> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastcgi::{Limits, PairList};

    fn block(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut list = PairList::new();
        pairs.iter().for_each(|(name, value)| list.pair(name.as_bytes(), value.as_bytes()));
        list.as_bytes().to_vec()
    }

    fn asked(pairs: &[(&str, &str)], config: &GroupConfig) -> Application {
        Application::read(Params::parse(&block(pairs), &Limits::default()).unwrap(), config)
    }

    #[test]
    fn the_module_names_the_script_and_others_have_script_filename() {
        let config = GroupConfig::default();
        let ours = [("SCRIPT_FILENAME", "/a"), ("mod_wsgi.x-script", "/b")];
        let it = asked(&ours, &config);
        assert_eq!(
            (it.script, it.from_module, it.callable),
            (b"/b".into(), true, b"application".into())
        );
        let it = asked(&[("SCRIPT_FILENAME", "/a")], &config);
        assert_eq!((it.script, it.from_module), (b"/a".into(), false));
    }

    #[test]
    fn the_one_application_is_served_whatever_is_asked() {
        let application =
            group_config::Application { script: "/srv/app.py".into(), callable: "main".into() };
        let config = GroupConfig { application: Some(application), ..GroupConfig::default() };
        let it =
            asked(&[("mod_wsgi.x-script", "/b"), ("mod_wsgi.application_group", "x")], &config);
        assert_eq!((it.script, it.callable), (b"/srv/app.py".into(), b"main".into()));
        assert!(it.application_group.is_empty());
    }

    #[test]
    fn request_over_tcp_names_neither_code_nor_extensions_nor_settings() {
        let pairs = [
            ("SCRIPT_FILENAME", "/tmp/evil.py"),
            ("mod_wsgi.x-script", "/tmp/evil.py"),
            ("mod_wsgi.callable_object", "evil"),
            ("mod_wsgi.application_group", "evil"),
            ("mod_wsgi.x-reloading", "0"),
            ("mod_wsgi.x-log-level", "8"),
            ("MOD_WSGI_RS_LOG", "1"),
            ("MOD_WSGI_RS_FILE", "1"),
        ];
        let block = block(&pairs);
        let params = Params::parse(&block, &Limits::default()).unwrap();
        let application =
            group_config::Application { script: "/srv/app.py".into(), callable: "main".into() };
        let mut config = GroupConfig { application: Some(application), ..GroupConfig::default() };
        let it = Application::of_config(params, &config);
        assert_eq!((it.script, it.callable), (b"/srv/app.py".into(), b"main".into()));
        assert!(it.application_group.is_empty() && it.reloading && it.is_trusted);
        assert!(!it.from_module && it.log_level.is_none());
        assert_eq!(it.extensions, Extensions::default());
        config.application = None;
        assert!(!Application::of_config(params, &config).is_trusted);
    }

    #[test]
    fn request_needs_the_secret_that_there_is() {
        let application =
            group_config::Application { script: "/srv/app.py".into(), callable: "main".into() };
        let config = GroupConfig {
            application: Some(application),
            secret: Some("s3cret".into()),
            ..GroupConfig::default()
        };
        for (name, value, trusted) in [
            ("MOD_WSGI_RS_SECRET", "s3cret", true),
            ("MOD_WSGI_RS_SECRET", "s3cre", false),
            ("MOD_WSGI_RS_SECRET", "", false),
            ("HTTP_MOD_WSGI_RS_SECRET", "s3cret", false),
        ] {
            let block = block(&[(name, value)]);
            let params = Params::parse(&block, &Limits::default()).unwrap();
            assert_eq!(Application::of_config(params, &config).is_trusted, trusted, "{value}");
            assert_eq!(Application::read(params, &config).is_trusted, trusted, "{value}");
        }
    }

    #[test]
    fn what_requests_have_in_common_is_kept_but_for_what_is_private() {
        let block = block(&[
            ("SERVER_NAME", "example.com"),
            ("mod_wsgi.x-script", "/b"),
            ("MOD_WSGI_RS_LOG", "1"),
            ("GEOIP", "x"),
        ]);
        let params = Params::parse(&block, &Limits::default()).unwrap();
        let it = Application::from_common_params(params, &GroupConfig::default());
        let common: Vec<_> = it.common.iter().collect();
        assert_eq!(common, [(Key::ServerName, &b"example.com"[..])]);
        assert_eq!(it.others, [(b"GEOIP".to_vec(), b"x".to_vec())]);
        assert_eq!(it.extensions, Extensions { log: true, ..Extensions::default() });
    }

    #[test]
    fn a_request_tells_whether_a_body_is_wanted() {
        for (pairs, wants_body) in [
            (&[("REQUEST_METHOD", "GET")][..], true),
            (&[("REQUEST_METHOD", "HEAD")], false),
            (&[("REQUEST_METHOD", "GET"), ("mod_wsgi.x-header-only", "1")], false),
            (&[("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", "7")], true),
        ] {
            let block = block(pairs);
            let asked =
                RequestParams::read(Params::parse(&block, &Limits::default()).unwrap(), false);
            assert_eq!(asked.wants_body, wants_body, "{pairs:?}");
        }
    }

    #[test]
    fn no_private_param_of_a_remote_request_counts() {
        let block = block(&[
            ("mod_wsgi.x-header-only", "1"),
            ("mod_wsgi.x-websocket", "1"),
            ("mod_wsgi.x-continue", "1"),
            ("mod_wsgi.x-early-hints", "1"),
            ("mod_wsgi.x-waiting-since", "7"),
            ("mod_wsgi.queue_start", "7"),
            ("REQUEST_URI", "/a"),
        ]);
        let params = Params::parse(&block, &Limits::default()).unwrap();
        let asked = RequestParams::read(params, true);
        assert!(asked.wants_body && !asked.is_websocket);
        assert!(!asked.is_body_withheld && !asked.takes_early_hints);
        assert_eq!((asked.waiting_since, asked.queued, asked.uri), (None, None, &b"/a"[..]));
        let asked = RequestParams::read(params, false);
        assert!(!asked.wants_body && asked.is_websocket);
        assert!(asked.is_body_withheld && asked.takes_early_hints);
        assert_eq!((asked.waiting_since, asked.queued), (Some(7), Some(7)));
    }
}
