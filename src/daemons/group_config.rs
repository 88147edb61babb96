//! What the manager of a daemon process group is told of the configuration, as `wsgi-daemon` reads it.
#![forbid(unsafe_code)]

use super::daemon_program;
use super::warm_up;
use crate::config::{DaemonProcess, HashSeed, InterpreterSettings, ProcessOptions};
use crate::httpd::{Mpm, ServerInfo};
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// What the configuration puts into a group.
pub(crate) struct Applications<'a> {
    /// One application group only (design decision D5).
    pub(crate) sole: bool,
    /// Scripts, with their application groups as far as they do not depend on the request.
    pub(crate) scripts: Vec<(&'a [u8], Option<&'a [u8]>)>,
    /// What new processes answer by themselves.
    pub(crate) warm_up: Option<warm_up::Prepared>,
}

/// What the manager of a group is told, but for its descriptors.
pub(crate) fn configure(
    definition: &DaemonProcess,
    options: &ProcessOptions,
    applications: &Applications<'_>,
    log_level: u8,
) -> Value {
    // Names are text; what the system knows as bytes is passed as `wsgi-daemon` takes it, each byte as the
    // character of its number.
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let octets = |bytes: &[u8]| bytes.iter().map(|&byte| char::from(byte)).collect::<String>();
    let some = |bytes: &Option<crate::config::Bytes>| bytes.as_deref().map(octets);
    let seconds = |limit: Option<Duration>| limit.map(|limit| limit.as_secs_f64());
    let all = options.interpreter(&definition.name, None);
    let mpm = Mpm::query();
    let (uid, gid) = ServerInfo::account();
    let directories = |paths: &[u8]| -> Vec<String> {
        octets(paths).split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let path = definition.python_path.as_deref().map(directories).unwrap_or_default();
    let layers = |settings: &InterpreterSettings| -> Vec<Vec<String>> {
        settings.python_path.iter().map(|layer| directories(layer)).collect()
    };
    let interpreters: Vec<Value> = options
        .named_interpreters(&definition.name)
        .into_iter()
        .map(|name| {
            let own = options.interpreter(&definition.name, Some(name));
            json!({
                "application_group": text(name),
                "path_layers": layers(&own),
                "switch_interval": if own.interval_is_its_own {
                    own.switch_interval
                } else {
                    definition.switch_interval.or(own.switch_interval)
                },
                "interval_is_its_own": own.interval_is_its_own,
                "restrict_stdin": own.restrict_stdin,
                "restrict_stdout": own.restrict_stdout,
                "restrict_signal": own.restrict_signal,
                "own_gil": own.own_gil,
            })
        })
        .collect();
    let import_scripts: Vec<Value> = options
        .import_scripts(&definition.name)
        .map(|script| {
            let path = octets(definition.inside(&script.path));
            json!({ "path": path, "application_group": text(&script.application_group) })
        })
        .collect();
    let preload_scripts: Vec<Value> = applications
        .scripts
        .iter()
        .filter_map(|(script, group)| {
            let group = if applications.sole { Some(&b""[..]) } else { *group };
            let path = octets(definition.inside(script));
            Some(json!({ "path": path, "application_group": text(group?) }))
        })
        .collect();
    let warm_up = applications.warm_up.as_ref().map(|it| {
        json!({
            "script": octets(definition.inside(&it.script)),
            "application_group": text(&it.application_group),
            "callable": octets(&it.callable),
            "script_name": octets(&it.script_name),
            "path_info": octets(&it.path_info),
            "query": octets(&it.query),
            "host": octets(&it.host),
            "port": it.port,
            "secure": it.secure,
        })
    });
    let allowed_uids = match &definition.socket_user {
        _ if !sys::is_root() => vec![sys::effective_uid()],
        Some(owner) => vec![0, uid, owner.id],
        None => vec![0, uid],
    };
    let display_name = some(&definition.display_name)
        .map(|name| name.replace("%{GROUP}", &format!("(wsgi:{})", octets(&definition.name))));
    json!({
        "name": text(&definition.name),
        "processes": {
            "least": definition.processes.least,
            "most": definition.processes.most,
            "given": definition.processes.given,
        },
        "threads": definition.threads,
        "identity": {
            "uid": sys::is_root().then(|| definition.user.as_ref().map_or(uid, |it| it.id)),
            "gid": sys::is_root().then(|| definition.group.as_ref().map_or(gid, |it| it.id)),
            "supplementary_groups": definition.supplementary_groups,
            "umask": definition.umask,
            "chroot": some(&definition.chroot),
            "home": some(&definition.home),
            "lang": some(&definition.lang),
            "locale": some(&definition.locale),
            "cpu_priority": definition.cpu_priority,
        },
        "limits": {
            "cpu_time_limit": definition.cpu_time_limit.map(|limit| limit.as_secs()),
            "memory_limit": definition.memory_limit,
            "virtual_memory_limit": definition.virtual_memory_limit,
            "stack_size": definition.stack_size,
            "listen_backlog": definition.listen_backlog,
            "send_buffer_size": definition.send_buffer_size,
            "receive_buffer_size": definition.receive_buffer_size,
        },
        "timers": {
            "maximum_requests": definition.maximum_requests,
            "maximum_requests_jitter": definition.maximum_requests_jitter,
            "maximum_memory": definition.maximum_memory,
            "startup_timeout": seconds(definition.startup_timeout),
            "shutdown_timeout": seconds(definition.shutdown_timeout),
            "deadlock_timeout": seconds(definition.deadlock_timeout),
            "inactivity_timeout": seconds(definition.inactivity_timeout),
            "request_timeout": seconds(definition.request_timeout),
            "interrupt_timeout": seconds(definition.interrupt_timeout),
            "graceful_timeout": definition.graceful_timeout.as_secs_f64(),
            "eviction_timeout": seconds(definition.eviction_timeout),
            "restart_interval": seconds(definition.restart_interval),
            "queue_timeout": seconds(definition.queue_timeout),
            "socket_timeout": seconds(definition.socket_timeout),
        },
        "python": {
            "home": daemon_program::home(definition, options)
                .map(|home| octets(home.as_os_str().as_bytes())),
            "path": path,
            "eggs": some(&definition.python_eggs),
            "optimize": options.python_optimize.min(255),
            "warnings": options.python_warnings.iter().map(|it| text(it)).collect::<Vec<_>>(),
            "hash_seed": match options.hash_seed {
                HashSeed::Random => None,
                HashSeed::Fixed(seed) => Some(seed),
            },
            "write_bytecode": options.write_bytecode,
            "switch_interval": definition.switch_interval.or(all.switch_interval),
            "destroy_interpreters": options.destroy_interpreter,
            "restrict_stdin": all.restrict_stdin,
            "restrict_stdout": all.restrict_stdout,
            "restrict_signal": all.restrict_signal,
            "own_gil": all.own_gil,
            "free_threading": all.free_threading,
            "path_layers": layers(&all),
            "interpreters": interpreters,
            "slow_requests": seconds(options.slow_requests),
            "telemetry": options.telemetry_service.as_ref().map(|service| json!({
                "service": octets(&service.socket),
                "interval": service.interval.as_secs_f64(),
                "capture_user_agent": options.telemetry_options.capture_user_agent,
                "server": std::process::id(),
            })),
            "case_sensitive": options.case_sensitive,
            "apache": {
                "version": ServerInfo::VERSION,
                "description": ServerInfo::description(),
                "mpm_name": mpm.name,
                "build_date": ServerInfo::built(),
                "maximum_processes": mpm.processes,
                "threads_per_process": mpm.threads,
            },
        },
        "allowed_uids": allowed_uids,
        "sole": applications.sole,
        "import_scripts": import_scripts,
        "preload": definition.preload,
        "preload_scripts": if definition.preload { preload_scripts } else { Vec::new() },
        "warm_up": warm_up,
        "reload": definition.reload,
        "display_name": display_name,
        "log_level": log_level,
    })
}
