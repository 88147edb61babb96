//! mod_wsgi_rs.so: the Apache side of mod_wsgi_rs.
//!
//! A request comes in at [`module`], which is all httpd knows of us. [`handler`] decides whether it is
//! ours and for which application, by what [`config`] made of the administrator's lines. [`embedded`]
//! serves it in this very process with the Python room (`host`). [`environ`] says what an application is
//! told of a request, whoever serves it. `access` asks the server's own scripts, [`trusted_proxy`]
//! says whom to believe. [`start`] checks the configuration and prepares each child
//! process; [`python_home`] looks at a Python installation with the eyes of the unprivileged user.
//! [`httpd`] and [`apr`] are the fences around C: they know nothing of WSGI, and outside them and `module`
//! there is no `unsafe`.
#![cfg_attr(
    not(feature = "embedded"),
    allow(dead_code, unused_imports, reason = "embedded mode alone uses some of the fences")
)]

#[cfg(feature = "embedded")]
mod access;
mod application;
mod apr;
mod child;
mod config;
mod daemons;
#[cfg(feature = "embedded")]
mod embedded;
mod environ;
mod error_override;
mod file_time;
mod forward;
mod groups;
mod handler;
mod httpd;
mod module;
mod module_config;
mod python_home;
mod request_names;
mod request_path;
mod single_application;
mod start;
mod trusted_proxy;

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
