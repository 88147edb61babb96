//! What a record is, what a request wants, and how it ended: the enumerations of FastCGI 1.0.
//! It must never know the bytes of a record.

use std::fmt;

/// What a record is (FastCGI 1.0, 8). Any byte is one; a peer may know types we do not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordType(
    /// The number on the wire.
    pub u8,
);

impl RecordType {
    /// Web server: a request starts (5.1).
    pub const BEGIN_REQUEST: Self = Self(1);
    /// Web server: this answer is not waited for any more (5.4).
    pub const ABORT_REQUEST: Self = Self(2);
    /// Application: the request is over (5.5).
    pub const END_REQUEST: Self = Self(3);
    /// Web server: a stream of name-value pairs (5.2).
    pub const PARAMS: Self = Self(4);
    /// Web server: the request body (5.3).
    pub const STDIN: Self = Self(5);
    /// Application: the answer, head and body (5.3).
    pub const STDOUT: Self = Self(6);
    /// Application: text for the error log (5.3).
    pub const STDERR: Self = Self(7);
    /// Web server: the file a Filter works on (5.3, 6.4).
    pub const DATA: Self = Self(8);
    /// Web server, management: what can you do (4.1).
    pub const GET_VALUES: Self = Self(9);
    /// Application, management: this (4.1).
    pub const GET_VALUES_RESULT: Self = Self(10);
    /// Application, management: I do not know this type (4.2).
    pub const UNKNOWN_TYPE: Self = Self(11);
    /// Ours, application: one line for the error log with its level, see [`Extensions`].
    /// The letters are chosen to be seen in a hex dump.
    ///
    /// [`Extensions`]: crate::Extensions
    pub const LOG: Self = Self(b'L');
    /// Ours, application: a piece of an open file instead of bytes, see [`Extensions`].
    ///
    /// [`Extensions`]: crate::Extensions
    pub const FILE: Self = Self(b'F');
    /// Ours, application: an interim response (RFC 9110, 15.2) before the answer, see [`Extensions`].
    ///
    /// [`Extensions`]: crate::Extensions
    pub const INTERIM: Self = Self(b'I');

    /// Whether the content is a piece of a byte stream, which ends with an empty record (3.3).
    /// Only such content may be handed on before all of it is here.
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::PARAMS | Self::STDIN | Self::STDOUT | Self::STDERR | Self::DATA)
    }

    /// Whether the standard defines this type for request id 0 (4).
    pub const fn is_management(self) -> bool {
        matches!(self, Self::GET_VALUES | Self::GET_VALUES_RESULT | Self::UNKNOWN_TYPE)
    }

    /// Whether the standard defines this type for a request (5), or we do.
    pub const fn is_application(self) -> bool {
        matches!(self.0, 1..=8) || matches!(self, Self::LOG | Self::FILE | Self::INTERIM)
    }

    /// Its name in the standard without `FCGI_`, or what it is to us.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BEGIN_REQUEST => "BEGIN_REQUEST",
            Self::ABORT_REQUEST => "ABORT_REQUEST",
            Self::END_REQUEST => "END_REQUEST",
            Self::PARAMS => "PARAMS",
            Self::STDIN => "STDIN",
            Self::STDOUT => "STDOUT",
            Self::STDERR => "STDERR",
            Self::DATA => "DATA",
            Self::GET_VALUES => "GET_VALUES",
            Self::GET_VALUES_RESULT => "GET_VALUES_RESULT",
            Self::UNKNOWN_TYPE => "UNKNOWN_TYPE",
            Self::LOG => "LOG",
            Self::FILE => "FILE",
            Self::INTERIM => "INTERIM",
            _ => "unknown",
        }
    }

    pub(crate) const fn fixed_length(self) -> Option<u16> {
        match self {
            Self::BEGIN_REQUEST | Self::END_REQUEST | Self::UNKNOWN_TYPE => Some(8),
            Self::ABORT_REQUEST => Some(0),
            Self::FILE => Some(16),
            _ => None,
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "unknown" => write!(f, "type {}", self.0),
            name => f.write_str(name),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the web server wants of the application (FastCGI 1.0, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Role {
    /// Answer an HTTP request, like CGI (6.2).
    Responder = 1,
    /// Say whether a request may go on (6.3).
    Authorizer = 2,
    /// Rewrite a file that comes as DATA (6.4).
    Filter = 3,
}

impl Role {
    /// The role of that number, if the standard knows it.
    pub const fn from_wire(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Responder),
            2 => Some(Self::Authorizer),
            3 => Some(Self::Filter),
            _ => None,
        }
    }
}

/// How a request ended as far as the protocol is concerned (FastCGI 1.0, 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ProtocolStatus {
    /// It was served; whether well is for the application's own status and its answer to say.
    RequestComplete = 0,
    /// Refused: one request at a time on this connection.
    CantMpxConn = 1,
    /// Refused: no capacity; another application process may have some.
    Overloaded = 2,
    /// Refused: the application does not play this role.
    UnknownRole = 3,
}

impl ProtocolStatus {
    /// The status of that number, if the standard knows it.
    pub const fn from_wire(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::RequestComplete),
            1 => Some(Self::CantMpxConn),
            2 => Some(Self::Overloaded),
            3 => Some(Self::UnknownRole),
            _ => None,
        }
    }
}
