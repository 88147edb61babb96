//! The options of `WSGIDaemonProcess`: one row each, with its default and its range as the
//! documents give them. It never knows what a process does with them.

use group_config::Processes;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use super::asgi_options::{concurrency, event_loop, interface_of_group, lifespan, websocket_limit};
use super::daemon_process::Forwarding;
use super::environment::read_environment;
use super::options::{INT_MAX, OptionValue, decimal};
use super::{Account, ConfigError, DaemonProcess, WarmUp};

/// One row of the option table.
pub(crate) struct DaemonOption {
    pub(crate) name: &'static str,
    /// What holds without it, in words.
    #[cfg_attr(not(test), allow(dead_code, reason = "a unit test holds the manual against it"))]
    pub(crate) default: &'static str,
    /// What it takes, in words.
    #[cfg_attr(not(test), allow(dead_code, reason = "a unit test holds the manual against it"))]
    pub(crate) takes: &'static str,
    pub(super) set: Setter,
}

type Setter = fn(&mut DaemonProcess, &OptionValue<'_>) -> Result<(), ConfigError>;

/// Every option, by theme: who, how many, where, Python, recycling, timers, sockets, checks and
/// limits.
#[rustfmt::skip]
pub(crate) static DAEMON_OPTIONS: [DaemonOption; 63] = [
    row("user", "Apache's User", "a user name or #uid, not root", set_user),
    row("group", "Apache's Group", "a group name or #gid",
        |it, value| put(&mut it.config.identity.gid, group_account(value).map(|group| Some(group.id)))),
    row("supplementary-groups", "the user's own", "group names or #gids, commas between them",
        set_supplementary_groups),
    row("processes", "1", "a number from 1 to 10000, or MIN-MAX with MIN from 0",
        set_processes),
    row("threads", "15", "0 to 65533",
        |it, value| put(&mut it.config.threads, count(value, 65_533, "a number of threads"))),
    row("interface", "that of the aliases that lead to it", "wsgi, asgi or auto",
        |it, value| put(&mut it.config.interface, interface_of_group(&mut it.interface_given, value))),
    row("asgi-lifespan", "auto", "auto, on or off", |it, value| put(&mut it.config.asgi.lifespan, lifespan(value))),
    row("asgi-loop", "auto", "auto, asyncio or uvloop", |it, value| put(&mut it.config.asgi.event_loop, event_loop(value))),
    row("asgi-concurrency", "100", "1 to 65533", |it, value| put(&mut it.config.asgi.concurrency, concurrency(value))),
    row("websocket-compression", "Off", "On or Off", |it, value| put(&mut it.config.asgi.websocket_compression, value.flag())),
    row("websocket-limit", "1000", "0 to 65533", |it, value| put(&mut it.config.asgi.websocket_limit, websocket_limit(value))),
    row("websocket-max-message", "16777216", "bytes from 0, 0 is no limit", |it, value| put(&mut it.config.asgi.websocket_max_message, bytes(value))),
    row("websocket-ping-interval", "20", "seconds from 0, 0 is off", |it, value| put(&mut it.config.asgi.websocket_ping_interval, value.timeout())),
    row("umask", "Apache's", "an octal number", set_umask),
    row("chroot", "none", "an absolute path", set_chroot),
    row("home", "none", "an absolute path",
        |it, value| put(&mut it.config.identity.home, absolute_path(value).map(Some))),
    row("environment", "inherit", "inherit, none, or names and NAME=value, spaces between them",
        |it, value| put(&mut it.config.identity.environment, read_environment(value))),
    row("lang", "Apache's", "a value for LANG",
        |it, value| put(&mut it.config.identity.lang, Ok(text(value)))),
    row("locale", "Apache's", "a value for LC_ALL",
        |it, value| put(&mut it.config.identity.locale, Ok(text(value)))),
    row("display-name", "none", "a text, or %{GROUP}",
        set_display_name),
    row("python-home", "WSGIPythonHome", "a path",
        |it, value| put(&mut it.config.python.home, Ok(path(value)))),
    row("python-path", "none", "paths, colons between them",
        |it, value| put(&mut it.config.python.path, Ok(directories(&value.text)))),
    row("python-eggs", "none", "a path",
        |it, value| put(&mut it.config.python.eggs, Ok(path(value)))),
    row("switch-interval", "WSGISwitchInterval", "seconds above 0", set_switch_interval),
    row("stack-size", "the system's", "bytes from 1", set_stack_size),
    row("preload", "Off", "On or Off", |it, value| put(&mut it.config.preload, value.flag())),
    row("warm-up", "none", "a path without %, or a URL with one", set_warm_up),
    row("reload", "Off", "On or Off", |it, value| put(&mut it.config.reload, value.flag())),
    row("maximum-requests", "0 (off)", "a number from 0", set_maximum_requests),
    row("maximum-requests-jitter", "0", "a number from 0",
        |it, value| put(&mut it.config.timers.maximum_requests_jitter, requests(value))),
    row("maximum-memory", "0 (off)", "bytes from 0",
        |it, value| put(&mut it.config.timers.maximum_memory, value.limit())),
    row("startup-timeout", "0 (off)", "seconds from 0",
        |it, value| put(&mut it.config.timers.startup_timeout, value.timeout())),
    row("shutdown-timeout", "5", "seconds from 0",
        |it, value| put(&mut it.config.timers.shutdown_timeout, value.timeout())),
    row("deadlock-timeout", "300", "seconds from 0",
        |it, value| put(&mut it.config.timers.deadlock_timeout, value.timeout())),
    row("inactivity-timeout", "0 (off)", "seconds from 0",
        |it, value| put(&mut it.config.timers.inactivity_timeout, value.timeout())),
    row("request-timeout", "0 (off)", "seconds from 0",
        |it, value| put(&mut it.config.timers.request_timeout, value.timeout())),
    row("interrupt-timeout", "0 (off)", "seconds from 0",
        |it, value| put(&mut it.config.timers.interrupt_timeout, value.timeout())),
    row("graceful-timeout", "15", "seconds from 0",
        |it, value| put(&mut it.config.timers.graceful_timeout, value.seconds())),
    row("eviction-timeout", "0 (graceful-timeout)", "seconds from 0",
        |it, value| put(&mut it.config.timers.eviction_timeout, value.timeout())),
    row("restart-interval", "0 (off)", "seconds from 0",
        |it, value| put(&mut it.config.timers.restart_interval, value.timeout())),
    row("connect-timeout", "15", "seconds from 0", |it, value| put(&mut it.forwarding.connect_timeout, value.seconds())),
    row("socket-timeout", "0 (Apache's Timeout)", "seconds from 0",
        |it, value| put(&mut it.config.timers.socket_timeout, value.timeout())),
    row("queue-timeout", "0 (off)", "seconds from 0", |it, value| put(&mut it.config.timers.queue_timeout, value.timeout())),
    row("listen-backlog", "100", "a number from 0",
        |it, value| put(&mut it.config.limits.listen_backlog, count(value, INT_MAX, "a number"))),
    row("send-buffer-size", "0 (the system's)", "0, or bytes from 512",
        |it, value| put(&mut it.config.limits.send_buffer_size, value.size(512))),
    row("receive-buffer-size", "0 (the system's)", "0, or bytes from 512",
        |it, value| put(&mut it.config.limits.receive_buffer_size, value.size(512))),
    row("header-buffer-size", "0 (32768)", "0, or bytes from 8192",
        |it, value| put(&mut it.forwarding.header_buffer_size, size_or(value, 8192, Forwarding::default().header_buffer_size))),
    row("response-buffer-size", "0 (8388608)", "0, or bytes from 65536",
        |it, value| put(&mut it.forwarding.response_buffer_size, size_or(value, 65_536, Forwarding::default().response_buffer_size))),
    row("request-buffer-size", "1048576", "bytes from 0",
        |it, value| put(&mut it.forwarding.request_buffer_size, bytes(value))),
    row("response-spool-size", "67108864", "bytes from 0",
        |it, value| put(&mut it.forwarding.response_spool_size, bytes(value))),
    row("response-spool-total", "0 (as much as is left free)", "bytes from 0",
        |it, value| put(&mut it.forwarding.response_spool_total, value.limit())),
    row("response-socket-timeout", "0 (socket-timeout)", "seconds from 0",
        |it, value| put(&mut it.forwarding.response_socket_timeout, value.timeout())),
    row("response-flush-delay", "5", "milliseconds from 0", set_flush_delay),
    row("socket-user", "Apache's User", "a user name or #uid",
        |it, value| put(&mut it.forwarding.socket_user, user_account(value).map(|user| Some(user.id)))),
    row("script-user", "none", "a user name or #uid",
        |it, value| put(&mut it.forwarding.script_user, user_account(value).map(Some))),
    row("script-group", "none", "a group name or #gid",
        |it, value| put(&mut it.forwarding.script_group, group_account(value).map(Some))),
    row("cpu-time-limit", "0 (off)", "seconds from 0",
        |it, value| put(&mut it.config.limits.cpu_time_limit, value.timeout())),
    row("cpu-priority", "0", "a whole number", set_priority),
    row("memory-limit", "0 (off)", "bytes from 0",
        |it, value| put(&mut it.config.limits.memory_limit, value.limit())),
    row("virtual-memory-limit", "0 (off)", "bytes from 0",
        |it, value| put(&mut it.config.limits.virtual_memory_limit, value.limit())),
    row("server-metrics", "Off", "On or Off",
        |it, value| put(&mut it.forwarding.server_metrics, value.flag())),
    row("newrelic-config-file", "none", "ignored", |_, value| value.deprecated_option()),
    row("newrelic-environment", "none", "ignored", |_, value| value.deprecated_option()),
];

const fn row(
    name: &'static str,
    default: &'static str,
    takes: &'static str,
    set: Setter,
) -> DaemonOption {
    DaemonOption { name, default, takes, set }
}

/// The last option of a name counts.
fn put<T>(field: &mut T, value: Result<T, ConfigError>) -> Result<(), ConfigError> {
    *field = value?;
    Ok(())
}

fn text(value: &OptionValue<'_>) -> Option<OsString> {
    (!value.text.is_empty()).then(|| OsString::from_vec(value.text.clone()))
}

fn path(value: &OptionValue<'_>) -> Option<PathBuf> {
    text(value).map(PathBuf::from)
}

fn absolute_path(value: &OptionValue<'_>) -> Result<PathBuf, ConfigError> {
    Ok(PathBuf::from(OsStr::from_bytes(&value.absolute_path()?)))
}

/// Paths with colons between them.
pub(crate) fn directories(paths: &[u8]) -> Vec<PathBuf> {
    let parts = paths.split(|byte| *byte == b':').filter(|part| !part.is_empty());
    parts.map(|part| PathBuf::from(OsStr::from_bytes(part))).collect()
}

fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn requests(value: &OptionValue<'_>) -> Result<u64, ConfigError> {
    Ok(value.number(0..=INT_MAX, "a number of requests")?.unsigned_abs())
}

fn count(value: &OptionValue<'_>, most: i64, unit: &str) -> Result<u32, ConfigError> {
    value.number(0..=most, unit).map(small)
}

fn size_or(value: &OptionValue<'_>, least: i64, default: usize) -> Result<usize, ConfigError> {
    Ok(value.size(least)?.unwrap_or(default))
}

fn bytes(value: &OptionValue<'_>) -> Result<u64, ConfigError> {
    Ok(value.limit()?.unwrap_or(0))
}

fn user_account(value: &OptionValue<'_>) -> Result<Account, ConfigError> {
    let name = value.not_empty("a user")?;
    match value.line().context.user_id(name) {
        Some(id) => Ok(Account { name: name.into(), id }),
        None => Err(value.error("names no user of this system")),
    }
}

fn group_account(value: &OptionValue<'_>) -> Result<Account, ConfigError> {
    let name = value.not_empty("a group")?;
    match value.line().context.group_id(name) {
        Some(id) => Ok(Account { name: name.into(), id }),
        None => Err(value.error("names no group of this system")),
    }
}

fn set_user(group: &mut DaemonProcess, value: &OptionValue<'_>) -> Result<(), ConfigError> {
    let user = user_account(value)?;
    if user.id == 0 {
        return Err(value.error("is not allowed: a daemon process may not run as root"));
    }
    group.config.identity.uid = Some(user.id);
    Ok(())
}

fn set_supplementary_groups(
    group: &mut DaemonProcess,
    value: &OptionValue<'_>,
) -> Result<(), ConfigError> {
    /// Linux: NGROUPS_MAX, less the primary group.
    const MAX: usize = 65_535;
    let mut ids = Vec::new();
    // As mod_wsgi reads it, an empty name ends the list.
    for name in value.text.split(|byte| *byte == b',').take_while(|name| !name.is_empty()) {
        match value.line().context.group_id(name) {
            Some(id) => ids.push(id),
            None => return Err(value.error("names a group this system does not have")),
        }
    }
    if ids.len() > MAX {
        return Err(value.error("has too many supplementary groups"));
    }
    group.config.identity.supplementary_groups = (!value.text.is_empty()).then_some(ids);
    Ok(())
}

fn set_processes(group: &mut DaemonProcess, value: &OptionValue<'_>) -> Result<(), ConfigError> {
    let range = std::str::from_utf8(&value.text).ok().and_then(|text| text.split_once('-'));
    let processes = match range.filter(|(least, _)| !least.is_empty()) {
        None => {
            let most = i64::from(Processes::MAX);
            let number = small(value.number(1..=most, "a number of processes")?);
            Processes::new(number, number)
        }
        Some((least, most)) => match (least.parse(), most.parse()) {
            (Ok(least), Ok(most)) => Processes::new(least, most),
            _ => None,
        },
    };
    group.config.processes = processes.ok_or_else(|| {
        value.error(&format!(
            "must be a number from 1 to {}, or MIN-MAX with MIN from 0",
            Processes::MAX
        ))
    })?;
    Ok(())
}

fn set_display_name(group: &mut DaemonProcess, value: &OptionValue<'_>) -> Result<(), ConfigError> {
    let own = [b"(wsgi:", &*group.name, b")"].concat();
    let name = replaced(&value.text, b"%{GROUP}", &own);
    group.config.display_name = Some(OsString::from_vec(name)).filter(|name| !name.is_empty());
    Ok(())
}

/// `text` with `with` in the place of each `what`.
fn replaced(text: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut rest = text;
    let mut all = Vec::new();
    while let Some((first, others)) = rest.split_first() {
        match rest.strip_prefix(what) {
            Some(behind) => {
                all.extend_from_slice(with);
                rest = behind;
            }
            None => {
                all.push(*first);
                rest = others;
            }
        }
    }
    all
}

fn set_umask(group: &mut DaemonProcess, value: &OptionValue<'_>) -> Result<(), ConfigError> {
    let text = std::str::from_utf8(&value.text).ok();
    let mask = text.and_then(|text| u32::from_str_radix(text.trim(), 8).ok());
    let mask = mask.ok_or_else(|| value.error("must be an octal number such as 0027"))?;
    group.config.identity.umask = Some(mask & 0o777);
    Ok(())
}

fn set_warm_up(group: &mut DaemonProcess, value: &OptionValue<'_>) -> Result<(), ConfigError> {
    let request = WarmUp::parse(&value.text).ok_or_else(|| {
        value.error("must be a path such as /health, or http://www.example.com/health, without %")
    })?;
    group.forwarding.warm_up = Some(request);
    Ok(())
}

fn set_chroot(group: &mut DaemonProcess, value: &OptionValue<'_>) -> Result<(), ConfigError> {
    // What is wrong for all users comes first.
    let path = absolute_path(value)?;
    if !value.line().context.is_root() {
        return Err(value.error("needs Apache to be started as root"));
    }
    group.config.identity.chroot = Some(path);
    Ok(())
}

fn set_stack_size(group: &mut DaemonProcess, value: &OptionValue<'_>) -> Result<(), ConfigError> {
    group.config.limits.stack_size =
        usize::try_from(value.number(1..=INT_MAX, "a number of bytes")?).ok();
    Ok(())
}

fn set_maximum_requests(
    group: &mut DaemonProcess,
    value: &OptionValue<'_>,
) -> Result<(), ConfigError> {
    group.config.timers.maximum_requests = Some(requests(value)?).filter(|most| *most != 0);
    Ok(())
}

fn set_flush_delay(group: &mut DaemonProcess, value: &OptionValue<'_>) -> Result<(), ConfigError> {
    let delay = value.number(0..=INT_MAX, "a number of milliseconds")?;
    group.forwarding.response_flush_delay = Duration::from_millis(delay.unsigned_abs());
    Ok(())
}

fn set_priority(group: &mut DaemonProcess, value: &OptionValue<'_>) -> Result<(), ConfigError> {
    let priority = value.number(i64::MIN..=i64::MAX, "a priority")?;
    let most = if priority < 0 { i32::MIN } else { i32::MAX };
    group.config.identity.cpu_priority = i32::try_from(priority).unwrap_or(most);
    Ok(())
}

fn set_switch_interval(
    group: &mut DaemonProcess,
    value: &OptionValue<'_>,
) -> Result<(), ConfigError> {
    let seconds = decimal(&value.text).filter(|seconds| *seconds > 0.0);
    group.config.python.switch_interval =
        Some(seconds.ok_or_else(|| value.error("must be a positive number of seconds"))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::stub::Configuration;
    use super::super::{DaemonProcess, ServerIdentity};
    use super::*;

    fn parse(option: &str) -> Result<(DaemonProcess, Vec<String>), String> {
        let mut configuration = Configuration::default();
        configuration.apache.root = option.contains("chroot=/srv");
        configuration
            .store(&format!("WSGIDaemonProcess site {option}"))
            .map_err(|error| error.to_string())?;
        let warnings = configuration.warnings();
        Ok((configuration.process.daemon_processes.remove(0), warnings))
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn every_option_sets_its_own_field() {
        type Check = fn(&DaemonProcess) -> bool;
        let table: &[(&str, Check)] = &[
            ("user=alice", |it| it.config.identity.uid == Some(1000)),
            ("user=#1000", |it| it.config.identity.uid == Some(1000)),
            ("group=#50", |it| it.config.identity.gid == Some(50)),
            ("supplementary-groups=staff,www", |it| {
                it.config.identity.supplementary_groups == Some(vec![50, 33])
            }),
            ("processes=1", |it| {
                it.config.processes == Processes { least: 1, most: 1, given: true }
            }),
            ("processes=3", |it| {
                it.config.processes == Processes { least: 3, most: 3, given: true }
            }),
            ("processes=0-1", |it| {
                it.config.processes == Processes { least: 0, most: 1, given: true }
            }),
            ("processes=2-8", |it| {
                it.config.processes == Processes { least: 2, most: 8, given: true }
            }),
            ("threads=1", |it| it.config.threads == 1),
            ("threads=65533", |it| it.config.threads == 65_533),
            ("interface=asgi", |it| it.config.is_asgi()),
            ("asgi-lifespan=on", |it| it.config.asgi.lifespan == group_config::Lifespan::On),
            ("asgi-loop=uvloop", |it| it.config.asgi.event_loop == group_config::EventLoop::Uvloop),
            ("asgi-concurrency=7", |it| it.config.asgi.concurrency == 7),
            ("websocket-compression=on", |it| it.config.asgi.websocket_compression),
            ("websocket-limit=0", |it| it.config.asgi.websocket_limit == 0),
            ("websocket-max-message=7", |it| it.config.asgi.websocket_max_message == 7),
            ("websocket-ping-interval=0", |it| it.config.asgi.websocket_ping_interval.is_none()),
            ("umask=0027", |it| it.config.identity.umask == Some(0o27)),
            ("home=/srv/site", |it| it.config.identity.home == Some("/srv/site".into())),
            ("environment=none", |it| !it.config.identity.environment.inherit),
            ("lang='en_US.UTF-8'", |it| it.config.identity.lang == Some("en_US.UTF-8".into())),
            ("locale=C.UTF-8", |it| it.config.identity.locale == Some("C.UTF-8".into())),
            ("display-name=%{GROUP}", |it| it.config.display_name == Some("(wsgi:site)".into())),
            ("python-home=/srv/venv", |it| it.config.python.home == Some("/srv/venv".into())),
            ("python-path=/a:/b", |it| it.config.python.path == ["/a", "/b"].map(PathBuf::from)),
            ("python-path=''", |it| it.config.python.path.is_empty()),
            ("python-eggs=/eggs", |it| it.config.python.eggs == Some("/eggs".into())),
            ("switch-interval=0.01", |it| it.config.python.switch_interval == Some(0.01)),
            ("stack-size=262144", |it| it.config.limits.stack_size == Some(262_144)),
            ("preload=On", |it| it.config.preload),
            ("warm-up=/health?x=%20", |it| {
                it.forwarding
                    .warm_up
                    .as_ref()
                    .is_some_and(|it| *it.path == *b"/health" && *it.query == *b"x=%20")
            }),
            ("warm-up=https://www.example.com", |it| {
                let expected = WarmUp {
                    secure: true,
                    host: Some((b"www.example.com"[..].into(), None)),
                    path: b"/"[..].into(),
                    query: b""[..].into(),
                };
                it.forwarding.warm_up == Some(expected)
            }),
            ("warm-up=http://[::1]:8080/a", |it| {
                let host = it.forwarding.warm_up.as_ref().and_then(|it| it.host.as_ref());
                host.is_some_and(|(name, port)| **name == *b"[::1]" && *port == Some(8080))
            }),
            ("reload=On", |it| it.config.reload),
            ("maximum-requests=5", |it| it.config.timers.maximum_requests == Some(5)),
            ("maximum-requests=0", |it| it.config.timers.maximum_requests.is_none()),
            ("maximum-requests-jitter=5", |it| it.config.timers.maximum_requests_jitter == 5),
            ("maximum-memory=4294967296", |it| it.config.timers.maximum_memory == Some(1 << 32)),
            ("startup-timeout=5", |it| it.config.timers.startup_timeout == seconds(5)),
            ("shutdown-timeout=0", |it| it.config.timers.shutdown_timeout.is_none()),
            ("deadlock-timeout=0", |it| it.config.timers.deadlock_timeout.is_none()),
            ("inactivity-timeout=5", |it| it.config.timers.inactivity_timeout == seconds(5)),
            ("request-timeout=5", |it| it.config.timers.request_timeout == seconds(5)),
            ("interrupt-timeout=5", |it| it.config.timers.interrupt_timeout == seconds(5)),
            ("graceful-timeout=0", |it| it.config.timers.graceful_timeout.is_zero()),
            ("eviction-timeout=5", |it| it.config.timers.eviction_timeout == seconds(5)),
            ("restart-interval=5", |it| it.config.timers.restart_interval == seconds(5)),
            ("connect-timeout=0", |it| it.forwarding.connect_timeout.is_zero()),
            ("socket-timeout=5", |it| it.config.timers.socket_timeout == seconds(5)),
            ("queue-timeout=5", |it| it.config.timers.queue_timeout == seconds(5)),
            ("listen-backlog=5", |it| it.config.limits.listen_backlog == 5),
            ("send-buffer-size=512", |it| it.config.limits.send_buffer_size == Some(512)),
            ("receive-buffer-size=512", |it| it.config.limits.receive_buffer_size == Some(512)),
            ("header-buffer-size=8192", |it| it.forwarding.header_buffer_size == 8192),
            ("header-buffer-size=0", |it| it.forwarding.header_buffer_size == 32_768),
            ("response-buffer-size=65536", |it| it.forwarding.response_buffer_size == 65_536),
            ("response-buffer-size=0", |it| it.forwarding.response_buffer_size == 8_388_608),
            ("response-socket-timeout=5", |it| it.forwarding.response_socket_timeout == seconds(5)),
            ("response-flush-delay=50", |it| {
                it.forwarding.response_flush_delay == Duration::from_millis(50)
            }),
            ("request-buffer-size=0", |it| it.forwarding.request_buffer_size == 0),
            ("response-spool-size=9", |it| it.forwarding.response_spool_size == 9),
            ("response-spool-total=9", |it| it.forwarding.response_spool_total == Some(9)),
            ("response-spool-total=0", |it| it.forwarding.response_spool_total.is_none()),
            ("socket-user=root", |it| it.forwarding.socket_user == Some(0)),
            ("script-user=alice", |it| it.forwarding.script_user.is_some()),
            ("script-group=staff", |it| it.forwarding.script_group.is_some()),
            ("cpu-time-limit=5", |it| it.config.limits.cpu_time_limit == seconds(5)),
            ("cpu-priority=-5", |it| it.config.identity.cpu_priority == -5),
            ("memory-limit=4294967296", |it| it.config.limits.memory_limit == Some(1 << 32)),
            ("virtual-memory-limit=0", |it| it.config.limits.virtual_memory_limit.is_none()),
            ("server-metrics=On", |it| it.forwarding.server_metrics),
        ];
        for (option, check) in table {
            let (group, warnings) =
                parse(option).unwrap_or_else(|error| panic!("{option}: {error}"));
            assert!(check(&group), "{option}");
            let idle = ["server-metrics"];
            let warned =
                idle.iter().any(|idle| option.starts_with(idle)) && !option.ends_with("Off");
            assert_eq!(!warnings.is_empty(), warned, "{option}: {warnings:?}");
        }
        // chroot= is read, checked and refused (`DaemonProcess::say_what_is_missing`).
        let carried = |option: &&DaemonOption| option.takes != "ignored" && option.name != "chroot";
        for option in DAEMON_OPTIONS.iter().filter(carried) {
            let tried = |(text, _): &(&str, Check)| text.starts_with(&format!("{}=", option.name));
            assert!(table.iter().any(tried), "{} is not tested", option.name);
        }
    }

    #[test]
    fn default_of_the_table_is_the_default_of_the_field() {
        let unset = DaemonProcess::new(b"site", ServerIdentity::default());
        let mut compared = 0;
        for option in DAEMON_OPTIONS.iter().filter(|option| option.takes != "ignored") {
            let written = option.default.split(' ').next().unwrap_or_default();
            if written.parse::<u64>().is_err() && written != "Off" {
                continue;
            }
            let (mut group, _) = parse(&format!("{}={written}", option.name)).unwrap();
            group.config.processes.given = false;
            assert_eq!(group, unset, "{}", option.name);
            compared += 1;
        }
        assert!(compared > 25, "{compared}");
    }

    #[test]
    fn a_bad_value_is_answered_with_what_is_allowed() {
        for (option, refusal) in [
            ("user=", "user=\"\" is not allowed, it must name a user"),
            ("user=bob", "user=\"bob\" names no user of this system"),
            ("user=root", "user=\"root\" is not allowed: a daemon process may not run as root"),
            ("user=#0", "user=\"#0\" is not allowed: a daemon process may not run as root"),
            ("group=none", "group=\"none\" names no group of this system"),
            (
                "supplementary-groups=staff,none",
                "supplementary-groups=\"staff,none\" names a group this system does not have",
            ),
            ("processes=0", "processes=\"0\" must be a number of processes, from 1 to 10000"),
            (
                "processes=20000",
                "processes=\"20000\" must be a number of processes, from 1 to 10000",
            ),
            (
                "processes=1-10001",
                "processes=\"1-10001\" must be a number from 1 to 10000, or MIN-MAX with MIN from 0",
            ),
            (
                "processes=0-0",
                "processes=\"0-0\" must be a number from 1 to 10000, or MIN-MAX with MIN from 0",
            ),
            (
                "processes=4-2",
                "processes=\"4-2\" must be a number from 1 to 10000, or MIN-MAX with MIN from 0",
            ),
            (
                "processes=2-",
                "processes=\"2-\" must be a number from 1 to 10000, or MIN-MAX with MIN from 0",
            ),
            ("threads=65534", "threads=\"65534\" must be a number of threads, from 0 to 65533"),
            ("threads=many", "threads=\"many\" must be a number of threads, from 0 to 65533"),
            ("umask=8", "umask=\"8\" must be an octal number such as 0027"),
            ("umask=-1", "umask=\"-1\" must be an octal number such as 0027"),
            ("chroot=jail", "chroot=\"jail\" must be an absolute path"),
            ("chroot=/jail", "chroot=\"/jail\" needs Apache to be started as root"),
            ("home=site", "home=\"site\" must be an absolute path"),
            (
                "warm-up=health",
                "warm-up=\"health\" must be a path such as /health, or \
                 http://www.example.com/health, without %",
            ),
            ("switch-interval=0", "switch-interval=\"0\" must be a positive number of seconds"),
            (
                "stack-size=0",
                "stack-size=\"0\" must be a number of bytes, a whole number of at least 1",
            ),
            (
                "request-timeout=-1",
                "request-timeout=\"-1\" must be a number of seconds, a whole number of at least 0",
            ),
            (
                "send-buffer-size=511",
                "send-buffer-size=\"511\" must be at least 512 bytes, or 0 for the default",
            ),
            (
                "header-buffer-size=8191",
                "header-buffer-size=\"8191\" must be at least 8192 bytes, or 0 for the default",
            ),
            (
                "response-buffer-size=1",
                "response-buffer-size=\"1\" must be at least 65536 bytes, or 0 for the default",
            ),
            ("cpu-priority=high", "cpu-priority=\"high\" must be a priority, a whole number"),
            ("server-metrics=1", "server-metrics=\"1\" must be one of: Off | On"),
        ] {
            assert_eq!(parse(option).unwrap_err(), format!("WSGIDaemonProcess: {refusal}"));
        }
    }

    #[test]
    fn a_number_with_something_behind_it_is_read_with_a_warning() {
        let (group, warnings) = parse("request-timeout=60s").unwrap();
        assert_eq!(group.config.timers.request_timeout, seconds(60));
        assert_eq!(
            warnings,
            ["WSGIDaemonProcess: request-timeout=\"60s\" is read as 60, \"s\" is ignored"]
        );
    }

    #[test]
    fn the_options_of_the_new_relic_agent_have_no_effect() {
        for option in ["newrelic-config-file=/etc/newrelic.ini", "newrelic-environment=staging"] {
            let (group, warnings) = parse(option).unwrap();
            assert_eq!(group, DaemonProcess::new(b"site", ServerIdentity::default()));
            assert_eq!(warnings.len(), 1);
        }
    }
}
