//! The start parameters of a process on their way into another program: the manager without Python is not copied
//! but runs `wsgi-daemon-X.Y` in its new processes, which find them in a memory file.
#![forbid(unsafe_code)]

use crate::launch::{ProcessRoles, ScoreboardMemory, SlotHandle, TemplateStart, WorkerStart};
use crate::log::Log;
use crate::message::{Channel, Loaded};
use crate::process_title;
use crate::python_command::Restored;
use group_config::GroupConfig;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use wsgi::Level;

/// The start parameters of one process. Descriptors are inherited under their numbers.
#[derive(Deserialize, Serialize)]
pub(crate) struct SerializedStart {
    config: GroupConfig,
    manager: u32,
    channel: RawFd,
    scoreboard: RawFd,
    scripts: Vec<Loaded>,
    /// Whether other processes of the same user may look into the process (`PR_GET_DUMPABLE`).
    is_dumpable: bool,
    /// The extension, where this is for a Python that has loaded it.
    extension: Option<RawFd>,
    /// Variables that Python was not to have while it started.
    restored: Vec<Restored>,
    role: Role,
}

#[derive(Deserialize, Serialize)]
enum Role {
    Worker { slot: usize, generation: u64, sockets: Vec<RawFd> },
    Template { sockets: Vec<Option<RawFd>>, shared: Vec<RawFd> },
}

/// Why a process cannot start with its parameters.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The parameters cannot be read from this descriptor.
    Unreadable(RawFd, io::Error),
    /// What was read from this descriptor is not what a manager of this release writes.
    Malformed(RawFd, serde_json::Error),
    /// An inherited descriptor is missing, or the scoreboard cannot be mapped.
    Descriptor(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = "cannot read start parameters from descriptor";
        match self {
            Self::Unreadable(number, why) => write!(f, "{from} {number}: {why}"),
            Self::Malformed(number, why) => write!(f, "{from} {number}: {why}"),
            Self::Descriptor(why) => write!(f, "cannot use an inherited descriptor: {why}"),
        }
    }
}

impl SerializedStart {
    /// The parameters of a worker. The descriptors have to stay open until the program runs.
    pub(crate) fn of_worker(start: &WorkerStart) -> Self {
        let SlotHandle { memory, slot, generation } = &start.slot;
        let sockets = start.sockets.iter().map(AsRawFd::as_raw_fd).collect();
        Self {
            config: start.config.clone(),
            manager: start.manager,
            channel: start.channel.as_fd().as_raw_fd(),
            scoreboard: scoreboard(memory),
            scripts: start.known.clone(),
            is_dumpable: sys::is_dumpable(),
            extension: None,
            restored: Vec::new(),
            role: Role::Worker { slot: *slot, generation: *generation, sockets },
        }
    }

    /// The parameters of a template. The descriptors have to stay open until the program runs.
    pub(crate) fn of_template(start: &TemplateStart) -> Self {
        let number = |socket: &Option<OwnedFd>| socket.as_ref().map(AsRawFd::as_raw_fd);
        let sockets = start.sockets.iter().map(number).collect();
        let shared = start.shared.iter().map(AsRawFd::as_raw_fd).collect();
        Self {
            config: start.config.clone(),
            manager: start.manager,
            channel: start.channel.as_fd().as_raw_fd(),
            scoreboard: scoreboard(&start.memory),
            scripts: start.scripts.clone(),
            is_dumpable: sys::is_dumpable(),
            extension: None,
            restored: Vec::new(),
            role: Role::Template { sockets, shared },
        }
    }

    /// The same for a Python that loads the extension which is open as this descriptor, and that sets these variables
    /// again.
    pub(crate) fn for_python(self, extension: RawFd, restored: Vec<Restored>) -> Self {
        Self { extension: Some(extension), restored, ..self }
    }

    /// The options of the group.
    pub(crate) const fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// Has the kernel kill this process, and the program that it runs, when its manager exits.
    pub(crate) fn end_with_manager(&self) {
        sys::set_death_signal(sys::SIGKILL);
        if std::os::unix::process::parent_id() != self.manager {
            sys::exit_now(1);
        }
    }

    /// Reads the parameters from a descriptor.
    ///
    /// # Errors
    /// When there is no such descriptor, or something else in it.
    pub(crate) fn read(number: RawFd) -> Result<Self, StartError> {
        let mut text = Vec::new();
        sys::take_inherited(number)
            .and_then(|file| File::from(file).read_to_end(&mut text))
            .map_err(|why| StartError::Unreadable(number, why))?;
        serde_json::from_slice(&text).map_err(|why| StartError::Malformed(number, why))
    }

    /// The descriptors that the program has to inherit.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let sockets: Vec<RawFd> = match &self.role {
            Role::Worker { sockets, .. } => sockets.clone(),
            Role::Template { sockets, shared } => {
                sockets.iter().copied().flatten().chain(shared.iter().copied()).collect()
            }
        };
        sockets.into_iter().chain([self.channel, self.scoreboard])
    }

    /// Has `roles` make this process what the parameters say.
    ///
    /// # Errors
    /// When a descriptor is missing.
    pub(crate) fn run(self, roles: &dyn ProcessRoles) -> Result<Infallible, StartError> {
        // Before `set_dumpable`: afterwards /proc/self/mem may not be writable.
        process_title::restore(&self.config, self.extension.is_some());
        let adopt = |number| sys::take_inherited(number).map_err(StartError::Descriptor);
        // It is loaded.
        drop(self.extension.map(adopt).transpose()?);
        sys::set_dumpable(self.is_dumpable);
        let optional = |number: Option<RawFd>| number.map(adopt).transpose();
        let channel = Channel::from_socket(adopt(self.channel)?);
        let memory = ScoreboardMemory::map(Some(adopt(self.scoreboard)?), &self.config)
            .map_err(StartError::Descriptor)?;
        let log = Log::of_worker(&self.config, memory.board);
        self.restore_variables(&log);
        let Self { config, manager, scripts, role, .. } = self;
        match role {
            Role::Worker { slot, generation, sockets } => {
                let slot = SlotHandle { memory, slot, generation };
                let sockets = sockets.into_iter().map(adopt).collect::<Result<_, _>>()?;
                let known = scripts;
                roles.run_worker(WorkerStart {
                    config,
                    log,
                    slot,
                    channel,
                    sockets,
                    // Only Apache's managers run another program, and the Apache module needs none.
                    queue: None,
                    known,
                    manager,
                })
            }
            Role::Template { sockets, shared } => {
                let sockets = sockets.into_iter().map(optional).collect::<Result<_, _>>()?;
                let shared = shared.into_iter().map(adopt).collect::<Result<_, _>>()?;
                roles.run_template(TemplateStart {
                    config,
                    log,
                    memory,
                    channel,
                    sockets,
                    shared,
                    queue: None,
                    scripts,
                    manager,
                })
            }
        }
    }

    fn restore_variables(&self, log: &Log) {
        for (name, value) in &self.restored {
            let name = OsStr::new(name);
            let restored = match value {
                Some(value) => sys::set_variable(name, value),
                None => sys::unset_variable(name),
            };
            if let Err(why) = restored {
                let line = format!("cannot restore the variable {}: {why}", name.display());
                log.write(Level::Warning, line.as_bytes());
            }
        }
    }
}

/// The descriptor of the scoreboard; -1 where it is in no file, which such a manager refuses before.
fn scoreboard(memory: &ScoreboardMemory) -> RawFd {
    memory.file.as_ref().map_or(-1, AsRawFd::as_raw_fd)
}
