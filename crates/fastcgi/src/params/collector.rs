//! Params while they arrive: pairs may straddle records, and limits strike as soon as they can.
//! It must never know which request it collects for.

use super::block::{Params, Scan};
use crate::private::COMMON_VARIABLES_NAME;
use crate::{Limits, WireError};

/// Collects the params of one request after the other out of PARAMS records, in one memory.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    bytes: Vec<u8>,
    scan: Scan,
    /// Where the request's own pairs begin, and how many come before.
    own: (usize, usize),
    common: CommonParams,
    /// Nothing is held from one request for the next.
    holds_nothing: bool,
}

/// Params that hold for one request after the other.
#[derive(Debug, Default)]
struct CommonParams {
    bytes: Vec<u8>,
    pairs: usize,
    /// How many times they have been sent; 0 is never.
    version: u64,
    /// Whether the request refers to them.
    referred: bool,
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
    pub(crate) fn finish(&mut self, limits: &Limits) -> Result<(), WireError> {
        self.scan.finish(&self.bytes)?;
        if self.holds_nothing {
            return Ok(());
        }
        let mut pairs = Params { bytes: &self.bytes, pairs: self.scan.pairs }.iter();
        let Some((COMMON_VARIABLES_NAME, length)) = pairs.next() else { return Ok(()) };
        let (own, version) = (self.bytes.len() - pairs.rest.len(), self.common.version);
        if length.is_empty() {
            // Those that were sent before.
            self.own = (own, 1);
            self.common.referred = version > 0;
            return if version > 0 { Ok(()) } else { Err(WireError::BadCommonParams) };
        }
        let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
        let Some(block) = length.and_then(|length: usize| pairs.rest.get(..length)) else {
            return Err(WireError::BadCommonParams);
        };
        let count = Params::parse(block, limits)?.len();
        self.common.bytes.clear();
        self.common.bytes.extend_from_slice(block);
        self.own = (own + self.common.bytes.len(), 1 + count);
        self.common.pairs = count;
        self.common.version = version + 1;
        self.common.referred = true;
        Ok(())
    }

    /// What has been collected; once it is complete, without the common params.
    pub(crate) fn params(&self) -> Params<'_> {
        let (start, before) = self.own;
        Params { bytes: &self.bytes[start..self.scan.end], pairs: self.scan.pairs - before }
    }

    /// The common params that the request refers to, and a version number that changes with them.
    pub(crate) fn common(&self) -> Option<(u64, Params<'_>)> {
        let CommonParams { bytes, pairs, version, referred } = &self.common;
        referred.then_some((*version, Params { bytes, pairs: *pairs }))
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        // One giant request should not weigh on the connection for the rest of its life.
        self.bytes.shrink_to(KEPT_BYTES);
        self.scan = Scan::default();
        self.own = (0, 0);
        self.common.referred = false;
    }

    /// From now on params hold for one request alone, whatever they are called.
    pub(crate) fn hold_nothing(&mut self) {
        self.holds_nothing = true;
    }

    /// The bytes of its memory, used or not.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.common.bytes.capacity()
    }

    /// Gives memory back that few requests need. To be called between two requests.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES_OF_MANY {
            self.bytes.shrink_to(KEPT_BYTES_OF_MANY);
        }
    }

    /// Forgets the common params, too.
    pub(crate) fn reset(&mut self) {
        self.clear();
        self.common = CommonParams::default();
    }
}

/// Memory a connection keeps for params between requests, in bytes.
const KEPT_BYTES: usize = 64 << 10;
/// The same where there are many connections.
const KEPT_BYTES_OF_MANY: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair that announces common params, those, and others.
    fn announced(length: &str, common: &[u8], others: &[u8]) -> Vec<u8> {
        let head = [COMMON_VARIABLES_NAME.len() as u8, length.len() as u8];
        [&head[..], COMMON_VARIABLES_NAME, length.as_bytes(), common, others].concat()
    }

    #[test]
    fn steady_pairs_hold_until_others_come() {
        let (limits, mut collector) = (Limits::default(), Collector::default());
        let mut ask = |bytes: &[u8]| {
            collector.clear();
            let taken = bytes.chunks(3).try_for_each(|piece| collector.push(piece, &limits));
            taken.and_then(|()| collector.finish(&limits))?;
            let (own, common) = (collector.params(), collector.common());
            let all = |params: Params<'_>| {
                assert_eq!(params.iter().count(), params.len());
                params.iter().map(|(name, _)| name.to_vec()).collect::<Vec<_>>().concat()
            };
            Ok((all(own), common.map(|(version, params)| (version, all(params)))))
        };
        let (one, two, own) = (b"\x01\x01A1\x01\x01B2", b"\x01\x01C3", b"\x01\x01D4");
        assert_eq!(ask(&announced("", b"", own)), Err(WireError::BadCommonParams));
        assert_eq!(ask(own), Ok((b"D".into(), None)));
        let first = Some((1, b"AB".to_vec()));
        assert_eq!(ask(&announced("8", one, own)), Ok((b"D".into(), first.clone())));
        assert_eq!(ask(own), Ok((b"D".into(), None)));
        assert_eq!(ask(&announced("", b"", own)), Ok((b"D".into(), first.clone())));
        assert_eq!(ask(&announced("", b"", b"")), Ok((b"".into(), first)));
        let second = Some((2, b"C".to_vec()));
        assert_eq!(ask(&announced("4", two, b"")), Ok((b"".into(), second.clone())));
        assert_eq!(ask(&announced("", b"", own)), Ok((b"D".into(), second.clone())));
        for bad in ["9", "x", "-4", "99999999999999999999"] {
            assert_eq!(ask(&announced(bad, two, own)), Err(WireError::BadCommonParams), "{bad}");
        }
        let cut = ask(&announced("3", two, own));
        assert_eq!(cut, Err(WireError::ParamsTruncated { pairs: 0 }));
    }

    #[test]
    fn collector_that_holds_nothing_has_ordinary_params_alone() {
        let (limits, mut collector) = (Limits::default(), Collector::default());
        collector.hold_nothing();
        let sent = announced("4", b"\x01\x01C3", b"\x01\x01D4");
        for _ in 0..2 {
            collector.clear();
            collector.push(&sent, &limits).unwrap();
            collector.finish(&limits).unwrap();
            let names: Vec<_> = collector.params().iter().map(|(name, _)| name).collect();
            assert_eq!(names, [COMMON_VARIABLES_NAME, b"C", b"D"]);
            assert!(collector.common().is_none());
        }
    }

    #[test]
    fn memory_of_a_large_request_is_given_back_between_two() {
        let (limits, mut collector) = (Limits::default(), Collector::default());
        let large = [&b"\x01\x80\0\xc0\0A"[..], &[b'x'; 0xc000]].concat();
        collector.push(&large, &limits).unwrap();
        assert!(collector.memory() >= large.len());
        collector.clear();
        assert!(collector.memory() >= large.len(), "one connection keeps it");
        collector.shrink();
        assert!(collector.memory() <= KEPT_BYTES_OF_MANY);
    }

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
                    .and_then(|()| collector.finish(&limits));
                assert_eq!(outcome, Err(expected), "{} by {step}", bytes.escape_ascii());
            }
            assert_eq!(Params::parse(bytes, &limits).unwrap_err(), expected);
        }
    }
}
