//! The messages between a worker and its manager, a line of JSON each. The end of file means that the other
//! process has exited.
#![forbid(unsafe_code)]

use crate::process_stacks::ProcessStacks;
use group_config::byte_string;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use wsgi::FileVersion;

/// A script in an interpreter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Loaded {
    /// As the requests name it; a path need not be text.
    #[serde(with = "byte_string")]
    pub(crate) path: PathBuf,
    pub(crate) application_group: String,
    /// The version of the file.
    #[serde(with = "file_version")]
    pub(crate) modified: Option<FileVersion>,
    /// The callable that requests name, where that is known: a script without it serves no request.
    #[serde(default)]
    pub(crate) callable: Option<String>,
}

/// A version as its three numbers.
mod file_version {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use wsgi::FileVersion;

    type Parts = Option<(i64, u64, u64)>;

    pub(super) fn serialize<S: Serializer>(
        version: &Option<FileVersion>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let parts: Parts = version.map(|it| (it.modified, it.size, it.inode));
        parts.serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Option<FileVersion>, D::Error> {
        let version = |(modified, size, inode)| FileVersion { modified, size, inode };
        Ok(Parts::deserialize(from)?.map(version))
    }
}

impl Loaded {
    /// Whether this is that script in the interpreter of that application group.
    pub(crate) fn is_script(&self, path: &[u8], application_group: &[u8]) -> bool {
        self.path.as_os_str().as_bytes() == path
            && self.application_group.as_bytes() == application_group
    }

    /// Whether both are one state of one file, in whatever interpreter.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.path == other.path && self.modified == other.modified
    }

    /// Whether both are one script in one interpreter, whatever the state of its file.
    pub(crate) fn is_same_script(&self, other: &Self) -> bool {
        self.is_script(other.path.as_os_str().as_bytes(), other.application_group.as_bytes())
    }
}

/// From a worker.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The worker serves. `failed`: a script did not load, and the worker waits for [`Command::Serve`]. Also from a
    /// template.
    Ready { failed: bool },
    /// The worker has loaded a script.
    Loaded(Loaded),
    /// A script that the worker has loaded is no longer the one in the file.
    Stale(Loaded),
    /// The worker asks for its replacement.
    Replace { reason: Reason, detail: String },
    /// What was asked for by [`Command::Stacks`] with this number.
    Stacks { question: u64, stacks: ProcessStacks },
    /// The worker has been told to finish, and accepts no more. Workers without requests, `threads=0`, do not send it.
    AcceptsNoMore,
    /// From a template: the worker that was asked for has been forked.
    Forked { pid: i32 },
}

/// To a worker.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// Accept no more, go on with the requests there are for at most this time, exit.
    Finish { within: Duration, reason: Reason, successor: Successor },
    /// Serve, although a script did not load: there is no other worker.
    Serve,
    /// To a worker that was forked from a template. Beside it comes the pipe that takes its standard output and
    /// standard error.
    Output,
    /// Report the Python stacks of all threads.
    Stacks { question: u64 },
    /// Go on with the code that there is: newer code could not be loaded. `refused`: the file whose change had asked for it,
    /// in the state that was tried.
    KeepCode { refused: Option<Loaded> },
    /// To a template: fork a worker for this slot. Beside it comes the worker's end of its channel.
    Fork { slot: usize, generation: u64 },
}

impl Command {
    /// Whether the worker is to stop.
    pub(crate) const fn is_to_finish(&self) -> bool {
        matches!(self, Self::Finish { .. })
    }
}

/// Whether another worker serves when one stops, and so can go on with its idle connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Successor {
    Ready,
    None,
}

