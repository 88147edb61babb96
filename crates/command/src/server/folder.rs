//! The server root: a folder that no other user can have prepared, and the files in it.

use crate::failure::Failure;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The folder of a server.
#[derive(Debug)]
pub(crate) struct ServerRoot {
    path: PathBuf,
    /// No option named the folder, so that it can be removed when the server has stopped.
    is_temporary: bool,
}

impl ServerRoot {
    /// Makes the folder where it is missing. One in a public place must belong to this user, and be writable for no other.
    ///
    /// `readable`: another user than this one, the one of Apache's processes, reads in it.
    pub(crate) fn make(path: PathBuf, is_temporary: bool, readable: bool) -> Result<Self, Failure> {
        let failed = |why: std::io::Error| {
            Failure::server(format!("the server root {} cannot be made: {why}", path.display()))
        };
        let mode = if readable { 0o755 } else { 0o700 };
        if !is_temporary && let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        match std::fs::DirBuilder::new().mode(mode).create(&path) {
            // The mode is subject to the umask.
            Ok(()) => {
                std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).map_err(failed)?;
            }
            Err(why) if why.kind() == ErrorKind::AlreadyExists => check(&path, is_temporary)?,
            Err(why) => return Err(failed(why)),
        }
        let path = path.canonicalize().map_err(failed)?;
        Ok(Self { path, is_temporary })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The full path of a file in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file in one step, so that a running server reads either the old or the new one.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), Failure> {
        let (path, part) = (self.join(name), self.join(&format!(".{name}.new")));
        std::fs::write(&part, text)
            .and_then(|()| std::fs::set_permissions(&part, PermissionsExt::from_mode(mode)))
            .and_then(|()| std::fs::rename(&part, &path))
            .map_err(|why| Failure::server(format!("{} cannot be written: {why}", path.display())))
    }

    /// Makes a folder in it, for the user of Apache's processes.
    pub(crate) fn folder(&self, name: &str, owner: (u32, u32)) -> Result<PathBuf, Failure> {
        let path = self.join(name);
        let made = std::fs::create_dir(&path);
        if made.is_ok() && sys::is_root() {
            // Another owner is what root makes the folder for; without one the folder stays root's.
            let _ = std::os::unix::fs::chown(&path, Some(owner.0), Some(owner.1));
        }
        match made {
            Err(why) if why.kind() != ErrorKind::AlreadyExists => {
                Err(Failure::server(format!("{} cannot be made: {why}", path.display())))
            }
            _ => Ok(path),
        }
    }

    /// Removes the folder if no option named it.
    pub(crate) fn remove_if_temporary(&self) {
        if self.is_temporary {
            // What cannot be removed is left, as a crash would leave it.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Whether an existing folder may be used.
fn check(path: &Path, is_public: bool) -> Result<(), Failure> {
    let refused = |why: &str| Failure::usage(format!("the server root {} {why}", path.display()));
    let found = std::fs::symlink_metadata(path)
        .map_err(|why| refused(&format!("cannot be looked at: {why}")))?;
    if is_public {
        if !found.is_dir() || found.uid() != sys::effective_uid() || found.mode() & 0o022 != 0 {
            return Err(refused(
                "is another user's, or others may write to it; name one with --server-root",
            ));
        }
        return Ok(());
    }
    if path.is_dir() { Ok(()) } else { Err(refused("is no folder")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_in_a_public_place_must_be_ours_alone() {
        let base = std::env::temp_dir().join(format!("server-root-{}", std::process::id()));
        std::fs::create_dir(&base).unwrap();
        let made = ServerRoot::make(base.join("a"), true, false).unwrap();
        let mode = std::fs::metadata(made.path()).unwrap().mode() & 0o777;
        made.write("httpd.conf", "x", 0o644).unwrap();
        let again = ServerRoot::make(base.join("a"), true, false);
        std::os::unix::fs::symlink(base.join("a"), base.join("link")).unwrap();
        let link = ServerRoot::make(base.join("link"), true, false);
        let open = base.join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
        let open = ServerRoot::make(open, true, false);
        made.remove_if_temporary();
        let is_left = base.join("a").exists();
        std::fs::remove_dir_all(&base).unwrap();
        assert_eq!(mode, 0o700);
        assert!(again.is_ok());
        assert!(link.is_err() && open.is_err());
        assert!(!is_left);
    }
}
