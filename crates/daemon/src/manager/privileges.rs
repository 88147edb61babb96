//! Becoming who the configuration says, in mod_wsgi's order, before anything of an application runs.
#![forbid(unsafe_code)]

use crate::config::GroupConfig;
use crate::log::Log;
use crate::manager::account::Account;
use crate::posix;
use crate::process_title;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use wsgi::Level;

/// Applies `config` to this process.
///
/// # Errors
/// A sentence; the process must not go on then.
pub(crate) fn assume(config: &GroupConfig, log: &Log) -> Result<(), String> {
    let identity = &config.identity;
    let whom = identity.uid.unwrap_or_else(posix::effective_uid);
    // Asked for before chroot takes the databases away.
    let user = Account::of(whom, identity.gid);
    let gid = identity.gid.or_else(|| identity.uid.and(user.as_ref().map(|user| user.gid)));
    let mut groups: Vec<u32> = gid.into_iter().collect();
    match (&identity.supplementary_groups, &user) {
        (Some(given), _) => groups.extend(given),
        (None, Some(user)) => groups.extend(&user.groups),
        (None, None) => {}
    }
    if let Some(name) = &config.display_name {
        process_title::display(name.as_bytes());
    }
    let privileged = posix::effective_uid() == 0;
    if identity.cpu_priority != 0
        && let Err(why) = posix::set_priority(identity.cpu_priority)
    {
        let line = format!("cannot set the priority {}: {why}", identity.cpu_priority);
        log.write(Level::Warning, line.as_bytes());
    }
    if let Some(root) = &identity.chroot {
        std::os::unix::fs::chroot(root)
            .and_then(|()| std::env::set_current_dir("/"))
            .map_err(|why| format!("cannot chroot to {}: {why}", root.display()))?;
    }
    if privileged && (identity.uid.is_some() || gid.is_some()) {
        if let Some(gid) = gid {
            posix::set_gid(gid).map_err(|why| format!("cannot become group {gid}: {why}"))?;
        }
        posix::set_groups(&groups).map_err(|why| format!("cannot set the groups: {why}"))?;
        if let Some(uid) = identity.uid {
            posix::set_uid(uid).map_err(|why| format!("cannot become user {uid}: {why}"))?;
            if posix::effective_uid() == 0 {
                return Err("is root although told to be somebody else".to_owned());
            }
        }
    } else if identity.uid.is_some_and(|uid| uid != posix::effective_uid()) {
        return Err("only root can become another user".to_owned());
    }
    match (&identity.home, &user) {
        (Some(home), _) => std::env::set_current_dir(home)
            .map_err(|why| format!("cannot change to the directory {}: {why}", home.display()))?,
        // A home nobody may enter is no reason not to serve.
        (None, Some(user))
            if identity.uid.is_some() && std::env::set_current_dir(&user.home).is_err() =>
        {
            std::env::set_current_dir("/").map_err(|why| format!("cannot enter /: {why}"))?;
        }
        _ => {}
    }
    if let Some(mask) = identity.umask {
        posix::set_umask(mask);
    }
    let set = |variable: &str, value: &OsStr| {
        posix::set_variable(variable, value).map_err(|why| format!("cannot set {variable}: {why}"))
    };
    if let Some(user) = user.filter(|_| identity.uid.is_some()) {
        for variable in ["USER", "USERNAME", "LOGNAME"] {
            if std::env::var_os(variable).is_some() {
                set(variable, &user.name)?;
            }
        }
        set("HOME", &user.home)?;
    }
    if let Some(lang) = &identity.lang {
        set("LANG", lang)?;
    }
    if let Some(locale) = &identity.locale {
        set("LC_ALL", locale)?;
        if posix::set_locale().is_err() {
            let line = format!("WSGI0079: this system has no locale '{}'", locale.display());
            log.write(Level::Warning, line.as_bytes());
        }
    }
    Ok(())
}
