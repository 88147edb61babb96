//! The block of name-value pairs that a request's params make, and reading it (FastCGI 1.0, 3.4).
//! It must never know what any name means.

use std::fmt;

use crate::{Limits, WireError};

/// A complete block of name-value pairs (FastCGI 1.0, 3.4), known to be well formed.
#[derive(Clone, Copy, Default)]
pub struct Params<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) pairs: usize,
}

impl<'a> Params<'a> {
    /// Checks a block that is all here, like the content of a management record.
    ///
    /// # Errors
    ///
    /// The `Params…`, `TooManyPairs` and `NameTooLong` variants of [`WireError`].
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self, WireError> {
        let mut scan = Scan::default();
        let held = &bytes[..bytes.len().min(limits.params_bytes)];
        scan.advance(held, limits)?;
        if held.len() < bytes.len() {
            return Err(WireError::ParamsTooLarge { limit: limits.params_bytes });
        }
        let pairs = scan.finish(bytes)?;
        Ok(Self { bytes, pairs })
    }

    /// The pairs in the order they were sent.
    pub fn iter(self) -> Pairs<'a> {
        Pairs { rest: self.bytes }
    }

    /// The value of `name`, the last one if it was sent twice: what a dict made of the pairs
    /// would answer.
    pub fn get(self, name: &[u8]) -> Option<&'a [u8]> {
        self.iter().filter(|(other, _)| *other == name).last().map(|(_, value)| value)
    }

    /// How many pairs there are.
    pub fn len(self) -> usize {
        self.pairs
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.pairs == 0
    }
}

impl<'a> IntoIterator for Params<'a> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_map().entries(self.iter().map(|(name, value)| (text(name), text(value)))).finish()
    }
}

/// The pairs of a [`Params`], as `(name, value)`.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // The block was checked before; a `None` in the middle of it cannot be.
        let lengths = Lengths::read(self.rest)?;
        let (name, rest) = self.rest.get(lengths.bytes..)?.split_at_checked(lengths.name)?;
        let (value, rest) = rest.split_at_checked(lengths.value)?;
        self.rest = rest;
        Some((name, value))
    }
}

/// The two lengths in front of a pair, and the bytes they take themselves.
struct Lengths {
    bytes: usize,
    name: usize,
    value: usize,
}

impl Lengths {
    /// `None` when they are not all here.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (name, name_bytes) = read_length(bytes)?;
        let (value, value_bytes) = read_length(&bytes[name_bytes..])?;
        Some(Self { bytes: name_bytes + value_bytes, name, value })
    }
}

/// A length of up to 127 is one byte; more is four with the top bit set (FastCGI 1.0, 3.4).
fn read_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.first()?;
    if first & 0x80 == 0 {
        return Some((first.into(), 1));
    }
    let long = u32::from_be_bytes(*bytes.first_chunk()?) & 0x7fff_ffff;
    Some((long as usize, 4))
}

/// How far a block that is still arriving has been checked.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Where the last whole pair ends.
    pub(super) end: usize,
    /// Whole pairs up to there.
    pub(super) pairs: usize,
}

impl Scan {
    pub(super) fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), WireError> {
        while let Some(lengths) = Lengths::read(&bytes[self.end..]) {
            if lengths.name > limits.name_bytes {
                let (length, limit) = (lengths.name, limits.name_bytes);
                return Err(WireError::NameTooLong { length, limit });
            }
            if self.pairs == limits.params_pairs {
                return Err(WireError::TooManyPairs { limit: limits.params_pairs });
            }
            // Declared lengths are judged before anything is kept for them. Saturating is for
            // 32-bit machines, where two lengths of 31 bits overflow.
            let end = (self.end + lengths.bytes)
                .saturating_add(lengths.name)
                .saturating_add(lengths.value);
            if end > limits.params_bytes {
                return Err(WireError::ParamsTooLarge { limit: limits.params_bytes });
            }
            if end > bytes.len() {
                break;
            }
            self.end = end;
            self.pairs += 1;
        }
        Ok(())
    }

    pub(super) fn finish(&self, bytes: &[u8]) -> Result<usize, WireError> {
        match self.end == bytes.len() {
            true => Ok(self.pairs),
            false => Err(WireError::ParamsTruncated { pairs: self.pairs }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `A=1`, `BC=` and a value of 128 bytes under a name of 1: both forms of length.
    fn block() -> Vec<u8> {
        let mut block = b"\x01\x01A1\x02\x00BC\x01\x80\x00\x00\x80D".to_vec();
        block.extend([b'x'; 128]);
        block
    }

    #[test]
    fn both_forms_of_length_are_read() {
        let block = block();
        let params = Params::parse(&block, &Limits::default()).unwrap();
        let pairs: Vec<_> = params.iter().collect();
        assert_eq!(pairs[..2], [(&b"A"[..], &b"1"[..]), (b"BC", b"")]);
        assert_eq!(pairs[2], (&b"D"[..], &[b'x'; 128][..]));
        assert_eq!((params.len(), pairs.len()), (3, 3));
        assert_eq!(params.get(b"BC"), Some(&b""[..]));
        assert_eq!(params.get(b"B"), None);
    }

    #[test]
    fn a_long_form_for_a_short_length_is_legal() {
        let params =
            Params::parse(b"\x80\0\0\x01\x80\0\0\x01A1\x01\x01A2", &Limits::default()).unwrap();
        assert_eq!(params.get(b"A"), Some(&b"2"[..]), "the last one counts");
    }

    #[test]
    fn a_cut_block_is_truncated_wherever_it_is_cut() {
        let block = block();
        for cut in 1..block.len() {
            let pairs = match cut {
                4 | 8 => continue,
                0..4 => 0,
                5..8 => 1,
                _ => 2,
            };
            let error = Params::parse(&block[..cut], &Limits::default()).unwrap_err();
            assert_eq!(error, WireError::ParamsTruncated { pairs }, "cut at {cut}");
        }
    }
}
