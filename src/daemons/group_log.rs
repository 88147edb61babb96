//! The pipe through which log lines of a group's processes come to Apache's side. Its other end is the standard output
//! and standard error of the group's managers, and of no other process; it cannot carry descriptors. It must never
//! know which process reads.
#![forbid(unsafe_code)]

use crate::groups::Board;
use crate::httpd::{Server, log_server, log_server_from};
use group_config::log_stream::LineSplitter;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use wsgi::Level;

/// The most that is read of one group before the others have their turn: all that a pipe holds. Managers write whole
/// lines, so that the process of the configuration before, which reads once more, takes whole lines as well.
pub(super) const MAX_READ: usize = 64 * 1024;

/// Both ends of a group's pipe. It outlives the group's managers.
pub(super) struct GroupLog {
    group: String,
    reader: PipeReader,
    writer: PipeWriter,
}

/// A reader of the pipe, in any process.
pub(super) struct LogReader {
    group: String,
    /// Where an administrator may have set the level of its lines.
    board: Option<Arc<Board>>,
    pipe: PipeReader,
    lines: LineSplitter,
}

impl GroupLog {
    /// A pipe for the group of this name.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn new(group: &[u8]) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        // Neither Apache's side nor a manager may be held up by the other.
        sys::set_nonblocking(reader.as_fd())?;
        sys::set_nonblocking(writer.as_fd())?;
        Ok(Self { group: String::from_utf8_lossy(group).into_owned(), reader, writer })
    }

    /// What a manager prints to.
    pub(super) fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// A reader that begins where the last one ended, of a group with this scoreboard.
    ///
    /// # Errors
    /// Where there is no descriptor for it.
    pub(super) fn reader(&self, board: Option<Arc<Board>>) -> io::Result<LogReader> {
        let (group, lines) = (self.group.clone(), LineSplitter::default());
        Ok(LogReader { group, board, pipe: self.reader.try_clone()?, lines })
    }
}

impl LogReader {
    /// What can be waited for.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Writes what is here to the log of `server`, without waiting; whether more may come. `buffer` has [`MAX_READ`]
    /// bytes.
    pub(super) fn pass_on(&mut self, server: Server<'_>, buffer: &mut [u8]) -> bool {
        let Self { group, board, pipe, lines } = self;
        let board = board.as_deref();
        loop {
            match pipe.read(buffer) {
                Ok(0) => {
                    self.finish(server);
                    return false;
                }
                Ok(count) => {
                    let new = buffer.get(..count).unwrap_or_default();
                    lines.push(new, &mut |level, line| log(server, group, board, level, line));
                    return true;
                }
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                // Nothing is here.
                Err(_) => return true,
            }
        }
    }

    /// Writes a line whose end has not come.
    pub(super) fn finish(&mut self, server: Server<'_>) {
        let Self { group, board, lines, .. } = self;
        let board = board.as_deref();
        lines.finish(&mut |level, line| log(server, group, board, level, line));
    }

    /// Whether there is such a line.
    pub(super) fn has_unfinished_line(&self) -> bool {
        self.lines.has_unfinished_line()
    }
}

/// Writes a line that names its group: no process of another group can write it. Text that is no record comes from the
/// loader of programs, or is that of a panic.
fn log(server: Server<'_>, group: &str, board: Option<&Board>, level: Option<u8>, line: &[u8]) {
    if let (None, Some(board)) = (level, board) {
        // A manager that gets as far as to log writes records: this one has not started.
        board.cause().put(Some(&String::from_utf8_lossy(line)));
    }
    let level = level.map_or(Level::Error, Level::from_number);
    let line = [format!("daemon '{group}' ").as_bytes(), line].concat();
    match board.and_then(|board| board.view().log_level()) {
        Some(threshold) => {
            log_server_from(server, Level::from_number(threshold), level, &line);
        }
        None => log_server(server, level, &line),
    }
}
