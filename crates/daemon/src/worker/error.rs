//! Why a worker cannot serve.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;

/// Why a process of a group cannot serve, or be a template.
#[derive(Debug)]
pub(super) enum WorkerError {
    /// Python does not start.
    Python(host::StartError),
    /// There is no event loop for applications of ASGI; the log has the reason.
    NoEventLoop,
    /// An application of ASGI has not started; the log has the reason.
    NotStarted,
    /// The applications do not decide on the interface of their group; the log has the reason, under this code.
    NoInterface(u16),
    /// A system call has failed; `action` is what it was for.
    System { action: &'static str, source: io::Error },
}

impl WorkerError {
    /// For `map_err`: the error of a system call that was for `action`.
    pub(super) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Python(why) => {
                write!(f, "WSGI0036: Python cannot be started in this process: {why}")
            }
            Self::NoEventLoop => f.write_str("there is no event loop for applications of ASGI"),
            Self::NotStarted => f.write_str(
                "this worker serves no request: an application of ASGI has not started in it",
            ),
            Self::NoInterface(_) => f.write_str(
                "this worker serves no request: its applications do not decide on the interface (interface=auto)",
            ),
            Self::System { action, source } => write!(f, "cannot {action}: {source}"),
        }
    }
}
