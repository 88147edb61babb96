//! Params while they arrive: pairs may straddle records, and limits strike as soon as they can.
//! It must never know which request it collects for.

use super::{Lengths, Params};
use crate::{Limits, WireError};

/// Collects the params of one request after the other out of PARAMS records, in one memory.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    bytes: Vec<u8>,
    scan: Scan,
}

impl Collector {
    /// Takes the next piece of the stream; pairs may straddle pieces anywhere.
    pub(crate) fn push(&mut self, piece: &[u8], limits: &Limits) -> Result<(), WireError> {
        let room = limits.params_bytes.saturating_sub(self.bytes.len());
        let held = &piece[..piece.len().min(room)];
        self.bytes.extend_from_slice(held);
        // First, so that the same bytes fail in the same way wherever they were split.
        self.scan.advance(&self.bytes, limits)?;
        if held.len() < piece.len() {
            return Err(WireError::ParamsTooLarge { limit: limits.params_bytes });
        }
        Ok(())
    }

    /// Takes the end of the stream.
    pub(crate) fn finish(&self) -> Result<(), WireError> {
        self.scan.finish(&self.bytes).map(|_| ())
    }

    /// What has been collected.
    pub(crate) fn params(&self) -> Params<'_> {
        Params { bytes: &self.bytes[..self.scan.end], pairs: self.scan.pairs }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        // One giant request should not weigh on the connection for the rest of its life.
        self.bytes.shrink_to(KEPT_BYTES);
        self.scan = Scan::default();
    }
}

/// How far a block that is still arriving has been checked.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Where the last whole pair ends.
    end: usize,
    /// Whole pairs up to there.
    pairs: usize,
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

/// Memory a connection keeps for params between requests, in bytes.
const KEPT_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_strike_on_the_declaration_in_any_split() {
        let limits = Limits { params_bytes: 64, params_pairs: 2, name_bytes: 8, ..<_>::default() };
        let full = [&b"\x01\x3dA"[..], &[b'x'; 61], b"\0"].concat();
        let table: [(&[u8], WireError); 6] = [
            (&full, WireError::ParamsTooLarge { limit: 64 }),
            (b"\x01\x81\0\0\0", WireError::ParamsTooLarge { limit: 64 }),
            (b"\x09\x00", WireError::NameTooLong { length: 9, limit: 8 }),
            (b"\x01\xff\xff\xff\xff", WireError::ParamsTooLarge { limit: 64 }),
            (b"\x00\x3e0123\x00", WireError::ParamsTruncated { pairs: 0 }),
            (b"\x01\x00A\x01\x00A\x00\x00", WireError::TooManyPairs { limit: 2 }),
        ];
        for (bytes, expected) in table {
            for step in 1..=bytes.len() {
                let mut collector = Collector::default();
                let outcome = bytes
                    .chunks(step)
                    .try_for_each(|piece| collector.push(piece, &limits))
                    .and_then(|()| collector.finish());
                assert_eq!(outcome, Err(expected), "{} by {step}", bytes.escape_ascii());
            }
            assert_eq!(Params::parse(bytes, &limits).unwrap_err(), expected);
        }
    }
}
