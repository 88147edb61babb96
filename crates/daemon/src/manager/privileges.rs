//! How the manager becomes what the configuration says, in mod_wsgi's order, before anything of an application
//! runs. It starts nothing.
#![forbid(unsafe_code)]

use super::account::Account;
use crate::log::Log;
use crate::process_title;
use group_config::{GroupConfig, Identity};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use wsgi::Level;

/// Why the process must not go on.
#[derive(Debug)]
pub(crate) enum PrivilegeError {
    /// `chroot=` has failed.
    Chroot(PathBuf, io::Error),
    /// The primary group cannot be set.
    Group(u32, io::Error),
    /// The supplementary groups cannot be set.
    SupplementaryGroups(io::Error),
    /// The user cannot be set.
    User(u32, io::Error),
    /// The user has been set without effect.
    StillRoot,
    /// The process is not root's and is to be another user's.
    NotRoot,
    /// An environment variable cannot be set.
    Variable(OsString, io::Error),
    /// The working directory cannot be entered.
    Directory(PathBuf, io::Error),
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chroot(root, why) => write!(f, "cannot chroot to {}: {why}", root.display()),
            Self::Group(gid, why) => write!(f, "cannot become group {gid}: {why}"),
            Self::SupplementaryGroups(why) => write!(f, "cannot set the groups: {why}"),
            Self::User(uid, why) => write!(f, "cannot become user {uid}: {why}"),
            Self::StillRoot => f.write_str("still running as root after setuid"),
            Self::NotRoot => f.write_str("only root can become another user"),
            Self::Variable(name, why) => {
                write!(f, "cannot set {}: {why}", name.display())
            }
            Self::Directory(path, why) => {
                write!(f, "cannot change to the directory {}: {why}", path.display())
            }
        }
    }
}

/// Applies `config` to this process.
///
/// # Errors
/// When a step has failed; the process must not go on then.
pub(crate) fn drop_privileges(config: &GroupConfig, log: &Log) -> Result<(), PrivilegeError> {
    let identity = &config.identity;
    let uid = identity.uid.unwrap_or_else(sys::effective_uid);
    // Before chroot takes the databases away.
    let account = Account::of(uid, identity.gid);
    if let Some(name) = &config.display_name {
        process_title::set_process_title(name.as_bytes());
    }
    // Before the process becomes the user, because root alone may do the rest.
    let is_root = sys::effective_uid() == 0;
    set_priority(identity, log);
    change_root(identity)?;
    set_user(identity, account.as_ref(), is_root)?;
    change_directory(identity, account.as_ref())?;
    if let Some(mask) = identity.umask {
        sys::set_umask(mask);
    }
    set_environment(identity, account.filter(|_| identity.uid.is_some()), log)
}

fn set_priority(identity: &Identity, log: &Log) {
    if identity.cpu_priority != 0
        && let Err(why) = sys::set_priority(identity.cpu_priority)
    {
        let line = format!("cannot set the priority {}: {why}", identity.cpu_priority);
        log.write(Level::Warning, line.as_bytes());
    }
}

fn change_root(identity: &Identity) -> Result<(), PrivilegeError> {
    let Some(root) = &identity.chroot else { return Ok(()) };
    std::os::unix::fs::chroot(root)
        .and_then(|()| std::env::set_current_dir("/"))
        .map_err(|why| PrivilegeError::Chroot(root.clone(), why))
}

fn set_user(
    identity: &Identity,
    account: Option<&Account>,
    is_root: bool,
) -> Result<(), PrivilegeError> {
    let gid = identity.gid.or_else(|| identity.uid.and(account.map(|account| account.gid)));
    if !is_root || identity.uid.is_none() && gid.is_none() {
        let is_other = identity.uid.is_some_and(|uid| uid != sys::effective_uid());
        return if is_other { Err(PrivilegeError::NotRoot) } else { Ok(()) };
    }
    let mut groups: Vec<u32> = gid.into_iter().collect();
    match (&identity.supplementary_groups, account) {
        (Some(given), _) => groups.extend(given),
        (None, Some(account)) => groups.extend(&account.groups),
        (None, None) => {}
    }
    if let Some(gid) = gid {
        sys::set_gid(gid).map_err(|why| PrivilegeError::Group(gid, why))?;
    }
    sys::set_groups(&groups).map_err(PrivilegeError::SupplementaryGroups)?;
    if let Some(uid) = identity.uid {
        sys::set_uid(uid).map_err(|why| PrivilegeError::User(uid, why))?;
        if sys::effective_uid() == 0 {
            return Err(PrivilegeError::StillRoot);
        }
    }
    Ok(())
}

fn change_directory(identity: &Identity, account: Option<&Account>) -> Result<(), PrivilegeError> {
    let enter = |path: PathBuf| {
        std::env::set_current_dir(&path).map_err(|why| PrivilegeError::Directory(path, why))
    };
    match (&identity.home, account) {
        (Some(home), _) => enter(home.clone()),
        // The home of the account is a default: where it cannot be entered, the group still serves.
        (None, Some(account))
            if identity.uid.is_some()
                && !identity.stays
                && std::env::set_current_dir(&account.home).is_err() =>
        {
            enter(PathBuf::from("/"))
        }
        _ => Ok(()),
    }
}

/// `account`: the one that the process has become.
fn set_environment(
    identity: &Identity,
    account: Option<Account>,
    log: &Log,
) -> Result<(), PrivilegeError> {
    let set = |variable: &OsStr, value: &OsStr| {
        sys::set_variable(variable, value)
            .map_err(|why| PrivilegeError::Variable(variable.to_owned(), why))
    };
    let set_each = |variables: &[(OsString, OsString)]| {
        variables.iter().try_for_each(|(variable, value)| set(variable, value))
    };
    set_each(&identity.inherited)?;
    if let Some(account) = account {
        for variable in ["USER", "USERNAME", "LOGNAME"] {
            if std::env::var_os(variable).is_some() {
                set(OsStr::new(variable), &account.name)?;
            }
        }
        set(OsStr::new("HOME"), &account.home)?;
    }
    set_each(&identity.environment.values)?;
    if let Some(lang) = &identity.lang {
        set(OsStr::new("LANG"), lang)?;
    }
    if let Some(locale) = &identity.locale {
        set(OsStr::new("LC_ALL"), locale)?;
        if sys::set_locale().is_err() {
            let line = format!("WSGI0079: this system has no locale '{}'", locale.display());
            log.write(Level::Warning, line.as_bytes());
        }
    }
    Ok(())
}
