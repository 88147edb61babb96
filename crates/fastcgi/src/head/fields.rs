//! A head that has been read: its status and its fields.
//! It must never know where the bytes came from.

use super::error::{Excerpt, HeadError};
use super::syntax::is_status;
use std::ops::Range;

/// A head that is complete and well formed, borrowed from its [`HeadParser`](super::HeadParser).
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) fields: &'a [Field],
    pub(super) status: Option<&'a Status>,
}

impl<'a> Head<'a> {
    /// The code of the first `Status` field, from 100 to 999. RFC 3875, 6.3.3 says what no status
    /// means: 200, or 302 beside a `Location`.
    pub fn status(&self) -> Option<u16> {
        self.status.map(|status| status.code)
    }

    /// What follows the code; empty when nothing does.
    pub fn reason(&self) -> &'a [u8] {
        self.status.map_or(b"", |status| &self.bytes[status.reason.clone()])
    }

    /// All fields but the first `Status` as `(name, value)`, in the order they were sent. Values have no
    /// white space around them.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.fields.iter().map(|field| (&bytes[field.name.clone()], &bytes[field.value.clone()]))
    }

    /// The value of the first field of that name, in whatever case.
    pub fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.fields().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A field's place in the bytes of its head.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
}

#[derive(Debug)]
pub(super) struct Status {
    pub(super) code: u16,
    pub(super) reason: Range<usize>,
}

impl Status {
    /// Reads a value such as `404 Not Found`, by its place in the bytes of its head.
    pub(super) fn parse(bytes: &[u8], value: Range<usize>) -> Result<Self, HeadError> {
        let text = &bytes[value.clone()];
        let code = match text {
            [a, b, c] | [a, b, c, b' ', ..] if [a, b, c].iter().all(|d| d.is_ascii_digit()) => {
                [a, b, c].iter().fold(0, |code, digit| code * 10 + u16::from(**digit - b'0'))
            }
            _ => 0,
        };
        match is_status(code) {
            true => Ok(Self { code, reason: (value.start + 4).min(value.end)..value.end }),
            false => Err(HeadError::BadStatus { value: Excerpt::of(text) }),
        }
    }
}
