//! Which alias a request came through: a note on the request, where httpd puts one request into another's
//! place together with its notes.

use super::in_force::server_config;
use crate::config::ScriptAlias;
use crate::httpd::Request;
use std::ffi::CStr;

/// The note under which mod_alias says that an alias made the handler; other modules look at it.
const MARK: &CStr = c"alias-forced-type";

/// Marks a request as one that came through `alias`.
///
/// Notes go along where httpd puts a subrequest in a request's place, as for `DirectoryIndex` and
/// `FallbackResource`, and nowhere else. They would also stay behind, if what comes in a request's place
/// has none of its own; hence the URL path.
pub(crate) fn remember_alias<'call>(request: &mut Request<'call>, alias: &'call ScriptAlias) {
    // SAFETY: the alias is of the configuration, which outlives its requests.
    unsafe { request.notes().set_lent(MARK, &alias.mark) };
    request.remember_uri();
}

/// The alias a request came through.
pub(crate) fn alias_of<'call>(request: &Request<'call>) -> Option<&'call ScriptAlias> {
    let mark = request.notes().get(MARK)?;
    let alias = server_config(request.server())?.marked(mark)?;
    let holds = request.has_remembered_uri() || alias.matches(request.uri()).is_some();
    holds.then_some(alias)
}
