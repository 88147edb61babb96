//! What a worker and its manager say to each other, a line of JSON each. The end of file means that the
//! other one is gone.
#![forbid(unsafe_code)]

use crate::octets;
use crate::posix;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// A script in an interpreter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Loaded {
    /// As the requests name it; a path need not be text.
    #[serde(with = "octets")]
    pub(crate) path: PathBuf,
    pub(crate) application_group: String,
    /// Its time of modification, in microseconds.
    pub(crate) modified: Option<i64>,
    /// What requests call in it, where that is known: without it, it is of no use.
    #[serde(default)]
    pub(crate) callable: Option<String>,
}

/// From a worker.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// It serves. `failed`: a script it was told to load did not load.
    Ready { failed: bool },
    /// It has loaded a script.
    Loaded(Loaded),
    /// A script it has loaded is no longer the one in the file.
    Stale(Loaded),
    /// It wants to be replaced.
    Replace { reason: Reason, detail: String },
    /// From a template: the worker asked for is there.
    Forked { pid: i32 },
}

/// To a worker.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Accept no more, serve what there is for so many seconds, leave.
    Finish { seconds: f64, reason: Reason },
    /// Serve, although a script did not load: there is nobody else.
    Serve,
    /// To a template: fork a worker for this slot. Beside it comes the worker's end of its channel.
    Fork { slot: usize, generation: u64 },
}

/// Why a worker is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    ScriptReload,
    Rolling,
    Signal,
    Eviction,
    CpuTimeLimit,
    MaximumRequests,
    MaximumMemory,
    RequestTimeout,
    StartupTimeout,
    InactivityTimeout,
    RestartInterval,
}

impl Reason {
    /// What applications are told at the end of their process: mod_wsgi's words where it has one.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::ScriptReload => "script_reload",
            Self::Rolling => "graceful_signal",
            Self::Signal => "shutdown_signal",
            Self::Eviction => "eviction_signal",
            Self::CpuTimeLimit => "cpu_time_limit",
            Self::MaximumRequests => "maximum_requests",
            Self::MaximumMemory => "maximum_memory",
            Self::RequestTimeout => "request_timeout",
            Self::StartupTimeout => "startup_timeout",
            Self::InactivityTimeout => "inactivity_timeout",
            Self::RestartInterval => "restart_interval",
        }
    }
}

/// One end.
pub(crate) struct Channel {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Channel {
    /// Both ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        let end = |stream: UnixStream| {
            // A reader that is stuck must not hold up the writer.
            stream.set_write_timeout(Some(Duration::from_secs(1)))?;
            Ok::<_, io::Error>(Self { stream, received: Vec::new() })
        };
        Ok((end(one)?, end(other)?))
    }

    pub(crate) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }

    /// An end that came from elsewhere.
    pub(crate) fn of(socket: OwnedFd) -> Self {
        Self { stream: socket.into(), received: Vec::new() }
    }

    /// Its socket, to be sent elsewhere.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.stream.into()
    }

    /// As [`Channel::send`], with a file.
    pub(crate) fn send_with_file(
        &self,
        message: &impl Serialize,
        file: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        posix::send_all(self.as_fd(), &mut [IoSlice::new(&line)], Some(file))
    }

    /// Reads once, and gives what is complete; to be called when there is something to read.
    pub(crate) fn receive<M: DeserializeOwned>(&mut self) -> io::Result<Vec<M>> {
        self.receive_with_file().map(|(messages, _)| messages)
    }

    /// The same, with a file that came along.
    pub(crate) fn receive_with_file<M: DeserializeOwned>(
        &mut self,
    ) -> io::Result<(Vec<M>, Option<OwnedFd>)> {
        let mut bytes = [0; 4096];
        let (count, file) =
            match sys::receive_with_descriptor(self.stream.as_fd(), &mut bytes, false) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // Nothing is here after all.
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((Vec::new(), None));
                }
                received => received?,
            };
        self.received.extend(bytes.iter().take(count));
        let Some(end) = self.received.iter().rposition(|byte| *byte == b'\n') else {
            return Ok((Vec::new(), file));
        };
        let rest = self.received.split_off(end + 1);
        let lines = std::mem::replace(&mut self.received, rest);
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let messages: io::Result<Vec<M>> =
            lines.map(|line| serde_json::from_slice(line).map_err(io::Error::from)).collect();
        Ok((messages?, file))
    }

    /// The same end, for another thread that only sends.
    pub(crate) fn sender(&self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, received: Vec::new() })
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
