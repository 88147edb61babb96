//! What a new process of a group is to be, and how that is told to one that runs another program: the
//! manager without Python is not copied but replaced by `wsgi-daemon-X.Y` (`fexecve`).
#![forbid(unsafe_code)]

use crate::config::GroupConfig;
use crate::log::Log;
use crate::message::{Channel, Loaded};
use crate::posix;
use crate::process_title;
use scoreboard::{Record, Scoreboard};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::SharedWords;
use wsgi::Level;

/// What a worker starts with.
pub(crate) struct Seat {
    pub(crate) config: GroupConfig,
    pub(crate) log: Log,
    pub(crate) place: Place,
    pub(crate) channel: Channel,
    pub(crate) sockets: Vec<OwnedFd>,
    /// Scripts its predecessors had loaded.
    pub(crate) known: Vec<Loaded>,
    /// The manager's pid.
    pub(crate) manager: u32,
}

/// What a template starts with.
pub(crate) struct TemplateSeat {
    pub(crate) config: GroupConfig,
    pub(crate) log: Log,
    pub(crate) memory: Memory,
    pub(crate) channel: Channel,
    /// Those of the worker slots, by slot.
    pub(crate) sockets: Vec<Option<OwnedFd>>,
    pub(crate) shared: Option<OwnedFd>,
    /// Scripts that workers had to load.
    pub(crate) scripts: Vec<Loaded>,
    /// The manager's pid.
    pub(crate) manager: u32,
}

/// The scoreboard, and the file it is in where whoever started the group has given one.
pub(crate) struct Memory {
    pub(crate) board: Scoreboard<'static>,
    pub(crate) file: Option<OwnedFd>,
}

/// A worker's place on the scoreboard.
pub(crate) struct Place {
    pub(crate) memory: Memory,
    pub(crate) slot: usize,
    pub(crate) generation: u64,
}

impl Place {
    pub(crate) fn record(&self) -> Record<'static> {
        self.memory.board.record(self.slot, self.generation)
    }
}

impl Memory {
    /// In a new process: leaves the group, which is about to end there, without its file.
    pub(crate) fn take(&mut self) -> Self {
        Self { board: self.board, file: self.file.take() }
    }

    /// Takes the memory up.
    pub(crate) fn of(file: Option<OwnedFd>, config: &GroupConfig) -> io::Result<Self> {
        let (most, threads) = (config.processes.most as usize, config.threads as usize);
        let size = Scoreboard::size(most, threads);
        let words = match &file {
            Some(file) => SharedWords::of_file(file.as_fd(), size),
            None => SharedWords::new(size),
        }?;
        let words = words.leak();
        Ok(Self { board: Scoreboard::new(words, most, threads), file })
    }
}

/// What a new process of a group does with its seat.
pub(crate) trait Occupant {
    /// It is a worker.
    fn work(&self, seat: Seat) -> !;
    /// It is a template (`preload=On`).
    fn stand_by(&self, seat: TemplateSeat) -> !;
}

/// A seat on its way into another program. Descriptors are inherited under their numbers.
#[derive(Deserialize, Serialize)]
pub(crate) struct Ticket {
    config: GroupConfig,
    manager: u32,
    channel: RawFd,
    scoreboard: RawFd,
    scripts: Vec<Loaded>,
    /// Whether others of the same user may look into the process.
    is_dumpable: bool,
    role: Role,
}

#[derive(Deserialize, Serialize)]
enum Role {
    Worker { slot: usize, generation: u64, sockets: Vec<RawFd> },
    Template { sockets: Vec<Option<RawFd>>, shared: Option<RawFd> },
}

/// The program that takes the seats of a manager without Python.
pub(crate) struct Program {
    path: PathBuf,
    /// The file as it was when the group was started: an upgrade must not mix two versions.
    file: File,
}

