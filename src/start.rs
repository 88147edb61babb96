//! From the configuration to a child process that serves: checked at configtest, prepared as root,
//! started in each child. Python starts in children only (design decision D6).
#![forbid(unsafe_code)]

use crate::alias_targets::AliasTargets;
use crate::aliases_of::AliasesOf;
use crate::apr::Pool;
use crate::child::Child;
use crate::command_line;
use crate::config::{
    DaemonProcess, ProcessConfig, ProcessOptions, ServerNames, check_group_references,
    check_interfaces, check_repeated_groups,
};
use crate::daemons::{self, Applications, GroupError, ParentExitGuard, supervisor, warm_up};
#[cfg(feature = "embedded")]
use crate::embedded;
#[cfg(feature = "embedded")]
use crate::embedded_scripts::names_embedded_script;
use crate::forward::{self, Group};
use crate::group_hints::group_hints;
use crate::groups::{ServerChildren, ServerCounters};
#[cfg(feature = "embedded")]
use crate::handler::STATUS_HANDLER;
use crate::handler::TIME_VARIABLES;
use crate::httpd::{
    CheckConfig, ChildEnded, ChildInit, ChildStopping, Mpm, PostConfig, Server, ServerInfo,
    every_directive, log_server, main_directive,
};
use crate::hub;
use crate::module_config::{process_config, server_config, server_defaults};
use crate::python_home::TimeBudget;
use crate::request_times::RequestTimes;
use crate::single_application::{has_single_application, scripts};
use crate::stream_hints::{StreamLimits, WEBSOCKETS_OVER_HTTP_2, stream_hints};
use crate::worker_factor::worker_factor;
use group_config::Interface;
use scoreboard::PythonVersion;
use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wsgi::Level;

/// This module's hooks on the life of the server.
pub(crate) struct Start;

impl CheckConfig for Start {
    fn check(_configuration: Pool<'_>, main: Server<'_>) -> Result<(), String> {
        match check_config(main) {
            // At a restart: a file that has gone missing is no reason to end a server that serves other things.
            Err(why) if supervisor::has_started() => {
                log_server(main, Level::Error, why.as_bytes());
                Ok(())
            }
            // Nor is it one to let a server go on that is to stop.
            Err(why) if command_line::is_stop(std::env::args_os()) => {
                log_server(main, Level::Warning, why.as_bytes());
                Ok(())
            }
            checked => checked,
        }
    }
}

/// Refuses a configuration that cannot work, or that names files which cannot.
fn check_config(main: Server<'_>) -> Result<(), String> {
    let Some(config) = process_config(main) else { return Ok(()) };
    let names = server_names(main);
    let options = resolve(config, &names);
    check_group_references(&config.group_references, &options.daemon_processes, &names)
        .map_err(|why| why.to_string())?;
    check_interfaces(
        &config.interface_references,
        &options.daemon_processes,
        &config.import_scripts,
    )
    .map_err(|why| why.to_string())?;
    check_repeated_groups(&config.repeated_groups, &options.daemon_processes, &names)
        .map_err(|why| why.to_string())?;
    let servers = aliases(main);
    let warn = |line: &str| {
        // At a start the files are read twice, and only the first time is before the eyes of the administrator.
        if ServerInfo::is_first_config_pass() {
            log_server(main, Level::Warning, line.as_bytes());
        }
    };
    group_hints(config, &options.daemon_processes, &servers).iter().for_each(|line| warn(line));
    if serves_asgi(&options) && offers_websockets_over_http_2() {
        warn(WEBSOCKETS_OVER_HTTP_2);
    }
    if let Some(limits) = stream_limits(&options) {
        for (level, line) in stream_hints(&limits) {
            if ServerInfo::is_first_config_pass() {
                log_server(main, level, line.as_bytes());
            }
        }
    }
    let mut budget = TimeBudget::new();
    let targets = AliasTargets::unknown();
    for (group, found) in daemons::examine(&options, &mut budget) {
        match found {
            Ok(warnings) => warnings.iter().for_each(|line| warn(line)),
            Err(why) if !daemons::is_group_error(group) => return Err(why),
            Err(why) => {
                let line = format!("{why}; other process groups are not affected");
                log_server(main, Level::Error, line.as_bytes());
            }
        }
        applications(config, group, &servers, &targets)
            .and_then(|of_group| daemons::check_options(group, &options, &of_group))
            .map_err(|why| why.to_string())?;
    }
    #[cfg(feature = "embedded")]
    embedded::check(&options, &mut budget)?.iter().for_each(|line| warn(line));
    Ok(())
}

/// What the parent has found, for its children.
static TARGETS: Mutex<Option<AliasTargets>> = Mutex::new(None);

fn lock_targets() -> MutexGuard<'static, Option<AliasTargets>> {
    TARGETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the configuration puts into a group.
