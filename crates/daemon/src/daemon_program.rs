//! The `wsgi-daemon-X.Y` that the new processes of a manager without Python run.
#![forbid(unsafe_code)]

use crate::launch::{ProcessRoles, TemplateStart, WorkerStart};
use crate::log::Log;
use crate::serialized_start::SerializedStart;
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use wsgi::Level;

/// The program, open.
pub(crate) struct DaemonProgram {
    path: PathBuf,
    /// The file as it was when the group was started: an upgrade must not mix two versions.
    file: File,
}

impl DaemonProgram {
    /// Opens it while that is allowed: the group's user need not be able to reach it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::open(path)? })
    }

    /// Runs it in this process, with these parameters.
    fn execute(&self, start: &SerializedStart) -> io::Result<Infallible> {
        let parameters = sys::memory_file(&serde_json::to_vec(start)?)?;
        let number = parameters.as_raw_fd();
        let program = CString::new(self.path.as_os_str().as_bytes())?;
        let arguments = [program, c"--worker-fd".to_owned(), CString::new(number.to_string())?];
        let inherited = start.descriptors().chain([number]);
        Err(sys::execute(self.file.as_fd(), &arguments, inherited))
    }

    fn execute_or_exit(&self, log: Log, start: &SerializedStart) -> ! {
        let Err(why) = self.execute(start);
        let line = format!("cannot run {}: {why}", self.path.display());
        log.write(Level::Critical, line.as_bytes());
        sys::exit_now(1)
    }
}

impl ProcessRoles for DaemonProgram {
    fn run_worker(&self, start: WorkerStart) -> ! {
        self.execute_or_exit(start.log, &SerializedStart::of_worker(&start))
    }

    fn run_template(&self, start: TemplateStart) -> ! {
        self.execute_or_exit(start.log, &SerializedStart::of_template(&start))
    }
}
