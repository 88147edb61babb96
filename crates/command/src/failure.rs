//! Why a command ends without success, and with which exit status.

use std::fmt;

/// What kind of failure it is; each has an exit status of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The server, or a step on the way to it, has failed.
    Server,
    /// An option or its value is wrong.
    Usage,
    /// The port is taken.
    PortTaken,
}

/// One sentence: lower case, no full stop, naming the thing.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    text: String,
}

impl Failure {
    /// An option or its value is wrong.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, text: text.into() }
    }

    /// The server, or a step on the way to it, has failed.
    pub(crate) fn server(text: impl Into<String>) -> Self {
        Self { kind: Kind::Server, text: text.into() }
    }

    /// The port is taken.
    pub(crate) fn port_taken(text: impl Into<String>) -> Self {
        Self { kind: Kind::PortTaken, text: text.into() }
    }

    /// The exit status of the command: 1, 2 as with other programs for wrong usage, and 3.
    pub(crate) fn exit_status(&self) -> u8 {
        match self.kind {
            Kind::Server => 1,
            Kind::Usage => 2,
            Kind::PortTaken => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
