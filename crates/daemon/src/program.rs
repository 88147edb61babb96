//! From the command line to a group that runs, and back to an exit code.
#![forbid(unsafe_code)]

use crate::arguments::{self, ByHand, Command, USAGE};
use crate::config::GroupConfig;
use crate::launch::{Occupant, Program, Seat, TemplateSeat, Ticket};
use crate::log::Log;
use crate::manager::{self, Group, Outcome, Sockets};
use crate::posix;
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

/// Who runs Python right here.
struct Here;

impl Occupant for Here {
    fn work(&self, seat: Seat) -> ! {
        worker::run(seat, None)
    }

    fn stand_by(&self, seat: TemplateSeat) -> ! {
        worker::run_template(seat)
    }
}

/// What `wsgi-daemon-X.Y` does. Exit codes: 0, it was told to stop and did; 1, it could not start; 2, the
/// command line or the configuration is wrong.
pub fn main() -> ExitCode {
    let command = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(why) => return refuse(USAGE_ERROR, &format!("{why}; --help shows what there is")),
    };
    let by_hand = match command {
        Command::Help => return print(USAGE),
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            return print(&format!("wsgi-daemon {version}, Python {}\n", host::PYTHON_VERSION));
        }
        Command::Inherited(number) => return manage_inherited(number, |_| Ok(Here)),
        Command::Seat(number) => {
            let taken = Ticket::read(number)
                .and_then(|ticket| ticket.take(&Here).map_err(|why| why.to_string()));
            let Err(why) = taken;
            return refuse(START_ERROR, &why);
        }
        Command::ByHand(by_hand) => by_hand,
    };
    let ByHand { listen, socket_mode, config } = *by_hand;
    match manager::create(&listen, socket_mode, &config) {
        Ok(listener) => run(config, by_hand_sockets(listener), Some(listen), &Here),
        Err(why) => refuse(START_ERROR, &why),
    }
}

/// What `wsgi-daemon-manager` does; see [`main`].
pub fn manage() -> ExitCode {
    let program = |config: &GroupConfig| {
        let path = config.program.as_ref().ok_or("the configuration names no program")?;
        config.descriptors.scoreboard.ok_or("the configuration names no scoreboard")?;
        Program::open(path).map_err(|why| format!("cannot open {}: {why}", path.display()))
    };
    match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Command::Inherited(number)) => manage_inherited(number, program),
        _ => refuse(USAGE_ERROR, "wsgi-daemon-manager is for Apache; see wsgi-daemon-X.Y --help"),
    }
}

/// Manages a group for Apache. `occupant` is who takes the seats of its new processes.
fn manage_inherited<O: Occupant>(
    number: RawFd,
    occupant: impl FnOnce(&GroupConfig) -> Result<O, String>,
) -> ExitCode {
    let config = match read_config(number) {
        Ok(config) => config,
        Err(why) => return refuse(USAGE_ERROR, &why),
    };
    if let Err(why) = config.check() {
        return refuse(USAGE_ERROR, &format!("the configuration: {why}"));
    }
    let found = inherited(&config).and_then(|sockets| Ok((sockets, occupant(&config)?)));
    match found {
        Ok((sockets, occupant)) => run(config, sockets, None, &occupant),
        Err(why) => refuse(START_ERROR, &why),
    }
}

fn run(
    config: GroupConfig,
    sockets: Sockets,
    file: Option<PathBuf>,
    occupant: &dyn Occupant,
) -> ExitCode {
    let log = Log::new(config.log_level);
    std::thread::sleep(Duration::from_secs_f64(config.delay.clamp(0.0, 60.0)));
    let manager = std::process::id();
    let started = manager::assume(&config, &log).and_then(|()| {
        Group::new(config.clone(), log, sockets)
            .and_then(Group::run)
            .map_err(|why| format!("cannot manage the group: {why}"))
    });
    let outcome = match started {
        Ok(Outcome::Worker(seat)) => occupant.work(*seat),
        Ok(Outcome::Template(seat)) => occupant.stand_by(*seat),
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
