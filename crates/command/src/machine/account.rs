//! The user and the group that the application runs as.

use crate::failure::Failure;
use std::ffi::CString;

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

    fn new(user: String, uid: u32, gid: u32) -> Self {
        Self { user, group: format!("#{gid}"), uid, gid }
    }
}
