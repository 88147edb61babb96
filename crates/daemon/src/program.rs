//! From the command line to a group that runs, and back to an exit code.
#![forbid(unsafe_code)]

use crate::arguments::{self, Invocation, Standalone};
use crate::daemon_program::DaemonProgram;
use crate::drain_command;
use crate::launch::{ProcessRoles, TemplateStart, WorkerStart};
use crate::listen_address::ListenAddress;
use crate::log::Log;
use crate::log_queue;
use crate::manager::{self, Group, Outcome, Sockets, StartCauseMemory};
use crate::program_error::ProgramError;
use crate::serialized_start::SerializedStart;
use crate::socket_activation;
use crate::usage::USAGE;
use crate::worker::{self, Python};
use group_config::GroupConfig;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use wsgi::Level;

/// Runs Python in the process itself.
struct PythonProcess;

impl ProcessRoles for PythonProcess {
    fn run_worker(&self, start: WorkerStart) -> ! {
        worker::run(start, Python::ToStart)
    }

    fn run_template(&self, start: TemplateStart) -> ! {
        worker::run_template(start, Python::ToStart)
    }
}

/// What `wsgi-daemon-X.Y` does. Exit codes: 0, it was told to stop and did; 1, it could not start; 2, the
/// command line or the configuration is wrong. Those of `--drain`: 0, the daemon has drained; 1, it cannot be asked; 3, the
/// time is over.
pub fn main() -> ExitCode {
    exit_code(run_daemon())
}

/// What `wsgi-daemon-manager` does; see [`main`].
pub fn manage() -> ExitCode {
    let program = |config: &GroupConfig| {
        let path = config.program.as_ref().ok_or(ProgramError::NoProgram)?;
        config.descriptors.scoreboard.ok_or(ProgramError::NoScoreboard)?;
        DaemonProgram::open(path, config.python_program.as_ref())
            .map_err(|why| ProgramError::Unopenable(path.clone(), why))
    };
    exit_code(match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Inherited(number)) => manage_inherited(number, program),
        _ => Err(ProgramError::OnlyForApache),
    })
}

fn exit_code(result: Result<ExitCode, ProgramError>) -> ExitCode {
    result.unwrap_or_else(|why| {
        // Without standard error the exit code alone has to do.
        let _ = writeln!(io::stderr(), "wsgi-daemon: {why}");
        ExitCode::from(why.exit_code())
    })
}

fn run_daemon() -> Result<ExitCode, ProgramError> {
    let standalone =
        match arguments::parse(std::env::args_os().skip(1)).map_err(ProgramError::Usage)? {
            Invocation::Help => return Ok(write_stdout(USAGE)),
            Invocation::Version => {
                let version = env!("CARGO_PKG_VERSION");
                let python = host::PYTHON_VERSION;
                return Ok(write_stdout(&format!("wsgi-daemon {version}, Python {python}\n")));
            }
            Invocation::Drain { admin, limit } => {
                drain_command::drain(&admin, limit).map_err(ProgramError::Drain)?;
                return Ok(ExitCode::SUCCESS);
            }
            Invocation::Inherited(number) => {
                return manage_inherited(number, |_| Ok(PythonProcess));
            }
            Invocation::WorkerStart(number) => {
                let started = SerializedStart::read(number).and_then(|it| it.run(&PythonProcess));
                let Err(why) = started;
                return Err(ProgramError::Start(why));
            }
            Invocation::Standalone(standalone) => *standalone,
        };
    run_standalone(standalone)
}

/// Manages the group of a daemon without Apache.
fn run_standalone(standalone: Standalone) -> Result<ExitCode, ProgramError> {
    let standalone = standalone
        .in_environment(|name| std::env::var_os(name), std::process::id())
        .map_err(ProgramError::Usage)?;
    let shared = match standalone.inherited.is_empty() {
        true => create_sockets(&standalone, &standalone.listen)?,
        false => adopt_sockets(&standalone)?,
    };
    let admin = create_sockets(&standalone, &standalone.admin)?;
    for variable in socket_activation::VARIABLES {
        // It fails for names that no variable can have.
        let _ = sys::unset_variable(OsStr::new(variable));
    }
    let addresses = standalone.listen.into_iter().chain(standalone.admin);
    let paths = addresses.filter_map(|address| match address {
        ListenAddress::Unix(path) => Some(path),
        ListenAddress::Tcp(_) => None,
    });
    let paths = paths.collect();
    Ok(run_group(standalone.config, standalone_sockets(shared, admin), paths, &PythonProcess))
}

/// Sockets that the command line names.
fn create_sockets(
    standalone: &Standalone,
    addresses: &[ListenAddress],
) -> Result<Vec<OwnedFd>, ProgramError> {
    let Standalone { socket_mode, config, .. } = standalone;
    let create = |address: &ListenAddress| manager::create_socket(address, *socket_mode, config);
    addresses.iter().map(create).collect::<Result<_, _>>().map_err(ProgramError::Socket)
}

