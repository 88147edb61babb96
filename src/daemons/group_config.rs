//! What the manager of a daemon process group is told of the configuration, as `wsgi-daemon` reads it.
#![forbid(unsafe_code)]

use super::warm_up;
use crate::config::{DaemonProcess, HashSeed, InterpreterSettings, ProcessOptions, directories};
use crate::httpd::{Mpm, ServerInfo};
use group_config::{
    Apache, GroupConfig, Identity, ImportScript, Interpreter, Python, Telemetry, Timers, WarmUp,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
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

/// How much longer than Apache a daemon process waits, so that Apache, which knows why, ends the request.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(2);

/// What the manager of a group is told, but for its descriptors: the options of its line, and what the rest of the
/// configuration adds to them. `home` is that of its Python.
pub(crate) fn configure(
    definition: &DaemonProcess,
    options: &ProcessOptions,
    applications: &Applications<'_>,
    home: Option<PathBuf>,
    log_level: u8,
    server_timeout: Duration,
) -> GroupConfig {
    let own_timers = &definition.config.timers;
    let script = |path: &[u8], application_group: &[u8]| ImportScript {
        path: path_of(definition.inside(path)),
        application_group: text(application_group),
        callable: None,
    };
    let import_scripts = options.import_scripts(&definition.name);
    let preloaded = applications.scripts.iter().filter(|_| definition.config.preload);
    GroupConfig {
        identity: identity(definition),
        python: python(definition, options, home),
        allowed_uids: Some(allowed_uids(definition)),
        sole: applications.sole,
        import_scripts: import_scripts
            .map(|it| ImportScript {
                callable: it.callable.as_deref().map(text),
                ..script(&it.path, &it.application_group)
            })
            .collect(),
        preload_scripts: preloaded
            .filter_map(|(path, group)| {
                let group = if applications.sole { Some(&b""[..]) } else { *group };
                Some(script(path, group?))
            })
            .collect(),
        warm_up: applications.warm_up.as_ref().map(|it| warm_up(definition, it)),
        log_level,
        timers: Timers {
            socket_timeout: own_timers.socket_timeout.or(Some(server_timeout + TIMEOUT_MARGIN)),
            ..own_timers.clone()
        },
        ..definition.config.clone()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Only root can become another user, and then it must.
fn identity(definition: &DaemonProcess) -> Identity {
    let own = &definition.config.identity;
    let (uid, gid) = ServerInfo::account();
    let inherited = std::env::vars_os().filter(|(name, _)| own.environment.passes(name));
    Identity {
        stays: own.uid.is_none_or(|own| own == uid),
        inherited: inherited.collect(),
        uid: sys::is_root().then(|| own.uid.unwrap_or(uid)),
        gid: sys::is_root().then(|| own.gid.unwrap_or(gid)),
        ..own.clone()
    }
}

fn allowed_uids(definition: &DaemonProcess) -> Vec<u32> {
    let uid = ServerInfo::account().0;
    match definition.forwarding.socket_user {
        _ if !sys::is_root() => vec![sys::effective_uid()],
        Some(owner) => vec![0, uid, owner],
        None => vec![0, uid],
    }
}

fn layers(settings: &InterpreterSettings) -> Vec<Vec<PathBuf>> {
    settings.python_path.iter().map(|layer| directories(layer)).collect()
}

fn python(definition: &DaemonProcess, options: &ProcessOptions, home: Option<PathBuf>) -> Python {
    let own = &definition.config.python;
    let all = options.interpreter(&definition.name, None);
    let mpm = Mpm::query();
    Python {
        home,
        optimize: u8::try_from(options.python_optimize).unwrap_or(u8::MAX),
        warnings: options.python_warnings.iter().map(|it| text(it)).collect(),
        hash_seed: match options.hash_seed {
            HashSeed::Random => None,
            HashSeed::Fixed(seed) => Some(seed),
        },
        write_bytecode: options.write_bytecode,
        switch_interval: own.switch_interval.or(all.switch_interval),
        destroy_interpreters: options.destroy_interpreter,
        restrict_stdin: all.restrict_stdin,
        restrict_stdout: all.restrict_stdout,
        print_level: all.print_level,
        json_records: all.json_records,
        restrict_signal: all.restrict_signal,
        own_gil: all.own_gil,
        free_threading: all.free_threading,
        path_layers: layers(&all),
        interpreters: interpreters(definition, options),
        slow_requests: options.slow_requests,
        telemetry: options.telemetry_service.as_ref().map(|service| Telemetry {
            service: path_of(&service.socket),
            interval: service.interval,
            capture_user_agent: options.telemetry_options.capture_user_agent,
            server: Some(std::process::id()),
        }),
        case_sensitive: options.case_sensitive,
        apache: Some(Apache {
            version: ServerInfo::VERSION,
            description: ServerInfo::description(),
            mpm_name: mpm.name.to_owned(),
            build_date: ServerInfo::built(),
            maximum_processes: mpm.processes,
            threads_per_process: mpm.threads,
        }),
        ..own.clone()
    }
}

/// The interpreters that blocks name.
fn interpreters(definition: &DaemonProcess, options: &ProcessOptions) -> Vec<Interpreter> {
    let interpreter = |name: &[u8]| {
        let own = options.interpreter(&definition.name, Some(name));
        let of_group = definition.config.python.switch_interval;
        Interpreter {
            application_group: text(name),
            path_layers: layers(&own),
            switch_interval: if own.interval_is_its_own {
                own.switch_interval
            } else {
                of_group.or(own.switch_interval)
            },
            interval_is_its_own: own.interval_is_its_own,
            restrict_stdin: own.restrict_stdin,
            restrict_stdout: own.restrict_stdout,
            print_level: own.print_level,
            json_records: own.json_records,
            restrict_signal: own.restrict_signal,
            own_gil: own.own_gil,
        }
    };
    options.named_interpreters(&definition.name).into_iter().map(interpreter).collect()
}

fn warm_up(definition: &DaemonProcess, request: &warm_up::Prepared) -> WarmUp {
    let bytes = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    WarmUp {
        script: path_of(definition.inside(&request.script)),
        application_group: text(&request.application_group),
        callable: bytes(&request.callable),
        script_name: bytes(&request.script_name),
        path_info: bytes(&request.path_info),
        query: bytes(&request.query),
        host: bytes(&request.host),
        port: request.port,
        secure: request.secure,
    }
}
