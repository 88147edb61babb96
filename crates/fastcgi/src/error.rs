//! Everything that can be wrong with bytes from the peer, one variant for each.
//! It must never know what the caller does about it; the connection is lost in every case.

use std::fmt;

use crate::record_type::RecordType;

/// Why a connection cannot go on.
///
/// FastCGI has no way to point at a bad byte and read on behind it, so each of these means:
/// close. The first one is final; a connection repeats it when asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The first byte of a record is not 1. Usually the peer does not speak FastCGI at all.
    BadVersion {
        /// The byte found there.
        version: u8,
    },
    /// A record of fixed size declares another.
    BadContentLength {
        /// The record.
        record_type: RecordType,
        /// Bytes declared.
        length: u16,
        /// Bytes the standard wants.
        expected: u16,
    },
    /// A record that belongs to a request carries the id of none (FastCGI 1.0, 3.3).
    RequestIdZero {
        /// The record.
        record_type: RecordType,
    },
    /// A management record carries the id of a request (FastCGI 1.0, 3.3).
    RequestIdNotZero {
        /// The record.
        record_type: RecordType,
        /// The id.
        id: u16,
    },
    /// The answer is to a request we did not ask.
    IdMismatch {
        /// The record.
        record_type: RecordType,
        /// The id it carries.
        id: u16,
        /// The id we sent.
        expected: u16,
    },
    /// A request begins under the id of one that has not ended.
    RequestIdInUse {
        /// The id.
        id: u16,
    },
    /// A record that is not expected by this end, or not in this phase of the request.
    OutOfPlace {
        /// The record.
        record_type: RecordType,
        /// When it came, for people.
        phase: &'static str,
    },
    /// A record of a request whose type is not defined.
    UnknownType {
        /// The record.
        record_type: RecordType,
    },
    /// A private record that this request did not announce as welcome.
    NotAnnounced {
        /// The record.
        record_type: RecordType,
    },
    /// The params stream ended inside a name-value pair.
    ParamsTruncated {
        /// Whole pairs before it.
        pairs: usize,
    },
    /// The params, or one pair's declared length, go beyond `Limits::params_bytes`.
    ParamsTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// More name-value pairs than `Limits::params_pairs`.
    TooManyPairs {
        /// The limit.
        limit: usize,
    },
    /// A name longer than `Limits::name_bytes`.
    NameTooLong {
        /// Bytes declared.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A name or value we were asked to send does not fit a length of 31 bits.
    PairTooLong,
    /// The params refer to common params that were never sent, or that are shorter than announced.
    BadCommonParams,
    /// A log record without a level, or with one Apache does not know.
    BadLogLevel {
        /// The level, unless the record is empty.
        level: Option<u8>,
    },
    /// An interim record of a kind that is not known.
    BadInterim,
    /// END_REQUEST with a protocol status that is not defined.
    BadProtocolStatus {
        /// The status.
        status: u8,
    },
    /// The peer closed the connection where it had more to say.
    UnexpectedEof {
        /// What was cut short, for people.
        during: &'static str,
    },
}

impl WireError {
    /// Whether the peer kept to the protocol and only exceeded one of our `Limits`. The remedy
    /// is then in our configuration and not in its code.
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::ParamsTooLarge { .. } | Self::TooManyPairs { .. } | Self::NameTooLong { .. }
        )
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadVersion { version } => {
                write!(f, "first byte of a record is 0x{version:02x}, not FastCGI version 1")
            }
            Self::BadContentLength { record_type, length, expected } => {
                write!(f, "{record_type} record of {length} bytes, must be {expected}")
            }
            Self::RequestIdZero { record_type } => {
                write!(f, "{record_type} record with request id 0")
            }
            Self::RequestIdNotZero { record_type, id } => {
                write!(f, "management record {record_type} with request id {id}")
            }
            Self::IdMismatch { record_type, id, expected } => {
                write!(f, "{record_type} record for request {id}, expected request {expected}")
            }
            Self::RequestIdInUse { id } => {
                write!(f, "BEGIN_REQUEST for request {id}, which has not ended")
            }
            Self::OutOfPlace { record_type, phase } => {
                write!(f, "{record_type} record out of place: {phase}")
            }
            Self::UnknownType { record_type } => {
                write!(f, "record of unknown {record_type} in a request")
            }
            Self::NotAnnounced { record_type } => {
                write!(f, "private {record_type} record that was not announced as welcome")
            }
            Self::ParamsTruncated { pairs } => {
                write!(f, "params end inside a name-value pair, after {pairs} whole ones")
            }
            Self::ParamsTooLarge { limit } => {
                write!(f, "params exceed the limit of {limit} bytes")
            }
            Self::TooManyPairs { limit } => {
                write!(f, "params exceed the limit of {limit} name-value pairs")
            }
            Self::NameTooLong { length, limit } => {
                write!(f, "name of {length} bytes in params exceeds the limit of {limit}")
            }
            Self::PairTooLong => f.write_str("name or value too long for FastCGI params"),
            Self::BadCommonParams => {
                f.write_str("params refer to common params that have not been sent")
            }
            Self::BadLogLevel { level: Some(level) } => {
                write!(f, "LOG record with unknown level {level}")
            }
            Self::BadLogLevel { level: None } => f.write_str("LOG record without a level"),
            Self::BadInterim => f.write_str("INTERIM record of an unknown kind"),
            Self::BadProtocolStatus { status } => {
                write!(f, "END_REQUEST record with unknown protocol status {status}")
            }
            Self::UnexpectedEof { during } => write!(f, "connection closed inside {during}"),
        }
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_thing_and_have_no_full_stop() {
        let table = [
            (
                WireError::BadVersion { version: b'H' },
                "first byte of a record is 0x48, not FastCGI version 1",
            ),
            (
                WireError::UnknownType { record_type: RecordType(42) },
                "record of unknown type 42 in a request",
            ),
            (
                WireError::OutOfPlace {
                    record_type: RecordType::STDIN,
                    phase: "params have not ended",
                },
                "STDIN record out of place: params have not ended",
            ),
            (WireError::BadLogLevel { level: None }, "LOG record without a level"),
        ];
        for (error, message) in table {
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn only_our_own_limits_are_limits() {
        assert!(WireError::TooManyPairs { limit: 1 }.is_limit());
        assert!(!WireError::ParamsTruncated { pairs: 1 }.is_limit());
    }
}
