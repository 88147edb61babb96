//! The folders in which the sockets of servers may be.

use crate::doctor;
use crate::options::Control;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Runtime directories of Apache as distributions and its own installation have them, and what is used as
/// `WSGISocketPrefix`.
const USUAL: [&str; 7] = [
    "/run/apache2",
    "/run/httpd",
    "/run/wsgi",
    "/run/mod_wsgi",
    "/run",
    "/usr/local/apache2/logs",
    "/var/lock/apache2",
];

/// The folder that the option names.
pub(super) fn named(options: &Control) -> Option<Vec<PathBuf>> {
    options.runtime_dir.clone().map(|folder| vec![folder])
}

/// The server roots of this user's `start-server`, and the usual places.
pub(super) fn usual() -> Vec<PathBuf> {
    let usual = USUAL.iter().map(PathBuf::from);
    let mut folders: Vec<PathBuf> =
        usual.chain(server_roots()).filter_map(|folder| folder.canonicalize().ok()).collect();
    folders.sort();
    folders.dedup();
    folders
}

/// What the configuration of the system's Apache says; nothing where there is none.
pub(super) fn configured(options: &Control) -> Vec<PathBuf> {
    doctor::socket_folders(&options.programs)
}

/// See `server::setup::server_root`. Those of other users are theirs.
fn server_roots() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return Vec::new() };
    let is_own = |path: &Path| {
        let found = std::fs::symlink_metadata(path);
        found.is_ok_and(|it| it.is_dir() && it.uid() == sys::effective_uid())
    };
    let entries = entries.flatten();
    let named =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("mod_wsgi_rs-"));
    named.map(|entry| entry.path()).filter(|path| is_own(path)).collect()
}
