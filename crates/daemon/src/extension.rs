//! A process of a group whose program is the Python of an environment, which has loaded this crate as an extension. It
//! knows no command line.
#![forbid(unsafe_code)]

use crate::launch::{ProcessRoles, TemplateStart, WorkerStart};
use crate::program_error::ProgramError;
use crate::serialized_start::SerializedStart;
use crate::worker::{self, Python};
use host::RunningPython;
use std::cell::Cell;
use std::io::{self, Write};
use std::os::fd::RawFd;

/// Uses the Python of the process itself.
struct OwnPython(Cell<Option<RunningPython>>);

impl OwnPython {
    fn take(&self) -> Python {
        self.0.take().map_or(Python::ToStart, Python::Running)
    }
}

impl ProcessRoles for OwnPython {
    fn run_worker(&self, start: WorkerStart) -> ! {
        worker::run(start, self.take())
    }

    fn run_template(&self, start: TemplateStart) -> ! {
        worker::run_template(start, self.take())
    }
}

/// Is the process whose start parameters are in the descriptor of this number, with a Python that has been started in
/// it. Ends the process.
pub fn run_in_python(python: RunningPython, number: RawFd) -> ! {
    let roles = OwnPython(Cell::new(Some(python)));
    let started = SerializedStart::read(number).and_then(|start| start.run(&roles));
    let Err(why) = started;
    let why = ProgramError::Start(why);
    // Without standard error the exit status alone has to do.
    let _ = writeln!(io::stderr(), "wsgi-daemon: {why}");
    sys::exit_now(why.exit_code().into())
}
