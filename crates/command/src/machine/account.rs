//! The user and the group that the application runs as.

use crate::failure::Failure;
use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A user with a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The user's name, or `#uid` where it has none.
    pub(crate) user: String,
    /// The group's name or `#gid`.
    pub(crate) group: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Users that distributions run Apache as.
const USUAL: [&str; 4] = ["www-data", "apache", "httpd", "nobody"];

impl Account {
    /// The account of the server's processes: that of the options, else this process's own; for root, that which the
    /// distribution runs Apache as.
    pub(crate) fn find(user: Option<&str>, group: Option<&str>) -> Result<Self, Failure> {
        let known = |name: &str| {
            let name = CString::new(name).ok()?;
            sys::user_by_name(&name)
        };
        let mut account = match user {
            Some(name) => {
                let user = known(name)
                    .ok_or_else(|| Failure::usage(format!("--user {name}: no such user")))?;
                Self::new(name.to_owned(), user.uid, user.gid)
            }
            None if sys::is_root() => {
                let found = USUAL.iter().find_map(|name| Some((*name, known(name)?)));
                let (name, user) = found.ok_or_else(|| {
                    Failure::usage("root needs --user: none of the usual users of Apache exists")
                })?;
                Self::new(name.to_owned(), user.uid, user.gid)
            }
            None => {
                let (uid, gid) = (sys::effective_uid(), sys::effective_gid());
                let name =
                    sys::user_by_id(uid).map(|user| user.name.to_string_lossy().into_owned());
                // A random user of a container has no name.
                Self::new(name.unwrap_or_else(|| format!("#{uid}")), uid, gid)
            }
        };
        if account.uid == 0 {
            return Err(Failure::usage(
                "--user root: Apache serves as no user that may do everything",
            ));
        }
        if let Some(name) = group {
            let known = CString::new(name).ok().and_then(|name| sys::group_id_by_name(&name));
            account.gid =
                known.ok_or_else(|| Failure::usage(format!("--group {name}: no such group")))?;
            name.clone_into(&mut account.group);
        }
        if !sys::is_root() && account.uid != sys::effective_uid() {
            return Err(Failure::usage(format!(
                "--user {}: only root can start a server for another user",
                account.user
            )));
        }
        Ok(account)
    }

    /// The first folder on the way to `path`, itself included, that the user may not enter by the folder's mode. Further
    /// groups of the user and access control lists are not looked at.
    pub(crate) fn barrier(&self, path: &Path) -> Option<PathBuf> {
        let may_enter = |folder: &Path| {
            std::fs::metadata(folder).is_ok_and(|found| {
                let bit = match (found.uid() == self.uid, found.gid() == self.gid) {
                    (true, _) => 0o100,
                    (false, true) => 0o010,
                    (false, false) => 0o001,
                };
                found.mode() & bit != 0
            })
        };
        let mut folders: Vec<&Path> = path.ancestors().collect();
        folders.reverse();
        folders.into_iter().find(|folder| !may_enter(folder)).map(Path::to_owned)
    }

    fn new(user: String, uid: u32, gid: u32) -> Self {
        Self { user, group: format!("#{gid}"), uid, gid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn barrier_is_the_first_folder_that_the_user_may_not_enter() {
        let base = std::env::temp_dir().join(format!("barrier-{}", std::process::id()));
        let (open, closed) = (base.join("open"), base.join("open/closed"));
        std::fs::create_dir_all(closed.join("site")).unwrap();
        for folder in [&base, &open] {
            std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
        }
        std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
        let mut other = Account::new("other".to_owned(), u32::MAX - 2, u32::MAX - 2);
        let found = [other.barrier(&open), other.barrier(&closed.join("site"))];
        let metadata = std::fs::metadata(&closed).unwrap();
        other.uid = metadata.uid();
        let owner = other.barrier(&closed);
        std::fs::remove_dir_all(&base).unwrap();
        assert_eq!(found, [None, Some(closed)]);
        assert_eq!(owner, None);
    }
}
