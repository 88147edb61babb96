//! The aliases of one server, as far as applications are told apart by them. It must never know a request.
#![forbid(unsafe_code)]

use crate::config::ScriptAlias;

/// A server's name and port as configured, the aliases in force there, and the groups of those that name
/// none.
pub(crate) struct AliasesOf<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) port: u16,
    pub(crate) aliases: Vec<&'a ScriptAlias>,
    pub(crate) process_group: Option<&'a [u8]>,
    pub(crate) application_group: Option<&'a [u8]>,
}
