//! The commands, and how their options get values.

use super::access::AccessControl;
use super::buffers::Buffers;
use super::capacity::Capacity;
use super::content::Content;
use super::control::{OfGroup, OfGroups, OfLogLevel, OfProcess, OfStacks, OfTop};
use super::development::Development;
use super::doctor::Doctor;
use super::entry_point::EntryPoint;
use super::identity::{Identity, Programs};
use super::layers::Layers;
use super::listener::Listener;
use super::logs::Logs;
use super::measurement::Measurement;
use super::proxying::Proxying;
use super::refused;
use super::services::Services;
use super::timeouts::Timeouts;
use crate::failure::Failure;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::{Path, PathBuf};

/// Serves Python applications behind an Apache of their own.
///
/// Every option of a command is also a variable MOD_WSGI_RS_NAME, as in MOD_WSGI_RS_SERVER_NAME, and may stand in
/// pyproject.toml under [tool.mod_wsgi_rs]. An argument stands above a variable, and that above the file.
#[derive(Parser, Debug)]
#[command(name = "mod_wsgi_rs", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Serve an application until Ctrl-C or SIGTERM
    StartServer(Box<ServerOptions>),
    /// Write the folder of a server that an administrator keeps: httpd.conf, apachectl, envvars, a unit of systemd
    SetupServer(Box<ServerOptions>),
    /// Print the lines that load the module into an Apache
    ModuleConfig(ModuleConfig),
    /// Copy the module and its programs into the folder of Apache's modules
    InstallModule(InstallModule),
    /// Print where the module is
    ModuleLocation(ModuleLocation),
    /// Look at an Apache as it is configured or runs, and say what is wrong or slow
    Doctor(Doctor),
    /// Show the state of the process groups of a running server; the exit status is that of a monitoring plugin
    Status(OfGroups),
    /// List the processes of the process groups of a running server
    Ps(OfGroups),
    /// Show the process groups of a running server live
    Top(OfTop),
    /// Show the Python stacks of the threads of a process group
    Stacks(OfStacks),
    /// Replace the processes of a process group by new ones, without losing a request
    Reload(OfGroup),
    /// Take a process group out of service until it is reloaded: requests under way have shutdown-timeout, new ones get a 503
    Drain(OfGroup),
    /// Replace one process of a process group
    Recycle(OfProcess),
    /// Change at once what the processes of a group write to the error log, until it is reloaded or Apache restarts
    LogLevel(OfLogLevel),
}

/// Options of start-server and setup-server.
#[derive(Args, Clone, Debug, serde::Serialize)]
pub(crate) struct ServerOptions {
    #[command(flatten)]
    pub(crate) entry_point: EntryPoint,
    #[command(flatten)]
    pub(crate) development: Development,
    #[command(flatten)]
    pub(crate) listener: Listener,
    #[command(flatten)]
    pub(crate) capacity: Capacity,
    #[command(flatten)]
    pub(crate) timeouts: Timeouts,
    #[command(flatten)]
    pub(crate) buffers: Buffers,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) content: Content,
    #[command(flatten)]
    pub(crate) proxying: Proxying,
    #[command(flatten)]
    pub(crate) access: AccessControl,
    #[command(flatten)]
    pub(crate) logs: Logs,
    #[command(flatten)]
    pub(crate) services: Services,
    #[command(flatten)]
    pub(crate) measurement: Measurement,
    /// write the files and start nothing, as setup-server does
    #[arg(long, hide = true)]
    pub(crate) setup_only: bool,
    /// The variables of --env-file.
    #[arg(skip)]
    pub(crate) variables: Vec<(String, String)>,
}

/// Options of module-config.
#[derive(Args, Debug)]
pub(crate) struct ModuleConfig {
    #[command(flatten)]
    pub(crate) programs: Programs,
    /// virtual environment or prefix of the Python [default: as with start-server]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) python_home: Option<PathBuf>,
}

/// Options of install-module.
#[derive(Args, Debug)]
pub(crate) struct InstallModule {
    #[command(flatten)]
    pub(crate) programs: Programs,
    /// virtual environment or prefix of the Python in the lines that are printed [default: as with start-server]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) python_home: Option<PathBuf>,
}

/// Options of module-location.
#[derive(Args, Debug)]
pub(crate) struct ModuleLocation {
    #[command(flatten)]
    pub(crate) programs: Programs,
}

/// What the command line could not be turned into.
pub(crate) enum Unparsed {
    /// Clap's own text: help, version, or an error.
    Clap(clap::Error),
    /// One of ours.
    Failure(Failure),
}