fn applications<'a>(
    config: &ProcessConfig,
    group: &DaemonProcess,
    servers: &[AliasesOf<'a>],
    targets: &AliasTargets,
) -> Result<Applications<'a>, GroupError> {
    let single = |targets| has_single_application(config, &group.name, servers, targets);
    let sole = single(targets);
    // What is in the place of a script does not decide whether the configuration is valid.
    let sole_as_written = sole || single(&AliasTargets::unknown());
    let warm_up = warm_up::prepare(group, sole_as_written, servers)?;
    Ok(Applications { sole, scripts: scripts(&group.name, servers, targets), warm_up })
}

impl PostConfig for Start {
    fn post_config(configuration: Pool<'_>, main: Server<'_>) -> Result<(), String> {
        ServerInfo::find_https_lookup();
        let version = concat!("mod_wsgi_rs/", env!("CARGO_PKG_VERSION"));
        ServerInfo::add_version_component(configuration, version);
        #[cfg(feature = "embedded")]
        ServerInfo::add_version_component(
            configuration,
            &format!("Python/{}", host::PYTHON_VERSION),
        );
        RequestTimes::set_logged(ServerInfo::config_mentions(&TIME_VARIABLES));
        #[cfg(feature = "embedded")]
        embedded::set_status_page(ServerInfo::config_mentions(&[STATUS_HANDLER]));
        let Some(config) = process_config(main) else { return Ok(()) };
        if ServerInfo::is_first_config_pass() {
            return Ok(());
        }
        if let Err(why) = ServerCounters::prepare() {
            let line = format!("there is no memory for the status page: {why}");
            log_server(main, Level::Error, line.as_bytes());
        }
        if let Some(counters) = ServerCounters::get() {
            counters.note_configuration();
        }
        let servers = aliases(main);
        let targets = AliasTargets::examine(&servers, &mut TimeBudget::new());
        let options = resolve(config, &server_names(main));
        prepare_children(&options, main);
        static END: std::sync::Once = std::sync::Once::new();
        END.call_once(|| {
            // While logs that are programs still run.
            main.process_pool().adopt_above_others(ParentExitGuard);
        });
        supervisor::reconcile(configuration, main, &options, &|group| {
            applications(config, group, &servers, &targets)
        })
        .map_err(|why| why.to_string())?;
        *lock_targets() = Some(targets);
        Ok(())
    }
}

/// Makes the memory in which children say what they run Python for, where they may run any.
fn prepare_children(options: &ProcessOptions, main: Server<'_>) {
    if !cfg!(feature = "embedded") || !options.embedded_python {
        return;
    }
    let (processes, threads) = Mpm::limits();
    if let Err(why) = ServerChildren::prepare(processes, threads) {
        let line = format!("the status page cannot show what runs in embedded mode: {why}");
        log_server(main, Level::Error, line.as_bytes());
    }
}

impl ChildInit for Start {
    fn start(child: Pool<'_>, main: Server<'_>) {
        let Some(config) = process_config(main) else { return };
        let options = resolve(config, &server_names(main));
        let servers = aliases(main);
        let targets = lock_targets().take().unwrap_or_default();
        let threads = usize::try_from(Mpm::query().threads).unwrap_or(1);
        let groups = Group::all(supervisor::plans(), threads);
        if !groups.is_empty() && Mpm::query().name == "event" {
            hub::set_limit(match waits_early() {
                true => 0,
                false => parked_limit(threads, main_directive(WORKER_FACTOR).as_deref()),
            });
            child.adopt_above_others(hub::StopGuard);
        }
        if !ServerInfo::is_single_process() {
            supervisor::forget_in_child();
            sys::forget_interruptions();
        }
        let sole = has_single_application(config, b"", &servers, &targets);
        #[cfg(feature = "embedded")]
        let now = names_embedded_script(config, &servers);
        #[cfg(feature = "embedded")]
        let python = embedded::EmbeddedPython::new(&options, sole, now, main);
        let first = Child {
            options,
            sole,
            groups,
            python_version: python_version(),
            #[cfg(feature = "embedded")]
            python,
        }
        .set();
        if first {
            child.adopt(StopPythonGuard);
        }
    }
}

/// The Python that this module is linked with.
#[cfg(feature = "embedded")]
fn python_version() -> Option<PythonVersion> {
    PythonVersion::parse(host::running_version(), host::PYTHON_VERSION.ends_with('t'))
}

#[cfg(not(feature = "embedded"))]
const fn python_version() -> Option<PythonVersion> {
    None
}

impl ChildEnded for Start {
    fn ended(pid: u32) {
        if let Some(children) = ServerChildren::get() {
            children.release(pid);
        }
    }
}

impl ChildStopping for Start {
    fn stop() {
        forward::end_all();
    }

    fn drain() {
        #[cfg(feature = "embedded")]
        if let Some(python) = Child::get().and_then(|child| child.python.as_ref()) {
            python.note_leaving();
        }
        forward::drain();
        hub::begin_drain();
        hub::wake();
    }
}

/// Whether a process group may serve applications of ASGI.
fn serves_asgi(options: &ProcessOptions) -> bool {
    options.daemon_processes.iter().any(|group| group.config.interface != Interface::Wsgi)
}

