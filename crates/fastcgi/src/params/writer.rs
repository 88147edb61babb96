//! Name-value pairs on their way out, as the records of a PARAMS stream.
//! It must never know which pairs a request needs.

use crate::encoder;
use crate::record::{Header, MAX_CONTENT};
use crate::record_type::RecordType;
use crate::{Limits, WireError};

/// Writes name-value pairs as PARAMS records (FastCGI 1.0, 5.2), cutting where a record is full.
#[derive(Debug)]
pub struct ParamsWriter<'a> {
    out: &'a mut Vec<u8>,
    id: u16,
    /// Where in `out` the open record's header stands.
    header: usize,
    /// Bytes of all pairs.
    length: usize,
    extent: Extent,
}

impl<'a> ParamsWriter<'a> {
    /// Starts the params of request `id` at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, id: u16) -> Self {
        let mut writer = Self { out, id, header: 0, length: 0, extent: Extent::new() };
        writer.open();
        writer
    }

    /// Adds a pair.
    pub fn pair(&mut self, name: &[u8], value: &[u8]) {
        let Some(pieces) = Length::both(name, value) else {
            self.extent.too_long = true;
            return;
        };
        self.extent.add_pair(name.len());
        for bytes in [pieces[0].bytes(), pieces[1].bytes(), name, value] {
            self.put(bytes);
        }
    }

    /// Adds pairs that were encoded before.
    pub fn pairs(&mut self, list: &PairList) {
        self.extent.add(&list.extent);
        self.put(&list.bytes);
    }

    /// Ends the stream.
    ///
    /// # Errors
    ///
    /// [`WireError::PairTooLong`] when a name or value given to [`pair`](Self::pair) was of
    /// 2 GiB or more; it was left out and the request must not be sent.
    pub fn finish(mut self) -> Result<(), WireError> {
        if self.content() > 0 {
            self.close();
            self.open();
        }
        // What is open now is empty, and an empty record is the end of a stream.
        if self.extent.too_long { Err(WireError::PairTooLong) } else { Ok(()) }
    }

    /// Ends the stream, if its reader is to go by these limits.
    ///
    /// # Errors
    ///
    /// The same, and that of the limit which the reader would find exceeded.
    pub fn finish_within(self, limits: &Limits) -> Result<(), WireError> {
        let (length, pairs) = (self.length, self.extent.pairs);
        let longest_name = self.extent.longest_name;
        self.finish()?;
        if longest_name > limits.name_bytes {
            return Err(WireError::NameTooLong { length: longest_name, limit: limits.name_bytes });
        }
        if pairs > limits.params_pairs {
            return Err(WireError::TooManyPairs { limit: limits.params_pairs });
        }
        if length > limits.params_bytes {
            return Err(WireError::ParamsTooLarge { limit: limits.params_bytes });
        }
        Ok(())
    }

    fn put(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        while bytes.len() > MAX_CONTENT - self.content() {
            let (fits, rest) = bytes.split_at(MAX_CONTENT - self.content());
            self.out.extend_from_slice(fits);
            self.close();
            self.open();
            bytes = rest;
        }
        self.out.extend_from_slice(bytes);
    }

    fn content(&self) -> usize {
        self.out.len() - self.header - Header::LENGTH
    }

    fn open(&mut self) {
        self.header = self.out.len();
        self.out.extend_from_slice(&encoder::end_of_stream(RecordType::PARAMS, self.id));
    }

    fn close(&mut self) {
        // `put` keeps `content() <= MAX_CONTENT`, so nothing is cut off here.
        let length = self.content() as u16;
        let header = Header::new(RecordType::PARAMS, self.id, length).to_bytes();
        self.out[self.header..self.header + Header::LENGTH].copy_from_slice(&header);
    }
}

/// Name-value pairs as they go over the wire, but not in records yet.
#[derive(Debug, Default)]
pub struct PairList {
    bytes: Vec<u8>,
    extent: Extent,
}