/// The sockets that are passed to the program.
fn adopt_sockets(standalone: &Standalone) -> Result<Vec<OwnedFd>, ProgramError> {
    let adopt = |number: RawFd| {
        let socket = sys::take_inherited(number)
            .map_err(|why| ProgramError::MissingDescriptor(number, why))?;
        if !sys::is_listening(socket.as_fd()) {
            return Err(ProgramError::NotListening(number));
        }
        if let Some(address) = sys::local_address(socket.as_fd()) {
            standalone.check_open(address).map_err(ProgramError::Usage)?;
            sys::prepare_tcp_listener(socket.as_fd())
                .map_err(|why| ProgramError::MissingDescriptor(number, why))?;
        }
        Ok(socket)
    };
    standalone.inherited.clone().map(adopt).collect()
}

/// Manages a group for Apache; `roles` is what the group's new processes do.
fn manage_inherited<R: ProcessRoles>(
    number: RawFd,
    roles: impl FnOnce(&GroupConfig) -> Result<R, ProgramError>,
) -> Result<ExitCode, ProgramError> {
    let config = read_config(number)?;
    config.check().map_err(ProgramError::Config)?;
    let sockets = inherited_sockets(&config)?;
    let roles = roles(&config)?;
    Ok(run_group(config, sockets, Vec::new(), &roles))
}

/// Manages a group, and in its new processes is what `roles` makes of them. `paths` are socket files that are removed
/// when the manager ends.
fn run_group(
    config: GroupConfig,
    sockets: Sockets,
    paths: Vec<PathBuf>,
    roles: &dyn ProcessRoles,
) -> ExitCode {
    let log = Log::of_manager(&config);
    std::thread::sleep(config.delay.min(Duration::from_secs(60)));
    let manager = std::process::id();
    let code = match manage_group(&config, log, sockets) {
        Ok(Outcome::Worker(start)) => roles.run_worker(*start),
        Ok(Outcome::Template(start)) => roles.run_template(*start),
        Ok(Outcome::Stopped) => ExitCode::SUCCESS,
        Err(why) => {
            log.write_of_group(Level::Critical, &config.name, &why);
            ExitCode::from(ProgramError::START_FAILED)
        }
    };
    log_queue::finish();
    for path in paths.iter().filter(|_| std::process::id() == manager) {
        if let Err(why) = std::fs::remove_file(path) {
            let line = format!("cannot remove the socket {}: {why}", path.display());
            log.write(Level::Warning, line.as_bytes());
        }
    }
    code
}

/// Manages a group. In a new process nothing is left of the manager's memory for the cause of a failed start when this has
/// returned.
///
/// # Errors
/// Why the group cannot be managed, in a sentence that Apache knows as well.
fn manage_group(config: &GroupConfig, log: Log, mut sockets: Sockets) -> Result<Outcome, String> {
    let cannot = |why: io::Error| format!("cannot manage the group: {why}");
    let file = sockets.start_cause.take();
    let cause = Rc::new(StartCauseMemory::map(file.as_ref()).map_err(cannot)?);
    drop(file);
    let outcome = manager::drop_privileges(config, &log).map_err(|why| why.to_string());
    let outcome = outcome.and_then(|()| {
        let group = Group::new(config.clone(), log, sockets, Rc::clone(&cause));
        group.and_then(Group::run).map_err(cannot)
    });
    if let Err(why) = &outcome {
        cause.put(Some(why));
    }
    outcome
}

fn read_config(number: RawFd) -> Result<GroupConfig, ProgramError> {
    let mut text = Vec::new();
    sys::take_inherited(number)
        .and_then(|file| File::from(file).read_to_end(&mut text))
        .map_err(|why| ProgramError::UnreadableConfig(number, why))?;
    serde_json::from_slice(&text).map_err(ProgramError::MalformedConfig)
}

fn inherited_sockets(config: &GroupConfig) -> Result<Sockets, ProgramError> {
    let mut numbers: Vec<_> = config.inherited().collect();
    numbers.sort_unstable();
    if numbers.windows(2).any(|pair| pair.first() == pair.last()) || numbers.iter().any(|n| *n < 3)
    {
        return Err(ProgramError::AmbiguousDescriptors);
    }
    let adopt = |number: RawFd| {
        sys::take_inherited(number).map_err(|why| ProgramError::MissingDescriptor(number, why))
    };
    let optional = |number: Option<RawFd>| number.map(adopt).transpose();
    let named = &config.descriptors;
    Ok(Sockets {
        shared: optional(named.shared_socket)?.into_iter().collect(),
        workers: named.worker_sockets.iter().copied().map(adopt).collect::<Result<_, _>>()?,
        admin: optional(named.admin)?.into_iter().collect(),
        parent: optional(named.parent)?,
        ready: optional(named.ready)?,
        scoreboard: optional(named.scoreboard)?,
        start_cause: optional(named.start_cause)?,
        request_counts: optional(named.request_counts)?,
        sent_counts: optional(named.sent_counts)?,
    })
}

fn standalone_sockets(shared: Vec<OwnedFd>, admin: Vec<OwnedFd>) -> Sockets {
    Sockets {
        shared,
        admin,
        workers: Vec::new(),
        parent: None,
        ready: None,
        scoreboard: None,
        start_cause: None,
        request_counts: None,
        sent_counts: None,
    }
}

fn write_stdout(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(ProgramError::START_FAILED),
    }
}
