//! The program `mod_wsgi_rs`: serves an application behind an Apache of its own, or writes the folder of a server that
//! an administrator keeps. It knows mod_wsgi_rs through directives only, and no Python: what it tells Python is a file.
//!
//! Read in this order: `options` (the command line), `machine` (what there is), `application` (what to serve), `server`
//! (the files of a server), `launcher` (Apache as a child), `reload` (development), `doctor`, `control` (a server that runs).
#![forbid(unsafe_code)]

mod application;
mod certificates;
mod control;
mod doctor;
mod failure;
mod launcher;
mod lines;
mod machine;
mod module_commands;
mod options;
mod reload;
mod server;
mod text_file;

use crate::failure::Failure;
use crate::options::{Command, ServerOptions};
use std::io::Write;
use std::process::ExitCode;

/// Runs the command of this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if std::env::args_os().nth(1).is_some_and(|word| word == launcher::SUPERVISED) {
        words.next();
        return launcher::run_supervised(words);
    }
    let arguments: Vec<String> =
        words.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let folder = std::env::current_dir().unwrap_or_default();
    let done = match options::parse(&arguments, environment, &folder) {
        Ok((command, note)) => {
            if let Some(note) = note {
                lines::to_standard_error(&format!("mod_wsgi_rs: {note}\n"));
            }
            run(command)
        }
        Err(options::Unparsed::Failure(failure)) => Err(failure),
        Err(options::Unparsed::Clap(error)) => {
            // Help and version go to standard output; where that is closed there is no reader.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match done {
        Ok(status) => status,
        Err(failure) => {
            lines::to_standard_error(&format!("mod_wsgi_rs: {failure}\n"));
            ExitCode::from(failure.exit_status())
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::StartServer(options) if !options.setup_only => return launcher::start(&options),
        Command::StartServer(options) | Command::SetupServer(options) => set_up(&options)?,
        Command::ModuleLocation(options) => print(&module_commands::location(&options)?)?,
        Command::ModuleConfig(options) => print(&module_commands::config(&options)?)?,
        Command::InstallModule(options) => print(&module_commands::install(&options)?)?,
        Command::Doctor(options) => return doctor::run(&options),
        Command::Status(options) => return Ok(control::status(&options)),
        Command::Ps(options) => {
            return control::answer(&options.control, control::ps(&options));
        }
        Command::Stacks(options) => {
            return control::answer(&options.control, control::stacks(&options));
        }
        Command::Top(options) => return control::top(options),
        Command::Reload(options) => {
            return control::answer(&options.control, control::reload(&options));
        }
        Command::Drain(options) => {
            return control::answer(&options.control, control::drain(&options));
        }
        Command::Recycle(options) => {
            return control::answer(&options.control, control::recycle(&options));
        }
        Command::LogLevel(options) => {
            return control::answer(&options.control, control::log_level(&options));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the files, and says what they are and how the server is started.
fn set_up(options: &ServerOptions) -> Result<(), Failure> {
    let setup = server::write(options, server::Purpose::Keep)?;
    let mut text = server::what_was_chosen(&setup);
    if let Some(note) = &setup.note {
        lines::to_standard_error(&format!("{note}\n"));
    }
    text.push_str(&format!("server root: {}\n", setup.root.path().display()));
    text.push_str(&format!("start it with: {} start\n", setup.root.join("apachectl").display()));
    print(&text)
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|why| Failure::server(format!("standard output: {why}")))
}
