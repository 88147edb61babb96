//! What was written for one server: its script aliases. It never knows a directory section.

use std::sync::Arc;

use super::{Mapped, ScriptAlias};

/// The main server's or a virtual host's own settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerConfig {
    /// In the order in which they are tried.
    pub(crate) script_aliases: Vec<Arc<ScriptAlias>>,
}

impl ServerConfig {
    /// A virtual host's aliases come first, then the main server's.
    pub(crate) fn merge(parent: &Self, child: &Self) -> Self {
        // Naming every field makes a forgotten one a compile error.
        let Self { script_aliases } = child;
        Self { script_aliases: [script_aliases.as_slice(), &parent.script_aliases].concat() }
    }

    /// The first alias that matches the URL path, and the file it leads to.
    pub(crate) fn script_alias<'a>(
        &'a self,
        uri: &'a [u8],
    ) -> Option<(&'a Arc<ScriptAlias>, Mapped<'a>)> {
        self.script_aliases.iter().find_map(|alias| Some((alias, alias.matches(uri)?)))
    }

    /// The alias whose mark this is: the very bytes, and not others that say the same.
    pub(crate) fn marked(&self, mark: &[u8]) -> Option<&Arc<ScriptAlias>> {
        self.script_aliases.iter().find(|alias| alias.mark.as_bytes().as_ptr() == mark.as_ptr())
    }
}
