//! The folders in which the sockets of servers may be.

use crate::doctor;
use crate::options::Control;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

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

/// The usual places, those that the configuration of the system's Apache names, and the server roots of this user's
/// `start-server`. The configuration is asked whatever the usual places have: that may be of another server.
pub(super) fn known(options: &Control) -> Vec<PathBuf> {
    let usual = USUAL.iter().map(PathBuf::from);
    let all = usual.chain(configured(options)).chain(server_roots());
    let mut folders: Vec<PathBuf> = all.filter_map(|folder| folder.canonicalize().ok()).collect();
    folders.sort();
    folders.dedup();
    folders
}

/// What the configuration of the system's Apache says; nothing where there is none. httpd reads it once for each command: top
/// asks every second.
fn configured(options: &Control) -> Vec<PathBuf> {
    static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOLDERS.get_or_init(|| doctor::socket_folders(&options.programs)).clone()
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
