//! Sockets, modules of Apache, limits and TLS.

use super::facts::Facts;
use crate::failure::Failure;
use crate::server::modules::{self, Module};
use crate::server::sizing::Sizing;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Serialize)]
pub(super) struct Network {
    listen: Vec<String>,
    modules: Vec<Module>,
    module: String,
    sizing: Sizing,
    processes: String,
    embedded: bool,
    daemon: bool,
    /// Scripts run in Apache's own processes.
    in_apache: bool,
    request_read_timeout: String,
    tls: Option<Tls>,
}

#[derive(Debug, Serialize)]
struct Tls {
    certificate: String,
    key: String,
    chain: Option<String>,
    authority: Option<String>,
}

impl Network {
    pub(super) fn new(facts: &Facts<'_>) -> Result<Self, Failure> {
        let options = facts.options;
        let listener = &options.listener;
        let processes = processes(facts);
        let most = processes.rsplit('-').next().and_then(|most| most.parse().ok()).unwrap_or(1);
        let embedded = options.measurement.embedded_mode;
        let access = &options.access;
        let address = |port: u16| match listener.host.as_deref() {
            Some(host) if host.contains(':') => format!("[{host}]:{port}"),
            Some(host) if host != "*" => format!("{host}:{port}"),
            _ => port.to_string(),
        };
        let ports = std::iter::once(listener.port).chain(listener.https_port);
        Ok(Self {
            listen: ports.map(address).collect(),
            modules: modules::files(facts.apache, &needed(facts)?)?,
            module: facts.module.module.display().to_string(),
            sizing: sizing(facts, most),
            processes,
            embedded,
            daemon: !embedded && (facts.has_python() || !options.content.add_handler.is_empty()),
            in_apache: embedded
                || access.host_access_script.is_some()
                || access.auth_user_script.is_some(),
            request_read_timeout: request_read_timeout(&options.timeouts),
            tls: tls(listener),
        })
    }
}

/// Limits of Apache; a page that is open for development has a thread of its own.
fn sizing(facts: &Facts<'_>, processes: u32) -> Sizing {
    let mut capacity = facts.options.capacity.clone();
    if facts.refreshes_browsers() {
        capacity.max_clients = capacity.max_clients.or(Some(100));
    }
    Sizing::new(
        &capacity,
        processes,
        facts.options.measurement.embedded_mode,
        facts.application.interface,
    )
}

/// The number of processes, or a range.
fn processes(facts: &Facts<'_>) -> String {
    let cores = || match facts.is_development() {
        true => 1,
        // Containers with a part of a processor count as one.
        false => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    facts.options.capacity.processes.clone().unwrap_or_else(|| cores().to_string())
}

/// Names of Apache's modules.
fn needed(facts: &Facts<'_>) -> Result<Vec<&'static str>, Failure> {
    let options = facts.options;
    let mpm = match modules::mpm(facts.apache, &options.identity.server_mpm)?.as_str() {
        "worker" => "mpm_worker",
        "prefork" => "mpm_prefork",
        _ => "mpm_event",
    };
    let mut names = vec![
        mpm,
        "unixd",
        "authn_core",
        "authz_core",
        "authz_host",
        "mime",
        "rewrite",
        "alias",
        "dir",
        "env",
        "headers",
        "filter",
        "reqtimeout",
        "log_config",
        "setenvif",
    ];
    let proxies = !options.proxying.proxy_mount_point.is_empty()
        || !options.proxying.proxy_virtual_host.is_empty()
        || facts.refreshes_browsers();
    let further: [(bool, &[&'static str]); 11] = [
        (options.listener.http2, &["http2"]),
        (options.listener.https_port.is_some(), &["socache_shmcb", "ssl"]),
        (options.content.directory_listing, &["autoindex"]),
        (options.content.compress_responses, &["deflate"]),
        (options.content.with_cgi, &[if mpm == "mpm_prefork" { "cgi" } else { "cgid" }]),
        (options.access.auth_user_script.is_some(), &["auth_basic", "auth_digest", "authz_user"]),
        (options.measurement.server_status || options.measurement.server_metrics, &["status"]),
        (proxies, &["proxy", "proxy_http"]),
        (options.proxying.proxy_protocol, &["remoteip"]),
        (facts.refreshes_browsers(), &["substitute"]),
        (!options.content.allow_override.is_empty(), &["access_compat"]),
    ];
    for (wanted, modules) in further {
        if wanted {
            names.extend(modules);
        }
    }
    Ok(names)
}

/// The arguments of `RequestReadTimeout`.
fn request_read_timeout(timeouts: &crate::options::Timeouts) -> String {
    let stage = |name: &str, first: u32, most: u32, rate: u32| {
        (first > 0).then(|| {
            let most = if most > 0 { format!("-{most}") } else { String::new() };
            let rate = if rate > 0 { format!(",MinRate={rate}") } else { String::new() };
            format!("{name}={first}{most}{rate}")
        })
    };
    let header = stage(
        "header",
        timeouts.header_timeout,
        timeouts.header_max_timeout,
        timeouts.header_min_rate,
    );
    let body =
        stage("body", timeouts.body_timeout, timeouts.body_max_timeout, timeouts.body_min_rate);
    header.into_iter().chain(body).collect::<Vec<_>>().join(" ")
}

fn tls(listener: &crate::options::Listener) -> Option<Tls> {
    listener.https_port?;
    let with = |path: &Path, suffix: &str| {
        let mut path = path.as_os_str().to_owned();
        path.push(suffix);
        Facts::path(Path::new(&path))
    };
    let file = |file: &Option<PathBuf>, suffix: &str| match (file, &listener.ssl_certificate) {
        (Some(path), _) => Facts::path(path),
        (None, Some(stem)) => with(stem, suffix),
        (None, None) => String::new(),
    };
    let optional = |path: &Option<PathBuf>| path.as_deref().map(Facts::path);
    Some(Tls {
        certificate: file(&listener.ssl_certificate_file, ".crt"),
        key: file(&listener.ssl_certificate_key_file, ".key"),
        chain: optional(&listener.ssl_certificate_chain_file),
        authority: optional(&listener.ssl_ca_certificate_file),
    })
}