/// A place in a [`PairList`], behind its pairs of that moment.
#[derive(Debug, Clone, Copy)]
pub struct PairListEnd {
    bytes: usize,
    extent: Extent,
}

/// What a reader may have limits for, beside the bytes of all.
#[derive(Debug, Default, Clone, Copy)]
struct Extent {
    pairs: usize,
    longest_name: usize,
    /// A name or a value is longer than the wire can say, and was left out.
    too_long: bool,
}

impl Extent {
    const fn new() -> Self {
        Self { pairs: 0, longest_name: 0, too_long: false }
    }

    fn add_pair(&mut self, name: usize) {
        self.pairs += 1;
        self.longest_name = self.longest_name.max(name);
    }

    fn add(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.longest_name = self.longest_name.max(other.longest_name);
        self.too_long |= other.too_long;
    }
}

impl PairList {
    /// A list of nothing.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), extent: Extent::new() }
    }

    /// Adds a pair. One that is too long makes [`ParamsWriter::finish`] fail.
    pub fn pair(&mut self, name: &[u8], value: &[u8]) {
        let Some(pieces) = Length::both(name, value) else {
            self.extent.too_long = true;
            return;
        };
        self.extent.add_pair(name.len());
        self.bytes.reserve(2 * size_of::<u32>() + name.len() + value.len());
        for bytes in [pieces[0].bytes(), pieces[1].bytes(), name, value] {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Adds a pair whose name is made while it is written.
    pub fn pair_of(
        &mut self,
        prefix: &[u8],
        name: impl ExactSizeIterator<Item = u8>,
        value: &[u8],
    ) {
        let lengths = (Length::new(prefix.len() + name.len()), Length::of(value));
        let (Some(name_length), Some(value_length)) = lengths else {
            self.extent.too_long = true;
            return;
        };
        self.extent.add_pair(prefix.len() + name.len());
        for bytes in [name_length.bytes(), value_length.bytes(), prefix] {
            self.bytes.extend_from_slice(bytes);
        }
        self.bytes.extend(name);
        self.bytes.extend_from_slice(value);
    }

    /// The end of the list as it is.
    pub const fn end(&self) -> PairListEnd {
        PairListEnd { bytes: self.bytes.len(), extent: self.extent }
    }

    /// Removes what has been added to this list since it gave `end`.
    pub fn cut(&mut self, end: PairListEnd) {
        self.bytes.truncate(end.bytes);
        self.extent = end.extent;
    }

    /// Forgets everything but the memory, and of that what goes beyond `kept` bytes.
    pub fn clear(&mut self, kept: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(kept);
        self.extent = Extent::new();
    }

    /// The pairs.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A length as it goes over the wire.
struct Length {
    encoded: [u8; 4],
    short: bool,
}

impl Length {
    fn both(name: &[u8], value: &[u8]) -> Option<[Self; 2]> {
        Some([Self::of(name)?, Self::of(value)?])
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        Self::new(bytes.len())
    }

    fn new(length: usize) -> Option<Self> {
        let length = u32::try_from(length).ok().filter(|length| length >> 31 == 0)?;
        let short = length < 0x80;
        let encoded = if short { length << 24 } else { length | 0x8000_0000 };
        Some(Self { encoded: encoded.to_be_bytes(), short })
    }

    fn bytes(&self) -> &[u8] {
        if self.short { &self.encoded[..1] } else { &self.encoded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writer_uses_the_fewest_bytes() {
        let mut out = Vec::new();
        let mut writer = ParamsWriter::new(&mut out, 1);
        writer.pair(b"A", b"1");
        writer.pair(b"D", &[b'x'; 128]);
        writer.finish().unwrap();
        let mut expected = b"\x01\x04\0\x01\0\x8a\0\0\x01\x01A1\x01\x80\0\0\x80D".to_vec();
        expected.extend([b'x'; 128]);
        expected.extend(b"\x01\x04\0\x01\0\0\0\0");
        assert_eq!(out, expected);
    }

    #[test]
    fn a_list_holds_what_the_writer_writes() {
        let (mut list, long) = (PairList::new(), [b'x'; 200]);
        list.pair(b"A", b"1");
        list.pair_of(b"HTTP_", b"x-y".iter().map(u8::to_ascii_uppercase), &long);
        let (mut direct, mut listed) = (Vec::new(), Vec::new());
        let mut writer = ParamsWriter::new(&mut direct, 1);
        writer.pair(b"A", b"1");
        writer.pair(b"HTTP_X-Y", &long);
        writer.finish().unwrap();
        let mut writer = ParamsWriter::new(&mut listed, 1);
        writer.pairs(&list);
        writer.finish().unwrap();
        assert_eq!(direct, listed);
        let (end, limit) = (list.end(), list.extent.pairs);
        list.pair(&long, b"");
        list.cut(end);
        let mut cut = Vec::new();
        let mut writer = ParamsWriter::new(&mut cut, 1);
        writer.pairs(&list);
        let limits = Limits { params_pairs: limit, name_bytes: 10, ..Limits::default() };
        writer.finish_within(&limits).unwrap();
        assert_eq!(direct, cut);
        list.clear(0);
        assert!(list.as_bytes().is_empty());
    }

    #[test]
    fn a_writer_refuses_what_the_reader_would() {
        let pairs = |count, length: usize| {
            let mut list = PairList::new();
            (0..count).for_each(|_| list.pair_of(b"HTTP_", b"X".iter().copied(), &vec![1; length]));
            list
        };
        let limits = Limits { params_bytes: 64, params_pairs: 3, name_bytes: 7, ..<_>::default() };
        for (count, length, expected) in [
            (2, 0, Ok(())),
            (2, 22, Ok(())),
            (2, 23, Err(WireError::ParamsTooLarge { limit: 64 })),
            (3, 0, Err(WireError::TooManyPairs { limit: 3 })),
        ] {
            let mut out = Vec::new();
            let mut writer = ParamsWriter::new(&mut out, 1);
            writer.pair(b"A", b"1");
            writer.pairs(&pairs(count, length));
            assert_eq!(writer.finish_within(&limits), expected);
            let block = &out[Header::LENGTH..out.len() - Header::LENGTH];
            assert_eq!(crate::Params::parse(block, &limits).map(|_| ()), expected);
        }
        let mut out = Vec::new();
        let mut writer = ParamsWriter::new(&mut out, 1);
        writer.pair(b"12345678", b"");
        let refused = Err(WireError::NameTooLong { length: 8, limit: 7 });
        assert_eq!(writer.finish_within(&limits), refused);
    }

    #[test]
    fn no_params_are_one_empty_record() {
        let mut out = Vec::new();
        ParamsWriter::new(&mut out, 3).finish().unwrap();
        assert_eq!(out, [1, 4, 0, 3, 0, 0, 0, 0]);
    }

    #[test]
    fn writer_cuts_at_a_full_record_and_never_ends_the_stream_there() {
        // Lengths (1 + 4 bytes), a name of 1: this fills a record to the last byte.
        for (value, records) in [(65_528, 1), (65_529, 1), (65_530, 2), (200_000, 4)] {
            let mut out = Vec::new();
            let mut writer = ParamsWriter::new(&mut out, 1);
            writer.pair(b"N", &vec![7; value]);
            writer.finish().unwrap();
            let mut rest = out.as_slice();
            let mut lengths = Vec::new();
            while let Some(header) = rest.first_chunk() {
                let length = usize::from(Header::parse(*header).unwrap().content_length);
                rest = &rest[Header::LENGTH + length..];
                lengths.push(length);
            }
            assert_eq!(lengths.pop(), Some(0));
            assert_eq!(lengths.len(), records);
            assert!(lengths.iter().all(|length| *length > 0));
            assert_eq!(lengths.iter().sum::<usize>(), 6 + value);
        }
    }
}