/// Why a worker is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    ScriptReload,
    Rolling,
    ReloadCommand,
    RecycleCommand,
    Signal,
    DrainCommand,
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
    /// Whether the replacement is to have newer code, so that a worker with the current code is kept if it fails.
    pub(crate) const fn is_for_new_code(self) -> bool {
        matches!(
            self,
            Self::ScriptReload | Self::Rolling | Self::ReloadCommand | Self::RecycleCommand
        )
    }

    /// Whether a worker that asks for its replacement serves as well as before, so that it can go on until there is code
    /// that loads.
    pub(crate) const fn can_wait(self) -> bool {
        matches!(
            self,
            Self::MaximumRequests
                | Self::MaximumMemory
                | Self::InactivityTimeout
                | Self::RestartInterval
        )
    }

    /// The reason in the event `process_stopping`: mod_wsgi's name where it has one.
    pub(crate) const fn event_name(self) -> &'static str {
        match self {
            Self::ScriptReload => "script_reload",
            Self::Rolling | Self::ReloadCommand | Self::RecycleCommand => "graceful_signal",
            Self::Signal | Self::DrainCommand => "shutdown_signal",
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

/// The most bytes of a message: several times a path, the name of an interpreter and that of a callable. What sends
/// more is no worker of this program's any more.
const MAX_MESSAGE: usize = 256 * 1024;

/// One end of a channel.
pub(crate) struct Channel {
    stream: UnixStream,
    received: Vec<u8>,
    /// The rest of a message of which a part was sent when the other end did not read.
    unsent: Vec<u8>,
}

impl Channel {
    /// Both ends of a new channel.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        let end = |stream: UnixStream| {
            // A process that is stuck and does not read must not block the other one.
            stream.set_write_timeout(Some(Duration::from_secs(1)))?;
            Ok::<_, io::Error>(Self::of(stream))
        };
        Ok((end(one)?, end(other)?))
    }

    const fn of(stream: UnixStream) -> Self {
        Self { stream, received: Vec::new(), unsent: Vec::new() }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Where the other end is gone, or does not read for a second. Of a message that was begun the rest comes before
    /// the next one, which would otherwise continue its line; one that was not begun is lost.
    pub(crate) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        self.send_rest()?;
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let (sent, result) = write(&self.stream, &line);
        if result.is_err() && sent > 0 {
            self.unsent = line.split_off(sent);
        }
        result
    }

    /// Sends the rest of a message that was begun.
    fn send_rest(&mut self) -> io::Result<()> {
        let (sent, result) = write(&self.stream, &self.unsent);
        self.unsent.drain(..sent);
        result
    }

    /// An end that another process has made.
    pub(crate) fn from_socket(socket: OwnedFd) -> Self {
        Self::of(socket.into())
    }

    /// The socket, to be sent to another process.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.stream.into()
    }

    /// Sends a message, and a descriptor with it.
    pub(crate) fn send_with_file(
        &mut self,
        message: &impl Serialize,
        file: BorrowedFd<'_>,
    ) -> io::Result<()> {
        self.send_rest()?;
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        sys::send_all(self.as_fd(), &mut [IoSlice::new(&line)], Some(file))
    }

    /// Reads once, and gives the messages that are complete; to be called when the channel is readable.
    pub(crate) fn receive<M: DeserializeOwned>(&mut self) -> io::Result<Vec<M>> {
        self.receive_with_file().map(|(messages, _)| messages)
    }

    /// The same, with a descriptor that was sent with a message.
    pub(crate) fn receive_with_file<M: DeserializeOwned>(
        &mut self,
    ) -> io::Result<(Vec<M>, Option<OwnedFd>)> {
        let mut bytes = [0; 4096];
        let (count, file) =
            match sys::receive_with_descriptor(self.stream.as_fd(), &mut bytes, false) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // Readable, and nothing to read after all: poll(2) allows that.
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((Vec::new(), None));
                }
                received => received?,
            };
        let new = bytes.get(..count).unwrap_or_default();
        let before = self.received.len();
        // Looked for in what is new, so that a long message costs no more than its length.
        let end = new.iter().rposition(|byte| *byte == b'\n');
        if end.is_none() && before + count > MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without an end"));
        }
        self.received.extend_from_slice(new);
        let Some(end) = end else { return Ok((Vec::new(), file)) };
        let rest = self.received.split_off(before + end + 1);
        let lines = std::mem::replace(&mut self.received, rest);
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let messages: io::Result<Vec<M>> =
            lines.map(|line| serde_json::from_slice(line).map_err(io::Error::from)).collect();
        Ok((messages?, file))
    }

    /// The same end, for another thread, which must only send. This one must send no more.
    pub(crate) fn sender(&self) -> io::Result<Self> {
        Ok(Self::of(self.stream.try_clone()?))
    }
}

/// Writes all of it, as far as the other end reads; how much has been written.
fn write(mut stream: &UnixStream, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest @ [_, ..]) = bytes.get(written..) {
        match stream.write(rest) {
            Ok(count) => written += count,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return (written, Err(why)),
        }
    }
    (written, Ok(()))
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(ours: &mut Channel, theirs: &UnixStream, text: &[u8]) -> io::Result<Vec<Command>> {
        let mut all = Vec::new();
        for piece in text.chunks(4000) {
            (&*theirs).write_all(piece)?;
            all.extend(ours.receive::<Command>()?);
        }
        Ok(all)
    }

    #[test]
    fn messages_are_put_together_from_what_comes() {
        let (mut ours, theirs) = Channel::pair().unwrap();
        let text = format!("\"serve\"{}\n\"serve\"\n", " ".repeat(MAX_MESSAGE - 100));
        let messages = pieces(&mut ours, &theirs.stream, text.as_bytes()).unwrap();
        assert!(matches!(messages[..], [Command::Serve, Command::Serve]), "{messages:?}");
    }

    #[test]
    fn a_message_without_an_end_is_an_error_before_it_fills_memory() {
        let (mut ours, theirs) = Channel::pair().unwrap();
        let why = pieces(&mut ours, &theirs.stream, &vec![b'x'; MAX_MESSAGE * 4]).unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::InvalidData);
        assert!(ours.received.len() <= MAX_MESSAGE);
    }

    #[test]
    fn the_rest_of_a_message_that_was_not_read_in_time_comes_before_the_next_one() {
        let (mut ours, mut theirs) = Channel::pair().unwrap();
        ours.stream.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
        let detail = "x".repeat(MAX_MESSAGE * 3 / 4);
        let reason = Reason::Rolling;
        let mut begun = 0;
        while ours.send(&Report::Replace { reason, detail: detail.clone() }).is_ok() {
            begun += 1;
        }
        begun += usize::from(!ours.unsent.is_empty());
        // Nor is one lost that another one follows before anything has been read.
        ours.send(&Report::AcceptsNoMore).unwrap_err();
        let mut received = Vec::new();
        while sys::wait_readable(&[theirs.as_fd()], Some(Duration::ZERO)) == [true] {
            received.extend(theirs.receive::<Report>().unwrap());
        }
        ours.send(&Report::Forked { pid: 7 }).unwrap();
        while !matches!(received.last(), Some(Report::Forked { pid: 7 })) {
            received.extend(theirs.receive::<Report>().unwrap());
        }
        received.pop();
        assert!(begun > 0 && received.len() == begun, "{begun} {}", received.len());
        let is_whole =
            |it: &Report| matches!(it, Report::Replace { detail: it, .. } if *it == detail);
        assert!(received.iter().all(is_whole));
    }
}
