//! Which application answers the request of `warm-up=`, and how it sees the request. It must never know a process.
#![forbid(unsafe_code)]

use crate::aliases_of::AliasesOf;
use crate::config::{Bytes, DaemonProcess, ScriptAlias};
use std::fmt;

/// The request, resolved to an application.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) script: Bytes,
    /// The application group; empty is that of the main interpreter.
    pub(crate) application_group: Bytes,
    pub(crate) callable: Bytes,
    pub(crate) script_name: Bytes,
    pub(crate) path_info: Bytes,
    pub(crate) query: Bytes,
    pub(crate) host: Bytes,
    pub(crate) port: u16,
    pub(crate) secure: bool,
}

/// No application answers the request of `warm-up=`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WarmUpError {
    /// No alias leads the path to a script in the group.
    NoAlias { group: String, path: String },
    /// The application group of the path depends on the request.
    OpenApplicationGroup { group: String, path: String },
}

impl fmt::Display for WarmUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAlias { group, path } => write!(
                f,
                "WSGIDaemonProcess {group}: no WSGIScriptAlias leads {path} of warm-up= to a script in this \
                 group; give the alias process-group={group}"
            ),
            Self::OpenApplicationGroup { group, path } => write!(
                f,
                "WSGIDaemonProcess {group}: the application group of {path} of warm-up= depends on the request; \
                 give its WSGIScriptAlias application-group=%{{GLOBAL}} or a name"
            ),
        }
    }
}

impl std::error::Error for WarmUpError {}

/// What `warm-up=` of `group` asks for, by the aliases of `servers`; `sole` is whether the group serves one
/// application group only. `None` where the option is not given.
///
/// # Errors
/// What is missing.
pub(crate) fn prepare(
    group: &DaemonProcess,
    sole: bool,
    servers: &[AliasesOf<'_>],
) -> Result<Option<Prepared>, WarmUpError> {
    let Some(request) = &group.forwarding.warm_up else { return Ok(None) };
    let name = || String::from_utf8_lossy(&group.name).into_owned();
    let path = || String::from_utf8_lossy(&request.path).into_owned();
    let named = |server: &&AliasesOf<'_>| {
        let host = request.host.as_ref();
        host.is_some_and(|(host, _)| host.eq_ignore_ascii_case(server.name))
    };
    // The aliases of the server that the URL names come first; then those of any other.
    let mut servers: Vec<_> = servers.iter().collect();
    servers.sort_by_key(|server| !named(server));
    let found = servers.into_iter().find_map(|server| {
        let alias = alias_of(server, &request.path)?;
        let of_group = alias.process_group.as_deref().or(server.process_group);
        (of_group == Some(&*group.name)).then_some((server, alias))
    });
    let Some((server, alias)) = found else {
        return Err(WarmUpError::NoAlias { group: name(), path: path() });
    };
    let application_group = match alias.application_group.as_deref().or(server.application_group) {
        _ if sole => &b""[..],
        Some(fixed) if !fixed.starts_with(b"%") => fixed,
        _ => {
            return Err(WarmUpError::OpenApplicationGroup { group: name(), path: path() });
        }
    };
    let callable = alias.callable_object.as_deref().filter(|it| !it.starts_with(b"%"));
    let rest = alias.matches(&request.path).map_or(&b""[..], |mapped| mapped.rest);
    let mount = request.path.len().saturating_sub(rest.len());
    let usual = if request.secure { 443 } else { 80 };
    let (host, port) = match &request.host {
        Some((host, port)) => (&**host, port.unwrap_or(usual)),
        None => (server.name, if server.port == 0 { usual } else { server.port }),
    };
    Ok(Some(Prepared {
        script: alias.target.clone(),
        application_group: application_group.into(),
        callable: callable.unwrap_or(b"application").into(),
        script_name: request.path.get(..mount).unwrap_or_default().into(),
        path_info: rest.into(),
        query: request.query.clone(),
        host: if host.is_empty() { b"localhost"[..].into() } else { host.into() },
        port,
        secure: request.secure,
    }))
}

/// The alias of a path, if it leads to a script and not to a directory of scripts, by what is written. A script that is
/// missing, or a directory in its place, is reported by the worker that loads it: a file that a customer can replace
/// does not decide whether a configuration is valid.
fn alias_of<'a>(server: &AliasesOf<'a>, path: &[u8]) -> Option<&'a ScriptAlias> {
    let alias = server.aliases.iter().find(|alias| alias.matches(path).is_some())?;
    (!alias.target.ends_with(b"/")).then_some(alias)
}
