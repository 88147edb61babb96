//! A record: the eight-byte header every FastCGI message opens with, and the numbers in it.
//! It must never know which end of a connection is reading or writing.

use std::fmt;

use crate::WireError;

/// The most content one record can carry, in bytes (FastCGI 1.0, 3.3: a 16-bit length).
pub const MAX_CONTENT: usize = u16::MAX as usize;

/// The fixed part of a record (FastCGI 1.0, 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the content means.
    pub record_type: RecordType,
    /// The request it belongs to; 0 for management records.
    pub id: u16,
    /// Bytes of content that follow the header.
    pub content_length: u16,
    /// Bytes to throw away after the content.
    pub padding_length: u8,
}

impl Header {
    /// Bytes a header takes on the wire (FastCGI 1.0, 8: `FCGI_HEADER_LEN`).
    pub const LENGTH: usize = 8;

    /// A header without padding: we always send the fewest bytes.
    pub const fn new(record_type: RecordType, id: u16, content_length: u16) -> Self {
        Self { record_type, id, content_length, padding_length: 0 }
    }

    /// The header as it goes over the wire.
    pub const fn to_bytes(self) -> [u8; Self::LENGTH] {
        let [id_high, id_low] = self.id.to_be_bytes();
        let [length_high, length_low] = self.content_length.to_be_bytes();
        let RecordType(kind) = self.record_type;
        [VERSION, kind, id_high, id_low, length_high, length_low, self.padding_length, 0]
    }

    /// Reads a header; any padding and any reserved byte are accepted.
    ///
    /// # Errors
    ///
    /// [`WireError::BadVersion`], and [`WireError::BadContentLength`] when the record's type has
    /// one possible content length and this is another.
    pub fn parse(bytes: [u8; Self::LENGTH]) -> Result<Self, WireError> {
        let [version, kind, id_high, id_low, length_high, length_low, padding_length, _] = bytes;
        if version != VERSION {
            return Err(WireError::BadVersion { version });
        }
        let header = Self {
            record_type: RecordType(kind),
            id: u16::from_be_bytes([id_high, id_low]),
            content_length: u16::from_be_bytes([length_high, length_low]),
            padding_length,
        };
        match header.record_type.fixed_length() {
            Some(expected) if expected != header.content_length => {
                Err(WireError::BadContentLength {
                    record_type: header.record_type,
                    length: header.content_length,
                    expected,
                })
            }
            _ => Ok(header),
        }
    }
}

/// What a record is (FastCGI 1.0, 8). Any byte is one; a peer may know types we do not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordType(
    /// The number on the wire.
    pub u8,
);

impl RecordType {
    /// Web server: a request starts (5.1).
    pub const BEGIN_REQUEST: Self = Self(1);
    /// Web server: nobody waits for this answer any more (5.4).
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
        matches!(self.0, 1..=8) || matches!(self, Self::LOG | Self::FILE)
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
            _ => "unknown",
        }
    }

    const fn fixed_length(self) -> Option<u16> {
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

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_big_endian() {
        let header = Header {
            record_type: RecordType::STDIN,
            id: 0x0102,
            content_length: 0x0304,
            padding_length: 5,
        };
        assert_eq!(header.to_bytes(), [1, 5, 1, 2, 3, 4, 5, 0]);
        assert_eq!(Header::parse([1, 5, 1, 2, 3, 4, 5, 0xff]), Ok(header));
    }

    #[test]
    fn header_of_another_version_is_refused() {
        for version in [0, 2, b'G'] {
            let error = Header::parse([version, 1, 0, 1, 0, 8, 0, 0]);
            assert_eq!(error, Err(WireError::BadVersion { version }));
        }
    }

    #[test]
    fn fixed_lengths_are_checked_before_the_content_is_here() {
        let table = [(1, 8), (2, 0), (3, 8), (11, 8), (b'F', 16)];
        for (kind, expected) in table {
            for length in [0, 7, 8, 9, 16, 17] {
                let parsed = Header::parse([1, kind, 0, 1, 0, length, 0, 0]);
                assert_eq!(parsed.is_ok(), u16::from(length) == expected, "type {kind}");
            }
        }
    }

    #[test]
    fn every_number_is_a_record_type_with_a_name() {
        assert_eq!(RecordType(6).to_string(), "STDOUT");
        assert_eq!(RecordType(200).to_string(), "type 200");
        let known = (0..=255).map(RecordType).filter(|kind| kind.name() != "unknown");
        assert!(known.clone().all(|kind| kind.is_management() != kind.is_application()));
        assert_eq!(known.count(), 13);
    }
}
