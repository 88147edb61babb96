//! Why the program ends before it manages a group or is one of its processes, and with which exit code.
#![forbid(unsafe_code)]

use crate::arguments::ArgumentError;
use crate::drain_command::DrainError;
use crate::manager::SocketError;
use crate::serialized_start::StartError;
use group_config::Invalid;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// Why the program ends.
#[derive(Debug)]
pub(crate) enum ProgramError {
    /// The command line is wrong.
    Usage(ArgumentError),
    /// The manager without Python was started by hand.
    OnlyForApache,
    /// The configuration cannot be read from this descriptor.
    UnreadableConfig(RawFd, io::Error),
    /// What was read is no configuration.
    MalformedConfig(serde_json::Error),
    /// The configuration contradicts itself.
    Config(Invalid),
    /// Two descriptors have one number, or one is a standard stream.
    AmbiguousDescriptors,
    /// The descriptor of this number is not open.
    MissingDescriptor(RawFd, io::Error),
    /// The descriptor of this number, which is passed as a socket to listen on, is none.
    NotListening(RawFd),
    /// A manager without Python needs a program for its workers.
    NoProgram,
    /// A manager without Python needs a scoreboard that its workers can inherit.
    NoScoreboard,
    /// The program for the workers cannot be opened.
    Unopenable(PathBuf, io::Error),
    /// The socket of a daemon without Apache cannot be made.
    Socket(SocketError),
    /// Another daemon has not drained.
    Drain(DrainError),
    /// A worker or template cannot start with its parameters.
    Start(StartError),
}

impl ProgramError {
    /// The exit code where the group, or the process, could not be started.
    pub(crate) const START_FAILED: u8 = 1;
    /// The exit code where the command line or the configuration is wrong.
    const WRONG_USAGE: u8 = 2;

    /// The exit code of the program.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Drain(why) => why.exit_code(),
            Self::Usage(_)
            | Self::OnlyForApache
            | Self::UnreadableConfig(..)
            | Self::MalformedConfig(_)
            | Self::Config(_) => Self::WRONG_USAGE,
            Self::AmbiguousDescriptors
            | Self::MissingDescriptor(..)
            | Self::NotListening(_)
            | Self::NoProgram
            | Self::NoScoreboard
            | Self::Unopenable(..)
            | Self::Socket(_)
            | Self::Start(_) => Self::START_FAILED,
        }
    }
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) => write!(f, "{why}; --help shows what there is"),
            Self::OnlyForApache => {
                f.write_str("wsgi-daemon-manager is for Apache; see wsgi-daemon-X.Y --help")
            }
            Self::UnreadableConfig(number, why) => {
                write!(f, "cannot read the configuration from descriptor {number}: {why}")
            }
            Self::MalformedConfig(why) => write!(f, "the configuration: {why}"),
            Self::Config(why) => write!(f, "the configuration: {why}"),
            Self::AmbiguousDescriptors => {
                f.write_str("descriptors: each has to be another one, from 3 on")
            }
            Self::MissingDescriptor(number, why) => {
                write!(f, "descriptor {number} cannot be used: {why}")
            }
            Self::NotListening(number) => {
                write!(f, "descriptor {number} is no listening socket for streams")
            }
            Self::NoProgram => f.write_str("the configuration names no program"),
            Self::NoScoreboard => f.write_str("the configuration names no scoreboard"),
            Self::Unopenable(path, why) => write!(f, "cannot open {}: {why}", path.display()),
            Self::Socket(why) => why.fmt(f),
            Self::Drain(why) => why.fmt(f),
            Self::Start(why) => why.fmt(f),
        }
    }
}
