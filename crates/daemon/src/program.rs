//! From the command line to a group that runs, and back to an exit code.
#![forbid(unsafe_code)]

use crate::arguments::{self, Command, USAGE};
use crate::config::GroupConfig;
use crate::group::{Group, Outcome, Sockets};
use crate::identity;
use crate::log::Log;
use crate::posix;
use crate::socket;
use crate::template;
use crate::worker;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use wsgi::Level;

/// Something is wrong with the command line or the configuration.
const USAGE_ERROR: u8 = 2;
/// The group could not be started.
const START_ERROR: u8 = 1;

/// What the program does. Exit codes: 0, it was told to stop and did; 1, it could not start; 2, the
/// command line or the configuration is wrong.
pub fn main() -> ExitCode {
    let command = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(why) => return refuse(USAGE_ERROR, &format!("{why}; --help shows what there is")),
    };
    let (config, file) = match command {
        Command::Help => return print(USAGE),
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            return print(&format!("wsgi-daemon {version}, Python {}\n", host::PYTHON_VERSION));
        }
        Command::Inherited(number) => match read_config(number) {
            Ok(config) => (config, None),
            Err(why) => return refuse(USAGE_ERROR, &why),
        },
        Command::ByHand(by_hand) => {
            let made = socket::create(&by_hand.listen, by_hand.socket_mode, &by_hand.config);
            match made {
                Ok(listener) => {
                    return run(by_hand.config, by_hand_sockets(listener), Some(by_hand.listen));
                }
                Err(why) => return refuse(START_ERROR, &why),
            }
        }
    };
    if let Err(why) = config.check() {
        return refuse(USAGE_ERROR, &format!("the configuration: {why}"));
    }
    match inherited(&config) {
        Ok(sockets) => run(config, sockets, file),
        Err(why) => refuse(START_ERROR, &why),
    }
}

fn run(config: GroupConfig, sockets: Sockets, file: Option<PathBuf>) -> ExitCode {
    let log = Log::new(config.log_level);
    std::thread::sleep(Duration::from_secs_f64(config.delay.clamp(0.0, 60.0)));
    let manager = std::process::id();
    let started = identity::assume(&config, &log).and_then(|()| {
        Group::new(config.clone(), log, sockets)
            .and_then(Group::run)
            .map_err(|why| format!("cannot manage the group: {why}"))
    });
    let outcome = match started {
        Ok(Outcome::Worker(seat)) => worker::run(*seat, None),
        Ok(Outcome::Template(seat)) => template::run(*seat),
        Ok(Outcome::Stopped) => ExitCode::SUCCESS,
        Err(why) => {
            log.write(Level::Critical, format!("daemon '{}' {why}", config.name).as_bytes());
            ExitCode::from(START_ERROR)
        }
    };
    if let Some(file) = file.filter(|_| std::process::id() == manager)
        && let Err(why) = std::fs::remove_file(&file)
    {
        let line = format!("cannot remove the socket {}: {why}", file.display());
        log.write(Level::Warning, line.as_bytes());
    }
    outcome
}

fn read_config(number: RawFd) -> Result<GroupConfig, String> {
    let wrong =
        |why: io::Error| format!("cannot read the configuration from descriptor {number}: {why}");
    let mut text = Vec::new();
    File::from(posix::adopt(number).map_err(wrong)?).read_to_end(&mut text).map_err(wrong)?;
    serde_json::from_slice(&text).map_err(|why| format!("the configuration: {why}"))
}

fn inherited(config: &GroupConfig) -> Result<Sockets, String> {
    let mut numbers: Vec<_> = config.inherited().collect();
    numbers.sort_unstable();
    if numbers.windows(2).any(|pair| pair.first() == pair.last()) || numbers.iter().any(|n| *n < 3)
    {
        return Err("descriptors: each has to be another one, from 3 on".to_owned());
    }
    let adopt = |number: RawFd| {
        posix::adopt(number).map_err(|why| format!("descriptor {number} cannot be used: {why}"))
    };
    let optional = |number: Option<RawFd>| number.map(adopt).transpose();
    let named = &config.descriptors;
    Ok(Sockets {
        shared: optional(named.shared_socket)?,
        workers: named.worker_sockets.iter().copied().map(adopt).collect::<Result<_, _>>()?,
        parent: optional(named.parent)?,
        ready: optional(named.ready)?,
        scoreboard: optional(named.scoreboard)?,
    })
}

fn by_hand_sockets(listener: OwnedFd) -> Sockets {
    Sockets {
        shared: Some(listener),
        workers: Vec::new(),
        parent: None,
        ready: None,
        scoreboard: None,
    }
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(START_ERROR),
    }
}

fn refuse(code: u8, why: &str) -> ExitCode {
    // Nobody is left to tell.
    let _ = writeln!(io::stderr(), "wsgi-daemon: {why}");
    ExitCode::from(code)
}
