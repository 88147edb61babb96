//! What a new process of a group starts with. It starts none.
#![forbid(unsafe_code)]

use crate::connection_queue::ConnectionQueue;
use crate::log::Log;
use crate::message::{Channel, Loaded};
use group_config::GroupConfig;
use scoreboard::{Record, Scoreboard};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use sys::SharedWords;

/// What a worker starts with.
pub(crate) struct WorkerStart {
    pub(crate) config: GroupConfig,
    pub(crate) log: Log,
    pub(crate) slot: SlotHandle,
    pub(crate) channel: Channel,
    pub(crate) sockets: Vec<OwnedFd>,
    /// Where other web servers than the Apache module connect.
    pub(crate) queue: Option<ConnectionQueue>,
    /// Scripts that workers before this one had loaded.
    pub(crate) known: Vec<Loaded>,
    /// The manager's pid.
    pub(crate) manager: u32,
}

/// What a template starts with.
pub(crate) struct TemplateStart {
    pub(crate) config: GroupConfig,
    pub(crate) log: Log,
    pub(crate) memory: ScoreboardMemory,
    pub(crate) channel: Channel,
    /// Those of the worker slots, by slot.
    pub(crate) sockets: Vec<Option<OwnedFd>>,
    /// Those of all workers.
    pub(crate) shared: Vec<OwnedFd>,
    /// That of its workers.
    pub(crate) queue: Option<ConnectionQueue>,
    /// Scripts that workers have had to load.
    pub(crate) scripts: Vec<Loaded>,
    /// The manager's pid.
    pub(crate) manager: u32,
}

/// The scoreboard, and the file it is in where the parent process has given one.
pub(crate) struct ScoreboardMemory {
    pub(crate) board: Scoreboard<'static>,
    pub(crate) file: Option<OwnedFd>,
}

/// A worker's slot in its group.
pub(crate) struct SlotHandle {
    pub(crate) memory: ScoreboardMemory,
    pub(crate) slot: usize,
    pub(crate) generation: u64,
}

/// What a new process of a group does.
pub(crate) trait ProcessRoles {
    /// Is a worker.
    fn run_worker(&self, start: WorkerStart) -> !;
    /// Is a template (`preload=On`).
    fn run_template(&self, start: TemplateStart) -> !;
}

impl SlotHandle {
    /// The worker's record on the scoreboard.
    pub(crate) fn record(&self) -> Record<'static> {
        self.memory.board.record(self.slot, self.generation)
    }
}

impl ScoreboardMemory {
    /// For a new process: takes the file from the manager's state, which is dropped there.
    pub(crate) fn take(&mut self) -> Self {
        Self { board: self.board, file: self.file.take() }
    }

    /// Maps the memory of the scoreboard: of `file`, or new memory where there is none.
    ///
    /// # Errors
    /// When the file is too small, or cannot be mapped.
    pub(crate) fn map(file: Option<OwnedFd>, config: &GroupConfig) -> io::Result<Self> {
        let (most, threads) = (config.processes.most as usize, config.capacity() as usize);
        let size = Scoreboard::size(most, threads);
        let words = match &file {
            Some(file) => SharedWords::of_file(file.as_fd(), size),
            None => SharedWords::new(size),
        }?;
        Ok(Self { board: Scoreboard::new(words.leak(), most, threads), file })
    }
}
