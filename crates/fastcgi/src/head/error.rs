//! Everything that can be wrong with an answer's head, one variant for each.
//! It must never know what the client of the web server gets to see instead.

use std::fmt;

/// Why an answer's head cannot be used.
///
/// Parts of the head are quoted, as an [`Excerpt`]: its lines are the application's, and only
/// their text tells a person which one is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The answer ended before one byte of a head.
    Missing,
    /// The answer ended inside the head.
    Truncated {
        /// Bytes of head that had come.
        length: usize,
    },
    /// The head is longer than `Limits::head_bytes`.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// More fields than `Limits::head_fields`.
    TooManyFields {
        /// The limit.
        limit: usize,
    },
    /// A line is longer than `Limits::head_line_bytes`.
    LineTooLong {
        /// How the line begins: a field's name, as a rule.
        line: Excerpt,
        /// Bytes of it, or as many as had come.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A line that is not a field at all.
    MissingColon {
        /// How the line begins.
        line: Excerpt,
    },
    /// A field's name is empty or has a byte no name may have, often a space before the colon.
    BadName {
        /// The name.
        name: Excerpt,
    },
    /// A line begins with white space: the folding of old, which is forbidden by now
    /// (RFC 9112, 5.2).
    Folded {
        /// How the line begins.
        line: Excerpt,
    },
    /// A NUL, a CR or an LF inside a line. Passed on, they would end up as another line or the
    /// end of a C string.
    BadByte {
        /// How the line begins.
        line: Excerpt,
        /// The byte.
        byte: u8,
    },
    /// `Status` is not three digits from 100 on, and then nothing or a space and the reason.
    BadStatus {
        /// What it is instead.
        value: Excerpt,
    },
}

/// The beginning of something the peer sent, escaped when shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt(Vec<u8>);

impl Excerpt {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(bytes[..bytes.len().min(EXCERPT_BYTES)].to_vec())
    }

    /// Up to the colon if there is one: what comes after it may be long, or secret.
    pub(super) fn of_line(line: &[u8]) -> Self {
        Self::of(line.split(|byte| *byte == b':').next().unwrap_or_default())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("answer ended before its head"),
            Self::Truncated { length } => {
                write!(f, "answer ended inside its head, after {length} bytes")
            }
            Self::TooLarge { limit } => {
                write!(f, "response head exceeds the limit of {limit} bytes")
            }
            Self::TooManyFields { limit } => {
                write!(f, "response head exceeds the limit of {limit} fields")
            }
            Self::LineTooLong { line, length, limit } => {
                write!(f, "header line {line} of {length} bytes exceeds the limit of {limit}")
            }
            Self::MissingColon { line } => write!(f, "header line {line} has no colon"),
            Self::BadName { name } => write!(f, "invalid header name {name}"),
            Self::Folded { line } => {
                write!(f, "header line {line} begins with white space")
            }
            Self::BadByte { line, byte } => {
                write!(f, "header line {line} contains the byte 0x{byte:02x}")
            }
            Self::BadStatus { value } => write!(f, "invalid response status {value}"),
        }
    }
}

impl std::error::Error for HeadError {}

/// Enough to recognise a line by, short enough for a log.
const EXCERPT_BYTES: usize = 64;
