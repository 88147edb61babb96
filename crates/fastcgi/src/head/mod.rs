//! The head of an answer (RFC 3875, section 6): the lines before the body on STDOUT.
//! It must never know records, nor which header fields mean something to a server.

mod error;
mod parser;
mod writer;

use std::ops::Range;

pub use error::{Excerpt, HeadError};
pub use parser::HeadParser;
pub use writer::HeadWriter;

/// A head that is complete and well formed, borrowed from its [`HeadParser`].
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    bytes: &'a [u8],
    fields: &'a [Field],
    status: Option<&'a Status>,
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
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

#[derive(Debug)]
struct Status {
    code: u16,
    reason: Range<usize>,
}

impl Status {
    /// Reads a value such as `404 Not Found`, by its place in the bytes of its head.
    fn parse(bytes: &[u8], value: Range<usize>) -> Result<Self, HeadError> {
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

/// Whether `name` is a token (RFC 9110, 5.6.2), which is all that a field's name may be.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// By byte: whether it may stand in a token.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut others: &[u8] = b"!#$%&'*+-.^_`|~";
    while let [byte, rest @ ..] = others {
        table[*byte as usize] = true;
        others = rest;
    }
    table
};

/// A code of three digits; no other can be put into an HTTP response.
fn is_status(code: u16) -> bool {
    (100..=999).contains(&code)
}
