//! What the new processes of a manager without Python run: a `wsgi-daemon-X.Y`, or the Python of an environment with the
//! extension.
#![forbid(unsafe_code)]

use crate::launch::{ProcessRoles, TemplateStart, WorkerStart};
use crate::log::Log;
use crate::python_command;
use crate::serialized_start::SerializedStart;
use group_config::PythonProgram;
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::Executable;
use wsgi::Level;

/// The program, or the extension, open.
pub(crate) struct DaemonProgram {
    path: PathBuf,
    /// The file as it was when the group was started: an upgrade must not mix two versions.
    file: File,
    /// The Python that loads the file, which is an extension.
    python: Option<PythonProgram>,
}

impl DaemonProgram {
    /// Opens it while that is allowed: the group's user need not be able to reach it.
    pub(crate) fn open(path: &Path, python: Option<&PythonProgram>) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::open(path)?, python: python.cloned() })
    }

    /// Runs it in this process, with these parameters.
    fn execute(&self, start: SerializedStart) -> io::Result<Infallible> {
        if let Some(python) = &self.python {
            return self.execute_python(python, start);
        }
        let parameters = sys::memory_file(&serde_json::to_vec(&start)?)?;
        let number = parameters.as_raw_fd();
        let program = CString::new(self.path.as_os_str().as_bytes())?;
        let arguments = [program, c"--worker-fd".to_owned(), CString::new(number.to_string())?];
        let inherited = start.descriptors().chain([number]);
        let program = Executable::Open(self.file.as_fd());
        Err(sys::execute(program, &arguments, std::env::vars_os(), inherited))
    }

    /// Runs the environment's own Python, which loads the extension.
    fn execute_python(
        &self,
        program: &PythonProgram,
        start: SerializedStart,
    ) -> io::Result<Infallible> {
        // Site's code, which runs before the extension, may be stuck when the manager exits.
        start.end_with_manager();
        let options = &start.config().python;
        let (variables, restored) = python_command::variables(options, std::env::vars_os());
        let extension = self.file.as_raw_fd();
        let start = start.for_python(extension, restored);
        let parameters = sys::memory_file(&serde_json::to_vec(&start)?)?;
        let number = parameters.as_raw_fd();
        let options = &start.config().python;
        let arguments = python_command::arguments(program, options, extension, number)?;
        let name = CString::new(program.executable.as_os_str().as_bytes())?;
        let inherited = start.descriptors().chain([number, extension]);
        let program = Executable::Named(&name);
        Err(sys::execute(program, &arguments, variables.into_iter(), inherited))
    }

    fn execute_or_exit(&self, log: Log, start: SerializedStart) -> ! {
        let Err(why) = self.execute(start);
        let python = self.python.as_ref().map(|python| &python.executable);
        let line = format!("cannot run {}: {why}", python.unwrap_or(&self.path).display());
        log.write(Level::Critical, line.as_bytes());
        sys::exit_now(1)
    }
}

impl ProcessRoles for DaemonProgram {
    fn run_worker(&self, start: WorkerStart) -> ! {
        self.execute_or_exit(start.log, SerializedStart::of_worker(&start))
    }

    fn run_template(&self, start: TemplateStart) -> ! {
        self.execute_or_exit(start.log, SerializedStart::of_template(&start))
    }
}