impl Program {
    /// Opens it while that is allowed: the group's user need not be able to reach it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::open(path)? })
    }

    /// Runs it in this process.
    fn run(&self, ticket: &Ticket) -> io::Result<Infallible> {
        let letter = posix::memory_file(&serde_json::to_vec(ticket)?)?;
        let number = letter.as_raw_fd();
        let program = CString::new(self.path.as_os_str().as_bytes())?;
        let arguments = [program, c"--seat-fd".to_owned(), CString::new(number.to_string())?];
        let inherited = ticket.descriptors().chain([number]);
        Err(posix::execute(self.file.as_fd(), &arguments, inherited))
    }

    fn replace(&self, log: Log, ticket: &Ticket) -> ! {
        let Err(why) = self.run(ticket);
        let line = format!("cannot run {}: {why}", self.path.display());
        log.write(Level::Critical, line.as_bytes());
        posix::exit_now(1)
    }
}

impl Occupant for Program {
    fn work(&self, seat: Seat) -> ! {
        let Seat { config, log, place, channel, sockets, known, manager } = seat;
        let Place { memory, slot, generation } = place;
        let scoreboard = memory.file.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let sockets: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        let channel = channel.as_fd().as_raw_fd();
        let role = Role::Worker { slot, generation, sockets };
        let is_dumpable = posix::is_dumpable();
        let ticket =
            Ticket { config, manager, channel, scoreboard, scripts: known, is_dumpable, role };
        self.replace(log, &ticket)
    }

    fn stand_by(&self, seat: TemplateSeat) -> ! {
        let TemplateSeat { config, log, memory, channel, sockets, shared, scripts, manager } = seat;
        let scoreboard = memory.file.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let number = |socket: &Option<OwnedFd>| socket.as_ref().map(AsRawFd::as_raw_fd);
        let sockets: Vec<Option<RawFd>> = sockets.iter().map(number).collect();
        let (shared, channel) = (number(&shared), channel.as_fd().as_raw_fd());
        let role = Role::Template { sockets, shared };
        let is_dumpable = posix::is_dumpable();
        let ticket = Ticket { config, manager, channel, scoreboard, scripts, is_dumpable, role };
        self.replace(log, &ticket)
    }
}

impl Ticket {
    /// Reads one from a descriptor.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn read(number: RawFd) -> Result<Self, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("the seat of descriptor {number}: {why}");
        let mut text = Vec::new();
        posix::adopt(number)
            .and_then(|file| File::from(file).read_to_end(&mut text))
            .map_err(|why| wrong(&why))?;
        serde_json::from_slice(&text).map_err(|why| wrong(&why))
    }

    /// Those that the program has to inherit.
    fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let sockets: Vec<RawFd> = match &self.role {
            Role::Worker { sockets, .. } => sockets.clone(),
            Role::Template { sockets, shared } => {
                sockets.iter().chain([shared]).copied().flatten().collect()
            }
        };
        sockets.into_iter().chain([self.channel, self.scoreboard])
    }

    /// Takes the seat, in the process that it is for.
    ///
    /// # Errors
    /// When a descriptor is not there.
    pub(crate) fn take(self, occupant: &dyn Occupant) -> io::Result<Infallible> {
        let log = Log::new(self.config.log_level);
        // First: afterwards it may no longer write its own name.
        process_title::appear(&self.config);
        posix::set_dumpable(self.is_dumpable);
        let channel = Channel::of(posix::adopt(self.channel)?);
        let memory = Memory::of(Some(posix::adopt(self.scoreboard)?), &self.config)?;
        let Self { config, manager, scripts, role, .. } = self;
        match role {
            Role::Worker { slot, generation, sockets } => {
                let place = Place { memory, slot, generation };
                let sockets = sockets.into_iter().map(posix::adopt).collect::<io::Result<_>>()?;
                let known = scripts;
                occupant.work(Seat { config, log, place, channel, sockets, known, manager })
            }
            Role::Template { sockets, shared } => {
                let adopt = |number: Option<RawFd>| number.map(posix::adopt).transpose();
                let sockets = sockets.into_iter().map(adopt).collect::<io::Result<_>>()?;
                let shared = adopt(shared)?;
                occupant.stand_by(TemplateSeat {
                    config,
                    log,
                    memory,
                    channel,
                    sockets,
                    shared,
                    scripts,
                    manager,
                })
            }
        }
    }
}
