//! From the configuration to a child process that serves: checked at configtest, prepared as root,
//! started in each child. Python starts here, in children only (design decision D6).
#![forbid(unsafe_code)]

use crate::apr::Pool;
use crate::config::ProcessOptions;
use crate::daemons::Applications;
use crate::daemons::daemon_program;
use crate::daemons::supervisor::{self, EndOfParent};
use crate::daemons::warm_up;
use crate::forward::Group;
use crate::httpd::{CheckConfig, ChildInit, Facts, PostConfig, Server, log_server};
use crate::module::{process_config, server_config, server_defaults};
use crate::sole::{AliasesOf, is_sole, scripts};
use std::sync::OnceLock;
use wsgi::Level;

/// This module's hooks on the life of the server.
pub(crate) struct Start;

/// What requests need to know of the process they are served in.
pub(crate) struct Child {
    /// Its process id; asked of the kernel once.
    pub(crate) pid: u32,
    pub(crate) options: ProcessOptions,
    /// One application only is served here (design decision D5).
    pub(crate) sole: bool,
    /// The daemon process groups.
    pub(crate) groups: Vec<Group>,
    #[cfg(feature = "embedded")]
    pub(crate) host: Option<host::Host>,
}

/// Set once in each child process, which never sees another configuration.
static CHILD: OnceLock<Child> = OnceLock::new();

impl Child {
    pub(crate) fn get() -> Option<&'static Self> {
        CHILD.get()
    }
}

impl CheckConfig for Start {
    fn check(_configuration: Pool<'_>, main: Server<'_>) -> Result<(), String> {
        match look(main) {
            // What files are not there any more is no reason to end a server with all that it serves.
            Err(why) if supervisor::has_started() => {
                log_server(main, Level::Error, why.as_bytes());
                Ok(())
            }
            looked => looked,
        }
    }
}

/// What of the configuration and of the files it names cannot work?
fn look(main: Server<'_>) -> Result<(), String> {
    let Some(config) = process_config(main) else { return Ok(()) };
    let options = ProcessOptions::resolve(config);
    for group in &options.daemon_processes {
        let looked = daemon_program::find(group, &options)
            .and_then(|_| daemon_program::check_home(group, &options));
        if let Err(why) = looked {
            daemon_program::concerns_it_alone(group, why).map(|why| {
                let line = format!("{why}; the other process groups are not concerned");
                log_server(main, Level::Error, line.as_bytes());
            })?;
        }
        let servers = aliases(main);
        warm_up::prepare(group, is_sole(config, &group.name, &servers), &servers)?;
    }
    #[cfg(feature = "embedded")]
    embedded::check(&options)?;
    Ok(())
}

impl PostConfig for Start {
    fn prepare(configuration: Pool<'_>, main: Server<'_>) -> Result<(), String> {
        Facts::find_https_lookup();
        let version = concat!("mod_wsgi_rs/", env!("CARGO_PKG_VERSION"));
        Facts::add_version_component(configuration, version);
        #[cfg(feature = "embedded")]
        Facts::add_version_component(configuration, &format!("Python/{}", host::PYTHON_VERSION));
        let Some(config) = process_config(main) else { return Ok(()) };
        if Facts::is_rehearsal() {
            return Ok(());
        }
        let servers = aliases(main);
        let options = ProcessOptions::resolve(config);
        static END: std::sync::Once = std::sync::Once::new();
        END.call_once(|| {
            main.process_pool().adopt(EndOfParent);
        });
        supervisor::reconcile(configuration, main, &options, &|group| {
            let sole = is_sole(config, &group.name, &servers);
            let warm_up = warm_up::prepare(group, sole, &servers)?;
            Ok(Applications { sole, scripts: scripts(&group.name, &servers), warm_up })
        })
    }
}

