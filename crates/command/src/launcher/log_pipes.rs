//! Named pipes that Apache writes its logs to. A pipe without a name would have to be inherited, and processes of
//! applications would have it too.

use crate::failure::Failure;
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A line longer than this is printed in pieces.
const LONGEST: usize = 64 << 10;

/// A named pipe that lines are read from.
pub(super) struct LogPipe {
    file: File,
    /// The beginning of a line.
    part: Vec<u8>,
}

impl LogPipe {
    /// Makes the pipe, in the place of one that a crash has left.
    pub(super) fn make(path: &Path) -> Result<Self, Failure> {
        let failed = |why| Failure::server(format!("the pipe {}: {why}", path.display()));
        let _ = std::fs::remove_file(path);
        mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).map_err(|why| failed(why.into()))?;
        // Also for writing, so that there is no end of file while Apache is not there.
        let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
        let mut open = OpenOptions::new();
        let file = open.read(true).write(true).custom_flags(flags).open(path).map_err(failed)?;
        Ok(Self { file, part: Vec::new() })
    }

    /// The lines that have come.
    pub(super) fn lines(&mut self) -> Vec<String> {
        let mut buffer = [0; 16 << 10];
        while let Ok(length @ 1..) = self.file.read(&mut buffer) {
            self.part.extend_from_slice(&buffer[..length]);
            if length < buffer.len() {
                break;
            }
        }
        let end = match self.part.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if self.part.len() >= LONGEST => self.part.len(),
            None => return vec![],
        };
        let whole: Vec<u8> = self.part.drain(..end).collect();
        String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
    }
}

impl AsFd for LogPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_are_read_whole() {
        let path = std::env::temp_dir().join(format!("log-pipe-{}", std::process::id()));
        let mut pipe = LogPipe::make(&path).unwrap();
        let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert!(pipe.lines().is_empty());
        writer.write_all(b"one\ntw").unwrap();
        assert_eq!(pipe.lines(), ["one"]);
        writer.write_all(b"o\nthree\n").unwrap();
        let lines = pipe.lines();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(lines, ["two", "three"]);
    }
}
