//! Becoming who the configuration says, in mod_wsgi's order, before anything of an application runs.
#![forbid(unsafe_code)]

use crate::account::Account;
use crate::config::{GroupConfig, Limits, Timers};
use crate::log::Log;
use crate::posix::{self, Resource};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
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
        display(name.as_bytes());
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
    if let Some(user) = user.filter(|_| identity.uid.is_some()) {
        for variable in ["USER", "USERNAME", "LOGNAME"] {
            if std::env::var_os(variable).is_some() {
                posix::set_variable(variable, &user.name);
            }
        }
        posix::set_variable("HOME", &user.home);
    }
    if let Some(lang) = &identity.lang {
        posix::set_variable("LANG", lang);
    }
    if let Some(locale) = &identity.locale {
        posix::set_variable("LC_ALL", locale);
        if !posix::set_locale() {
            let line = format!("WSGI0079: this system has no locale '{}'", locale.display());
            log.write(Level::Warning, line.as_bytes());
        }
    }
    Ok(())
}

/// What a process of the group that runs another program has to do again: how it is called, and its locale.
pub(crate) fn appear(config: &GroupConfig) {
    match &config.display_name {
        Some(name) => display(name.as_bytes()),
        None => {
            // It was started by descriptor, and the kernel has called it by that.
            let program = std::env::args_os().next().unwrap_or_default();
            let name = Path::new(&program).file_name().unwrap_or_default();
            if let Ok(name) = CString::new(name.as_bytes()) {
                posix::set_process_name(&name);
            }
        }
    }
    if config.identity.locale.is_some() {
        // That the system does not have it has been said.
        let _ = posix::set_locale();
    }
}

/// Applies the limits of a worker to this process. The manager has none: what it is worth living on
/// for is replacing workers.
pub(crate) fn limit(limits: &Limits, timers: &Timers, log: &Log) {
    let set = |resource, name: &str, limit: Option<u64>, hard: u64| {
        if let Some(soft) = limit
            && let Err(why) = posix::set_limit(&resource, soft, soft.saturating_add(hard))
        {
            log.write(Level::Warning, format!("cannot set {name} to {soft}: {why}").as_bytes());
        }
    };
    // One second more and the time to shut down: what does not leave by then is killed.
    let grace = 1 + timers.shutdown_timeout.unwrap_or(0.0) as u64;
    set(Resource::Cpu, "cpu-time-limit", limits.cpu_time_limit, grace);
    set(Resource::Data, "memory-limit", limits.memory_limit, 0);
    set(Resource::AddressSpace, "virtual-memory-limit", limits.virtual_memory_limit, 0);
}

/// Shows `name` where `ps` shows a command line, as far as there is room.
fn display(name: &[u8]) {
    if let Ok(name) = CString::new(name) {
        posix::set_process_name(&name);
    }
    // Nothing depends on it.
    let _ = overwrite_arguments(name);
}

fn overwrite_arguments(name: &[u8]) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is in parentheses and may hold anything; arg_start and arg_end are 48 and 49.
    let after = stat.rsplit_once(')').map(|(_, after)| after).unwrap_or_default();
    let mut fields = after.split_ascii_whitespace().skip(45).map(str::parse::<u64>);
    let (Some(Ok(start)), Some(Ok(end))) = (fields.next(), fields.next()) else { return Ok(()) };
    let room = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    let mut bytes: Vec<u8> = name.iter().copied().take(room.saturating_sub(1)).collect();
    bytes.resize(room, 0);
    fs::File::options().write(true).open("/proc/self/mem")?.write_all_at(&bytes, start)
}
