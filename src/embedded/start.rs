//! Python in Apache's own processes: whether it could start, and how it is set up.
//! No request is known here.
#![forbid(unsafe_code)]

use super::server_status::ApacheStatus;
use crate::config::directories;
use crate::config::{Bytes, HashSeed, ImportScript, InterpreterSettings, ProcessOptions};
use crate::daemons;
use crate::file_version::version;
use crate::httpd::{Mpm, ServerInfo};
use crate::python_home::{self, HomeError, Inspection, Reader, TimeBudget};
use host::{
    ApacheFacts, Host, HostOptions, InterpreterOptions, Reloading, ScriptFile, Target,
    TelemetryOptions,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wsgi::Level;

/// Whether Python would start in the children; the error is a sentence for the administrator, and so is each of the
/// warnings.
pub(crate) fn check(
    options: &ProcessOptions,
    budget: &mut TimeBudget,
) -> Result<Vec<String>, String> {
    if !options.embedded_python {
        return Ok(Vec::new());
    }
    let (uid, gid) = if sys::is_root() {
        ServerInfo::account()
    } else {
        (sys::effective_uid(), sys::effective_gid())
    };
    let reader = Reader { uid, gid, groups: None, chroot: None };
    budget.spend(|limit| check_as(options, &reader, limit)).map_err(|why| why.to_string())
}

fn check_as(
    options: &ProcessOptions,
    reader: &Reader,
    limit: Duration,
) -> Result<Vec<String>, HomeError> {
    let prefix = Path::new(host::BUILT_FOR).parent().and_then(Path::parent);
    let built_for = format!("the module was built for Python {}, which", host::PYTHON_VERSION);
    let home = options.python_home.as_deref().map(path);
    let Some(place) = home.as_deref().or(prefix) else { return Ok(Vec::new()) };
    let named = if home.is_some() { "WSGIPythonHome" } else { &built_for };
    let mut inspection = Inspection::start(named, place, reader, limit)?;
    let mut warnings = Vec::new();
    if home.is_some() {
        let found = inspection.find(&[host::PYTHON_VERSION])?;
        let prefixes: Vec<&Path> = prefix.into_iter().collect();
        warnings.extend(inspection.check(&found, host::PYTHON_VERSION, &prefixes)?);
    } else {
        inspection.check_entry()?;
    }
    for layer in options.interpreter(b"", None).python_path {
        let paths = directories(&layer);
        warnings.extend(daemons::missing_directories("WSGIPythonPath", &paths, &mut inspection));
    }
    Ok(warnings)
}

/// Loads a script before the first request needs it.
pub(super) fn preload(host: &Host, options: &ProcessOptions, sole: bool, script: &ImportScript) {
    host.preload(&Target {
        script: ScriptFile {
            path: &script.path,
            modified: version(&script.path),
            reloading: Reloading::InPlace,
            case_sensitive: options.case_sensitive,
            replacement: None,
        },
        callable: b"",
        application_group: &script.application_group,
        main_interpreter: sole,
        is_elsewhere: false,
    });
}

/// Python in this process as it is configured.
pub(super) fn host_options(options: &ProcessOptions) -> HostOptions {
    let mpm = Mpm::query();
    let all = options.interpreter(b"", None);
    HostOptions {
        python_home: home(options),
        home: None,
        locale_utf8_mode: None,
        python_eggs: options.python_eggs.as_deref().map(path),
        optimize: u8::try_from(options.python_optimize).unwrap_or(u8::MAX),
        warnings: options
            .python_warnings
            .iter()
            .map(|warning| String::from_utf8_lossy(warning).into_owned())
            .collect(),
        hash_seed: Some(match options.hash_seed {
            HashSeed::Random => host::HashSeed::Random,
            HashSeed::Fixed(seed) => host::HashSeed::Fixed(seed),
        }),
        write_bytecode: options.write_bytecode,
        free_threading: all.free_threading,
        interpreter: interpreter_options(all),
        named_interpreters: options
            .named_interpreters(b"")
            .into_iter()
            .map(|name| {
                let own = options.interpreter(b"", Some(name));
                (String::from_utf8_lossy(name).into_owned(), interpreter_options(own))
            })
            .collect(),
        destroy_interpreters: options.destroy_interpreter,
        observable: false,
        single_process: ServerInfo::is_single_process(),
        server_status: options
            .server_metrics
            .then(|| Arc::new(ApacheStatus) as Arc<dyn host::ServerStatus>),
        slow_requests: options.slow_requests,
        telemetry: options.telemetry_service.as_ref().map(|service| TelemetryOptions {
            service: path(&service.socket),
            interval: service.interval,
            capture_user_agent: options.telemetry_options.capture_user_agent,
            server: None,
        }),
        process_group: String::new(),
        multithread: mpm.threads != 1,
        multiprocess: mpm.processes != 1,
        run_once: false,
        maximum_processes: mpm.processes,
        threads_per_process: mpm.threads,
        apache: Some(ApacheFacts {
            version: ServerInfo::VERSION,
            description: ServerInfo::description(),
            mpm_name: mpm.name,
            build_date: ServerInfo::built(),
            maximum_processes: mpm.processes,
            threads_per_process: mpm.threads,
        }),
    }
}

fn interpreter_options(settings: InterpreterSettings) -> InterpreterOptions {
    let layer = |paths: &Bytes| {
        let paths = paths.split(|&byte| byte == b':').filter(|path| !path.is_empty());
        paths.map(path).collect()
    };
    InterpreterOptions {
        python_path: settings.python_path.iter().map(layer).collect(),
        switch_interval: settings.switch_interval,
        interval_is_its_own: settings.interval_is_its_own,
        restrict_stdin: settings.restrict_stdin,
        restrict_stdout: settings.restrict_stdout,
        print_level: Level::from_number(settings.print_level),
        json_records: settings.json_records,
        restrict_signal: settings.restrict_signal,
        own_gil: settings.own_gil,
    }
}

fn home(options: &ProcessOptions) -> Option<PathBuf> {
    let home = path(options.python_home.as_deref()?);
    let mode = home.metadata().map(|found| found.mode());
    Some(python_home::normalised(&home, mode.unwrap_or(0)).unwrap_or(&home).to_owned())
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