impl From<Failure> for Unparsed {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// The command that the arguments, without the program's name, ask for, and a sentence about options that are not used.
pub(crate) fn parse(
    arguments: &[String],
    environment: impl Iterator<Item = (String, String)>,
    folder: &Path,
) -> Result<(Command, Option<String>), Unparsed> {
    let serves =
        matches!(arguments.first().map(String::as_str), Some("start-server" | "setup-server"));
    let layers = Layers::read(arguments, environment, folder, serves)?;
    let complete = with_values_from_outside(&layers);
    if let Some(name) = layers.unknown(&complete) {
        let sentence = format!("pyproject.toml: tool.mod_wsgi_rs.{name} is no option");
        return Err(Failure::usage(sentence).into());
    }
    let asked = arguments.first().and_then(|name| complete.find_subcommand(name));
    let words = std::iter::once("mod_wsgi_rs").chain(arguments.iter().map(String::as_str));
    let matches = complete
        .clone()
        .try_get_matches_from(words)
        .map_err(|error| with_origin(error, &layers, asked))?;
    if let Some((_, matches)) = matches.subcommand()
        && matches.try_contains_id("debug-mode").is_ok()
        && let Some(sentence) = refused::sentence(matches)
    {
        return Err(Failure::usage(sentence).into());
    }
    let mut parsed = CommandLine::from_arg_matches(&matches).map_err(Unparsed::Clap)?;
    if let Command::StartServer(options) | Command::SetupServer(options) = &mut parsed.command {
        options.variables = layers.from_files;
    }
    Ok((parsed.command, layers.note))
}

/// All commands, whose options have the values from outside as their defaults.
fn with_values_from_outside(layers: &Layers) -> clap::Command {
    let server = |command: clap::Command| {
        // Of an option that is given twice the last one counts, as with mod_wsgi-express.
        refused::declare(command).args_override_self(true)
    };
    CommandLine::command()
        .mut_subcommand("start-server", server)
        .mut_subcommand("setup-server", server)
        .mut_subcommands(|command| layers.apply(command))
}

/// Says where a wrong value of the command that was asked for stands, if it is no argument.
fn with_origin(error: clap::Error, layers: &Layers, asked: Option<&clap::Command>) -> Unparsed {
    let kinds =
        [ErrorKind::ValueValidation, ErrorKind::InvalidValue, ErrorKind::WrongNumberOfValues];
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else {
        return Unparsed::Clap(error);
    };
    let long = arg.trim_start_matches('-').split(' ').next().unwrap_or_default().to_owned();
    let origin = asked.and_then(|command| layers.origin(command, &long));
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.clone(),
        _ => String::new(),
    };
    // An argument stands above the origin, so that the value tells whether it is meant.
    match origin {
        Some(origin) if kinds.contains(&error.kind()) && layers.has(asked, &long, &value) => {
            let why = std::error::Error::source(&error).map(|why| format!(": {why}"));
            let why = why.unwrap_or_default();
            Failure::usage(format!("{origin}: '{value}' is no value for --{long}{why}")).into()
        }
        _ => Unparsed::Clap(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longs(command: &clap::Command) -> Vec<&str> {
        command.get_arguments().filter_map(clap::Arg::get_long).collect()
    }

    fn variable(long: &str) -> String {
        format!("MOD_WSGI_RS_{}", long.replace('-', "_").to_ascii_uppercase())
    }

    #[test]
    fn each_option_of_each_command_is_a_variable() {
        let plain = CommandLine::command();
        let mut checked = 0;
        for command in plain.get_subcommands() {
            // The files that --env-file names would have to exist.
            let longs: Vec<&str> =
                longs(command).into_iter().filter(|long| *long != "env-file").collect();
            let variables = longs.iter().map(|long| (variable(long), "1".to_owned()));
            let layers = Layers::read(&[], variables, Path::new("/no/such/folder"), true).unwrap();
            let complete = with_values_from_outside(&layers);
            let changed = complete.find_subcommand(command.get_name()).unwrap();
            for long in longs {
                let arg = changed.get_arguments().find(|arg| arg.get_long() == Some(long)).unwrap();
                let values: Vec<_> =
                    arg.get_default_values().iter().map(|it| it.to_string_lossy()).collect();
                let name = command.get_name();
                assert!(values == ["1"] || values == ["true"], "{name} --{long}: {values:?}");
                checked += 1;
            }
        }
        assert!(checked > 200, "{checked}");
    }
}
