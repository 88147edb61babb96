//! A record: the eight-byte header every FastCGI message opens with, and the numbers in it.
//! It must never know which end of a connection is reading or writing.

use crate::WireError;
use crate::record_type::RecordType;

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
        assert_eq!(known.count(), 14);
    }
}
