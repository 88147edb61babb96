//! mod_wsgi_rs.so: the Apache side of mod_wsgi_rs.
//!
//! A request, function by function:
//!
//! - embedded mode: `Wsgi::handle` (handler.rs) → `dispatch` → `embedded::serve` → `Host::serve` (crates/host:
//!   host.rs) → `serve` and `Gateway::run` (gateway/serve.rs) → `ApacheExchange::send` (embedded/serve.rs), which
//!   passes the response to httpd's output filters;
//! - daemon mode: `Wsgi::handle` → `dispatch` → `forward::serve` → `Attempt::run` (forward/attempt.rs), over a
//!   socket to `Pool::serve` (crates/daemon: worker/pool.rs) → the same `Host::serve`; the response comes back
//!   through `Relay` (forward/relay.rs).
//!
//! The files, from the top down; none names one above it:
//!
//! | In | files |
//! |---|---|
//! | every process | [`module`]: the structure that httpd finds, the table of directives, the hooks |
//! | every process | [`start`]: the configuration is checked, the parent prepared, a child started |
//! | a child | [`handler`]: whether a request is for this module, and for which [`application`] |
//! | a child | `access`, `embedded`, [`forward`]: scripts of the server, Python here, Python in a daemon process |
//! | a child | [`environ`], `passed_headers`, [`trusted_proxy`], [`request_names`], [`request_path`]: what a request says |
//! | a child | [`hub`]: connections that no thread of httpd serves |
//! | the parent | [`daemons`]: the managers of the process groups and their sockets |
//! | the parent | [`graceful_restart`]: old children make way for new ones without a pause |
//! | both | [`groups`]: what parent and children share about a group; [`child`]: what a child knows of itself |
//! | every process | [`module_config`]: the configuration where httpd keeps it; [`config`]: what the lines mean |
//! | every process | [`httpd`] and [`apr`]: safe interfaces to C, without any knowledge of WSGI |
//!
//! `unsafe` stands in `module`, `module_config`, `httpd` and `apr` only (docs/safety.md).
#![cfg_attr(
    not(feature = "embedded"),
    allow(dead_code, unused_imports, reason = "embedded mode alone uses some of the fences")
)]

#[cfg(feature = "embedded")]
mod access;
mod alias_targets;
mod aliases_of;
mod application;
mod apr;
mod child;
mod command_line;
mod config;
mod daemons;
#[cfg(feature = "embedded")]
mod embedded;
#[cfg(feature = "embedded")]
mod embedded_scripts;
mod environ;
mod error_override;
mod failure_flag;
mod file_version;
mod forward;
mod graceful_restart;
mod group_hints;
mod groups;
mod handler;
mod httpd;
mod hub;
mod module;
mod module_config;
mod passed_headers;
mod python_home;
mod request_names;
mod request_outcome;
mod request_path;
mod request_times;
mod single_application;
mod start;
mod status;
mod stream_hints;
mod trusted_proxy;
mod worker_factor;

/// Apache's headers, by bindgen from `apache-headers/wrapper.h`.
#[allow(
    warnings,
    unsafe_code,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "generated"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