impl ChildInit for Start {
    fn start(child: Pool<'_>, main: Server<'_>) {
        let Some(config) = process_config(main) else { return };
        let options = ProcessOptions::resolve(config);
        let servers = aliases(main);
        let groups = supervisor::plans().into_iter().map(Group::new).collect();
        if !Facts::is_single_process() {
            supervisor::leave_to_parent();
        }
        let sole = is_sole(config, b"", &servers);
        #[cfg(feature = "embedded")]
        let host = embedded::start(&options, sole, main);
        let started = CHILD.set(Child {
            pid: std::process::id(),
            options,
            sole,
            groups,
            #[cfg(feature = "embedded")]
            host,
        });
        if started.is_ok() {
            child.adopt(Stop);
        }
    }
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

/// Dropped with the child's pool, on the thread that started Python.
struct Stop;

impl Drop for Stop {
    fn drop(&mut self) {
        #[cfg(feature = "embedded")]
        if let Some(host) = Child::get().and_then(|child| child.host.as_ref()) {
            host.stop("");
        }
    }
}

#[cfg(feature = "embedded")]
mod embedded {
    //! Python in Apache's own processes.

    use crate::config::{Bytes, HashSeed, ImportScript, InterpreterSettings, ProcessOptions};
    use crate::httpd::{Facts, Mpm, Server, ServerLogHandle};
    use crate::modified::modified;
    use crate::posix;
    use crate::python_home::{self, Reader};
    use crate::server_status::ApacheStatus;
    use host::{
        ApacheFacts, Host, HostOptions, InterpreterOptions, ScriptFile, Target, TelemetryOptions,
    };
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use wsgi::Level;

    /// Would Python start in the children?
    pub(super) fn check(options: &ProcessOptions) -> Result<(), String> {
        if !options.embedded_python {
            return Ok(());
        }
        let (uid, gid) = if posix::is_root() { Facts::account() } else { posix::account() };
        let reader = Reader { uid, gid, groups: None };
        match home(options) {
            Some(home) => python_home::check("WSGIPythonHome", &home, host::PYTHON_VERSION, reader),
            None => {
                let program = Path::new(host::BUILT_FOR);
                python_home::check_default(program, host::PYTHON_VERSION, reader)
            }
        }
    }

    /// Starts Python, unless the configuration keeps it out of Apache's processes.
    pub(super) fn start(options: &ProcessOptions, sole: bool, main: Server<'_>) -> Option<Host> {
        if !options.embedded_python {
            return None;
        }
        let log = Arc::new(ServerLogHandle::of(main));
        match Host::start(host_options(options), Arc::clone(&log) as Arc<dyn host::ServerLog>) {
            Ok(host) => {
                for script in options.import_scripts(b"") {
                    preload(&host, options, sole, script);
                }
                host.report();
                Some(host)
            }
            Err(why) => {
                let line = format!("WSGI0036: Python cannot be started in this process: {why}");
                host::ServerLog::log(&*log, Level::Critical, line.as_bytes());
                None
            }
        }
    }

    fn preload(host: &Host, options: &ProcessOptions, sole: bool, script: &ImportScript) {
        host.preload(&Target {
            script: ScriptFile {
                path: &script.path,
                modified: modified(&script.path),
                reloading: true,
                case_sensitive: options.case_sensitive,
            },
            callable: b"",
            application_group: &script.application_group,
            main_interpreter: sole,
        });
    }

    fn host_options(options: &ProcessOptions) -> HostOptions {
        let mpm = Mpm::query();
        let all = options.interpreter(b"", None);
        HostOptions {
            python_home: home(options),
            home: None,
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
            interruptible: false,
            single_process: Facts::is_single_process(),
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
                version: Facts::VERSION,
                description: Facts::description(),
                mpm_name: mpm.name,
                build_date: Facts::built(),
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
            restrict_signal: settings.restrict_signal,
            own_gil: settings.own_gil,
        }
    }

    fn home(options: &ProcessOptions) -> Option<PathBuf> {
        options.python_home.as_deref().map(|home| python_home::normalised(&path(home)))
    }

    fn path(bytes: &[u8]) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(bytes))
    }
}
