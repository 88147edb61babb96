//! Python: the group of processes, and how scripts are loaded.

use super::facts::Facts;
use crate::options::Interface;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct PythonValues {
    python_home: Option<String>,
    python_path: String,
    python_eggs: String,
    socket_prefix: String,
    process_group: String,
    /// What the alias names.
    target_group: String,
    display_name: String,
    working_directory: String,
    locale: String,
    request_timeout: u32,
    group_graceful_timeout: u32,
    group_shutdown_timeout: u32,
    script_reloading: &'static str,
    development: Option<Development>,
}

#[derive(Debug, Serialize)]
struct Development {
    /// Browsers refresh themselves.
    refresh: bool,
    /// Where Apache asks the launcher.
    channel: String,
}

impl PythonValues {
    pub(super) fn new(facts: &Facts<'_>) -> Self {
        let options = facts.options;
        let (identity, timeouts) = (&options.identity, &options.timeouts);
        let working_directory = facts.working_directory.display().to_string();
        let embedded = options.measurement.embedded_mode;
        let host = options.listener.host.as_deref().unwrap_or("localhost");
        let usual_group = format!("{host}:{}", options.listener.port);
        let group = options.entry_point.process_group.clone().unwrap_or(usual_group);
        let mut folders: Vec<String> =
            identity.python_path.iter().map(|path| Facts::path(path)).collect();
        if embedded {
            // A group has it as its home, which is searched for modules.
            folders.insert(0, working_directory.clone());
        }
        let is_development = facts.is_development();
        // Streams that stay open must not hold up a new version, nor Ctrl-C.
        let limit = |seconds: u32| if is_development { seconds.min(2) } else { seconds };
        Self {
            python_home: facts.python.home.as_deref().map(Facts::path),
            python_path: folders.join(":"),
            python_eggs: identity
                .python_eggs
                .as_deref()
                .map_or_else(|| facts.in_root("python-eggs"), Facts::path),
            socket_prefix: match &identity.socket_prefix {
                Some(folder) => format!("{}/wsgi", Facts::path(folder)),
                None => facts.in_root("wsgi"),
            },
            display_name: format!("(wsgi:{group}:{})", facts.account.uid),
            target_group: if embedded { "%{GLOBAL}".to_owned() } else { group.clone() },
            process_group: group,
            working_directory,
            locale: locale(facts),
            request_timeout: timeouts.request_timeout.unwrap_or(
                match facts.application.interface {
                    Interface::Asgi => 0,
                    Interface::Wsgi | Interface::Auto => 60,
                },
            ),
            group_graceful_timeout: limit(timeouts.graceful_timeout),
            group_shutdown_timeout: limit(timeouts.shutdown_timeout),
            script_reloading: match () {
                () if is_development => "Wait",
                () if options.development.disable_reloading || embedded => "Off",
                () => "On",
            },
            development: is_development.then(|| Development {
                refresh: facts.refreshes_browsers(),
                channel: format!(
                    "unix:{}|http://localhost/__mod_wsgi_rs__/",
                    facts.in_root("channel.sock")
                ),
            }),
        }
    }
}

/// That of the option or the environment, if its text is UTF-8.
fn locale(facts: &Facts<'_>) -> String {
    if let Some(locale) = &facts.options.identity.locale {
        return locale.clone();
    }
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let found = variable("LC_ALL").or_else(|| variable("LC_CTYPE")).or_else(|| variable("LANG"));
    let is_utf8 = |name: &String| {
        let name = name.to_ascii_lowercase();
        name.contains("utf-8") || name.contains("utf8")
    };
    found.filter(is_utf8).unwrap_or_else(|| "C.UTF-8".to_owned())
}
