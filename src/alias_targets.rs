//! What stands where aliases lead to: examined before the configuration is put to use, by a process of Apache's user, so
//! that no file system keeps the parent waiting. It must never know what follows from it.
#![forbid(unsafe_code)]

use crate::aliases_of::AliasesOf;
use crate::httpd::ServerInfo;
use crate::python_home::{Reader, TimeBudget};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use sys::Inspector;

/// The modes of the targets of aliases.
#[derive(Default)]
pub(crate) struct AliasTargets {
    modes: HashMap<Vec<u8>, u32>,
}

impl AliasTargets {
    /// Nothing is known of any file: what the configuration says by itself.
    pub(crate) fn unknown() -> Self {
        Self::default()
    }

    /// Examines the targets of all aliases. One that does not answer is taken for missing.
    pub(crate) fn examine(servers: &[AliasesOf<'_>], budget: &mut TimeBudget) -> Self {
        let (uid, gid) = ServerInfo::account();
        let credentials = Reader { uid, gid, groups: None, chroot: None }.credentials();
        let mut found = Self::default();
        let mut inspector = None;
        for alias in servers.iter().flat_map(|server| &server.aliases) {
            if found.modes.contains_key(&*alias.target) {
                continue;
            }
            let mode = budget.spend(|limit| {
                let own = match inspector.take() {
                    Some(own) => Some(own),
                    None => Inspector::start(credentials.as_ref(), limit).ok(),
                };
                let mut own = own?;
                let mode = own.mode(Path::new(OsStr::from_bytes(&alias.target)));
                // The next one has another process, with time of its own.
                let silent = mode.as_ref().is_err_and(|why| why.kind() == ErrorKind::TimedOut);
                inspector = Some(own).filter(|_| !silent);
                mode.ok()
            });
            found.modes.insert(alias.target.to_vec(), mode.unwrap_or(0));
        }
        found
    }

    /// Whether a directory stands there.
    pub(crate) fn is_directory(&self, target: &[u8]) -> bool {
        self.kind(target) == libc::S_IFDIR
    }

    /// Whether a file stands there.
    pub(crate) fn is_file(&self, target: &[u8]) -> bool {
        self.kind(target) == libc::S_IFREG
    }

    fn kind(&self, target: &[u8]) -> u32 {
        self.modes.get(target).map_or(0, |mode| mode & libc::S_IFMT)
    }

    #[cfg(test)]
    pub(crate) fn with_directory(target: &[u8]) -> Self {
        Self { modes: HashMap::from([(target.to_vec(), libc::S_IFDIR)]) }
    }
}