/// Whether a line of the configuration has mod_http2 offer WebSockets.
fn offers_websockets_over_http_2() -> bool {
    let lines = every_directive(c"H2WebSockets");
    lines.iter().any(|text| text.trim_ascii().eq_ignore_ascii_case(b"on"))
}

/// The lines of the event MPM on which streams depend, where applications of ASGI are served under it.
fn stream_limits(options: &ProcessOptions) -> Option<StreamLimits> {
    if !serves_asgi(options) || Mpm::query().name != "event" {
        return None;
    }
    // httpd's own values are set by a hook that may run later.
    let number = |names: &[&CStr], default: usize| {
        let text = names.iter().find_map(|name| main_directive(name));
        let number = text.and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok());
        number.unwrap_or(default)
    };
    let threads = number(&[c"ThreadsPerChild"], 25);
    Some(StreamLimits {
        streams: parked_limit(threads, main_directive(WORKER_FACTOR).as_deref()),
        threads,
        waits_early: waits_early(),
        workers: number(&[c"MaxRequestWorkers", c"MaxClients"], 16 * threads),
        spare_threads: number(&[c"MaxSpareThreads"], 10 * threads),
        connections: number(&[c"MaxConnectionsPerChild", c"MaxRequestsPerChild"], 0),
    })
}

/// Bytes for a client up to which httpd's network filter does not wait for it, unless `FlushMaxThreshold` says otherwise
/// (`AP_FLUSH_MAX_THRESHOLD`).
const FLUSH_THRESHOLD: i64 = 65_535;

/// Whether the configuration has httpd's network filter wait for a client sooner than the hub reckons with, which never waits:
/// fewer bytes in memory (`FlushMaxThreshold`), or the end of a response that has not gone out (`FlushMaxPipelined 0`).
fn waits_early() -> bool {
    let is_among = |name: &CStr, range: std::ops::Range<i64>| {
        every_directive(name).iter().any(|text| {
            let text = std::str::from_utf8(text).unwrap_or_default();
            let number = text.trim_matches(['"', ' ', '\t']).parse::<i64>();
            number.is_ok_and(|number| range.contains(&number))
        })
    };
    is_among(c"FlushMaxThreshold", 0..FLUSH_THRESHOLD) || is_among(c"FlushMaxPipelined", 0..1)
}

/// What says how many connections a child of the event MPM accepts beyond its threads.
const WORKER_FACTOR: &CStr = c"AsyncRequestWorkerFactor";
/// How many connections of a child with so many `threads` may have no thread. A child of event accepts connections while it
/// has fewer than its threads and `AsyncRequestWorkerFactor` times those that are idle. A quarter of the latter, where all are
/// idle, leaves connections for at least three quarters of the threads.
fn parked_limit(threads: usize, factor: Option<&[u8]>) -> usize {
    let quarter = (threads as f64 * worker_factor(factor) / 4.0) as usize;
    quarter.min(hub::allowed_by_descriptors(sys::descriptor_limit()))
}

/// What the process is to be, with the names that the servers of its groups have ended up with.
fn resolve(config: &ProcessConfig, names: &ServerNames) -> ProcessOptions {
    let mut options = ProcessOptions::resolve(config);
    names.complete(&mut options.daemon_processes);
    options
}

fn server_names(main: Server<'_>) -> ServerNames {
    let hosts = main.and_following().filter(|server| server.is_virtual());
    ServerNames::new(hosts.filter_map(|host| Some((host.defined_at(), host.name()?.to_vec()))))
}

/// The aliases in force in each server.
fn aliases(main: Server<'_>) -> Vec<AliasesOf<'_>> {
    main.and_following()
        .map(|server| AliasesOf {
            name: server.name().unwrap_or_default(),
            port: server.port(),
            process_group: server_defaults(server).and_then(|it| it.process_group.as_deref()),
            application_group: server_defaults(server)
                .and_then(|it| it.application_group.as_deref()),
            aliases: server_config(server)
                .map(|config| config.script_aliases.iter().map(AsRef::as_ref).collect())
                .unwrap_or_default(),
        })
        .collect()
}

/// Dropped with the child's pool, on the main thread. A child of prefork is ended in a signal handler, wherever that finds
/// its one thread.
struct StopPythonGuard;

impl Drop for StopPythonGuard {
    fn drop(&mut self) {
        #[cfg(feature = "embedded")]
        if let Some(python) = Child::get().and_then(|child| child.python.as_ref()) {
            python.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_leave_connections_for_three_quarters_of_the_threads() {
        for (threads, factor) in [(4, 1), (8, 2), (25, 2), (64, 16), (3, 400)] {
            let streams = parked_limit(threads, Some(factor.to_string().as_bytes()));
            assert!(streams > 0);
            let busy = threads * 3 / 4;
            // What the event MPM compares before it accepts one more (`should_enable_listensocks`, `listener_thread`).
            assert!(streams + busy <= threads + (threads - busy) * factor, "{threads} {factor}");
        }
    }
}
