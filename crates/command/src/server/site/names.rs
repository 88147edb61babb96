//! What the server is called, and the URLs that it has.

use super::facts::{Facts, Purpose};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Names {
    title: String,
    version: &'static str,
    keep: &'static str,
    name: String,
    pub(super) url: String,
    pub(super) https_url: Option<String>,
    https_host: String,
    parent_domain: Option<String>,
    application: String,
}

impl Names {
    pub(super) fn new(facts: &Facts<'_>) -> Self {
        let listener = &facts.options.listener;
        let is_any = |host: &&str| ["0.0.0.0", "::", "*"].contains(host);
        let address = listener.host.as_deref().filter(|host| !is_any(host));
        let host = listener.server_name.as_deref().or(address).unwrap_or("localhost");
        let written = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let with_port = |port: u16, usual: u16| match port == usual {
            true => written.clone(),
            false => format!("{written}:{port}"),
        };
        let https_host = listener.https_port.map(|port| with_port(port, 443));
        let name = facts.application.name();
        Self {
            title: format!("Apache with {name}"),
            version: env!("CARGO_PKG_VERSION"),
            keep: match facts.purpose {
                Purpose::Keep => "The file may be changed; setup-server writes it anew.",
                Purpose::Start => "The file lasts as long as the server.",
            },
            name: if listener.server_name.is_some() {
                host.to_owned()
            } else {
                "localhost".to_owned()
            },
            url: format!("http://{}/", with_port(listener.port, 80)),
            https_url: https_host.as_ref().map(|host| format!("https://{host}/")),
            https_host: https_host.unwrap_or_default(),
            parent_domain: listener
                .server_name
                .as_deref()
                .and_then(|name| name.strip_prefix("www."))
                .filter(|parent| !listener.server_alias.iter().any(|alias| alias == parent))
                .map(str::to_owned),
            application: name,
        }
    }
}
