//! Bytes in, frames out: a buffer the caller reads into and records are handed out of, uncopied.
//! It must never know what a record means to a request, or which end it serves.

use std::ops::Range;

use crate::WireError;
use crate::record::{Header, MAX_CONTENT};
use crate::record_type::RecordType;

/// The most bytes that are kept between two requests: enough for all requests without a large body.
const KEPT: usize = 64 * 1024;

/// A record, or the next piece of one, borrowed from the decoder's buffer.
///
/// Stream content (`PARAMS`, `STDIN`, `STDOUT`, `STDERR`, `DATA`) comes in as many pieces as it
/// took to arrive, so that 64 KiB need not be complete before their first byte moves on. Every
/// other record comes whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the record is.
    pub record_type: RecordType,
    /// The request it belongs to; 0 for management records.
    pub id: u16,
    /// The content, or the piece of it that is here. For a stream, empty means its end and
    /// nothing else (FastCGI 1.0, 3.3).
    pub content: &'a [u8],
    /// Whether more content of this same record will follow.
    pub more: bool,
}

/// Cuts what a peer sends into [`Frame`]s.
///
/// The loop is: [`next`](Self::next) until it has nothing, then read(2) into
/// [`spare`](Self::spare) and say how much came with [`filled`](Self::filled). Kept to, it holds
/// at most one record and one read. Memory is kept across requests, up to 64 KiB.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// `start <= end <= buffer.len()`: what has come and was not handed out yet.
    start: usize,
    end: usize,
    /// The record being read, once its header is complete and until its content is.
    header: Option<Header>,
    /// Content of `header` not handed out yet; with it `start <= start + content_left`.
    content_left: usize,
    /// Padding still to be thrown away before the next header.
    padding_left: usize,
    failed: Option<WireError>,
}

impl Decoder {
    /// A decoder that holds no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// At least `min` bytes to read into (and at least one). Frames handed out before are gone.
    pub fn spare(&mut self, min: usize) -> &mut [u8] {
        let min = min.max(1);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() - self.end < min && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.len() - self.end < min {
            // Doubling keeps a record that drips in from being moved at every read.
            let length = (self.end + min).max(2 * self.buffer.len().min(MAX_CONTENT));
            self.buffer.resize(length, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Gives memory back that a large body has needed, where nothing is in it.
    pub fn shrink(&mut self) {
        if self.start == self.end && self.buffer.len() > KEPT {
            (self.start, self.end) = (0, 0);
            self.buffer.truncate(KEPT);
            self.buffer.shrink_to(KEPT);
        }
    }

    /// Whether it has memory, used or not.
    pub fn has_memory(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The bytes of its memory, used or not.
    pub(crate) fn memory(&self) -> usize {
        self.buffer.len()
    }

    /// Gives its memory away where nothing is in it, for another decoder that has none; see
    /// [`give_memory`](Self::give_memory). `None` where there is none to give.
    pub fn take_memory(&mut self) -> Option<Vec<u8>> {
        if self.start != self.end || !self.has_memory() {
            return None;
        }
        (self.start, self.end) = (0, 0);
        Some(std::mem::take(&mut self.buffer))
    }

    /// Takes what another decoder has given away, where it has none of its own.
    pub fn give_memory(&mut self, memory: Vec<u8>) {
        if !self.has_memory() {
            self.buffer = memory;
        }
    }

    /// What has come and was not handed out: of a peer that does not speak FastCGI, all of it.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Says that the first `count` bytes of [`spare`](Self::spare) have been written.
    ///
    /// # Panics
    ///
    /// When `count` is more than `spare` had.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.buffer.len() - self.end, "filled more than was spare");
        self.end += count;
    }

    /// The next frame, or `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// What [`Header::parse`] finds, and then the same for ever.
    // Not an `Iterator`: the frame borrows from the decoder.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        let Some(piece) = self.advance()? else { return Ok(None) };
        let content = &self.buffer[piece.range.clone()];
        Ok(Some(Frame { record_type: piece.record_type, id: piece.id, content, more: piece.more }))
    }

    /// Says that the peer has closed its side.
    ///
    /// # Errors
    ///
    /// [`WireError::UnexpectedEof`] inside a record, or the error met before.
    pub fn end_of_input(&self) -> Result<(), WireError> {
        match (self.failed, self.header) {
            (Some(error), _) => Err(error),
            (None, Some(header)) => {
                Err(WireError::UnexpectedEof { during: inside(header.record_type) })
            }
            (None, None) if self.padding_left > 0 => {
                Err(WireError::UnexpectedEof { during: "the padding of a record" })
            }
            (None, None) if self.start < self.end => {
                Err(WireError::UnexpectedEof { during: "a record header" })
            }
            (None, None) => Ok(()),
        }
    }

    /// Whether everything that came has been handed out and it ended with a record.
    pub fn is_empty(&self) -> bool {
        self.failed.is_none() && self.end_of_input().is_ok()
    }

    /// Forgets everything but the memory, for another connection.
    pub fn reset(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        *self = Self { buffer, ..Self::default() };
    }

    /// [`next`](Self::next) without the borrow, for a loop that passes over records.
    pub(crate) fn advance(&mut self) -> Result<Option<Piece>, WireError> {
        self.advance_by(usize::MAX)
    }

    /// The same, with at most `most` bytes of a stream's content (and at least one): the rest stays here.
    pub(crate) fn advance_by(&mut self, most: usize) -> Result<Option<Piece>, WireError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.skip_padding();
        let header = match self.header {
            Some(header) => header,
            None if self.padding_left > 0 => return Ok(None),
            None => {
                let Some(bytes) = self.buffer[self.start..self.end].first_chunk() else {
                    return Ok(None);
                };
                let header = Header::parse(*bytes).map_err(|error| self.fail(error))?;
                self.start += Header::LENGTH;
                self.content_left = header.content_length.into();
                self.padding_left = header.padding_length.into();
                self.header = Some(header);
                header
            }
        };
        let mut here = self.content_left.min(self.end - self.start);
        if header.record_type.is_stream() {
            here = here.min(most.max(1));
        }
        let whole = here == self.content_left;
        if !whole && (here == 0 || !header.record_type.is_stream()) {
            return Ok(None);
        }
        let range = self.start..self.start + here;
        self.start += here;
        self.content_left -= here;
        if whole {
            self.header = None;
            self.skip_padding();
        }
        let Header { record_type, id, .. } = header;
        Ok(Some(Piece { record_type, id, range, more: !whole }))
    }

    /// The header of the next record, if the one before has been handed out and this header is here.
    pub(crate) fn upcoming(&self) -> Option<Header> {
        if self.header.is_some() || self.padding_left > 0 || self.failed.is_some() {
            return None;
        }
        let bytes = self.buffer.get(self.start..self.end)?.first_chunk()?;
        Header::parse(*bytes).ok()
    }

    /// The bytes of a [`Piece`] just handed out.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Makes `error` this connection's last word.
    pub(crate) fn fail(&mut self, error: WireError) -> WireError {
        *self.failed.get_or_insert(error)
    }

    fn skip_padding(&mut self) {
        if self.header.is_none() {
            let here = self.padding_left.min(self.end - self.start);
            self.start += here;
            self.padding_left -= here;
        }
    }
}

/// A [`Frame`] by position. Valid until the next call of [`Decoder::spare`].
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) record_type: RecordType,
    pub(crate) id: u16,
    pub(crate) range: Range<usize>,
    pub(crate) more: bool,
}

impl Piece {
    /// Whether this is the empty record that ends a stream.
    pub(crate) fn ends_stream(&self) -> bool {
        self.range.is_empty()
    }
}

fn inside(record_type: RecordType) -> &'static str {
    match record_type {
        RecordType::PARAMS => "a PARAMS record",
        RecordType::STDIN => "a STDIN record",
        RecordType::STDOUT => "a STDOUT record",
        RecordType::STDERR => "a STDERR record",
        _ => "a record",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(decoder: &mut Decoder, bytes: &[u8]) {
        decoder.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        decoder.filled(bytes.len());
    }

    fn stdin(content: &[u8], more: bool) -> Result<Option<Frame<'_>>, WireError> {
        Ok(Some(Frame { record_type: RecordType::STDIN, id: 1, content, more }))
    }

    #[test]
    fn who_has_little_room_gets_the_rest_later() {
        let mut decoder = Decoder::new();
        feed(&mut decoder, &[1, 5, 0, 1, 0, 5, 1, 0, 1, 2, 3, 4, 5, 0, 1, 5, 0, 1, 0, 0, 0, 0]);
        let mut pieces = Vec::new();
        while let Some(piece) = decoder.advance_by(2).unwrap() {
            pieces.push((decoder.bytes(piece.range.clone()).to_vec(), piece.more));
        }
        let expected = [(vec![1, 2], true), (vec![3, 4], true), (vec![5], false), (vec![], false)];
        assert_eq!(pieces, expected);
        assert!(decoder.is_empty());
        feed(&mut decoder, &[1, 5, 0, 1, 0, 1, 0, 0, 9]);
        assert_eq!(decoder.advance_by(0).unwrap().map(|piece| piece.range.len()), Some(1));
    }

    #[test]
    fn stream_content_comes_in_pieces_and_padding_never_shows() {
        let mut decoder = Decoder::new();
        feed(&mut decoder, &[1, 5, 0, 1, 0, 4, 3]);
        assert_eq!(decoder.next(), Ok(None));
        feed(&mut decoder, b"\0");
        assert_eq!(decoder.next(), Ok(None), "an empty piece would look like the end");
        feed(&mut decoder, b"ab");
        assert_eq!(decoder.next(), stdin(b"ab", true));
        assert_eq!(decoder.next(), Ok(None));
        feed(&mut decoder, b"cd\xff");
        assert_eq!(decoder.next(), stdin(b"cd", false));
        assert_eq!(
            decoder.end_of_input(),
            Err(WireError::UnexpectedEof { during: "the padding of a record" })
        );
        feed(&mut decoder, b"\xff\xff\x01\x05\0\x01\0\0\0\0");
        assert_eq!(decoder.next(), stdin(b"", false));
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.is_empty());
    }

    #[test]
    fn other_records_come_whole() {
        let mut decoder = Decoder::new();
        let record = [1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0];
        for byte in &record[..15] {
            feed(&mut decoder, &[*byte]);
            assert_eq!(decoder.next(), Ok(None));
        }
        assert!(!decoder.is_empty());
        feed(&mut decoder, &record[15..]);
        let frame = decoder.next().unwrap().unwrap();
        assert_eq!((frame.record_type, frame.content), (RecordType::END_REQUEST, &record[8..]));
        assert!(!frame.more);
    }

    #[test]
    fn memory_moves_to_another_decoder_only_where_nothing_is_in_it() {
        let (mut one, mut other) = (Decoder::new(), Decoder::new());
        assert_eq!(one.take_memory(), None);
        feed(&mut one, &[1, 5, 0, 1, 0, 2, 0, 0, 7]);
        assert_eq!(one.take_memory(), None);
        assert_eq!(one.next(), stdin(&[7], true));
        feed(&mut one, &[8]);
        assert_eq!(one.next(), stdin(&[8], false));
        let memory = one.take_memory().unwrap();
        assert!(!one.has_memory());
        let (place, length) = (memory.as_ptr(), memory.len());
        other.give_memory(memory);
        assert_eq!(other.spare(length).as_ptr(), place);
        // What is in use stays.
        feed(&mut other, &[1, 5, 0]);
        other.give_memory(vec![0; 9]);
        assert_eq!(other.unread(), [1, 5, 0]);
        assert_eq!(one.unread(), [0; 0]);
        feed(&mut one, &[1, 5, 0, 1, 0, 1, 0, 0, 9]);
        assert_eq!(one.next(), stdin(&[9], false));
    }

    #[test]
    fn an_error_is_final() {
        let mut decoder = Decoder::new();
        feed(&mut decoder, b"GET / HTTP/1.1\r\n");
        let error = Err(WireError::BadVersion { version: b'G' });
        assert_eq!(decoder.next(), error);
        feed(&mut decoder, &[1, 5, 0, 1, 0, 0, 0, 0]);
        assert_eq!(decoder.next(), error);
        assert!(!decoder.is_empty());
        decoder.reset();
        feed(&mut decoder, &[1, 5, 0, 1, 0, 0, 0, 0]);
        assert_eq!(decoder.next(), stdin(b"", false));
    }

    #[test]
    fn memory_for_a_large_body_is_given_back_once_nothing_is_in_it() {
        let mut decoder = Decoder::new();
        let mut record = Header::new(RecordType::LOG, 1, u16::MAX).to_bytes().to_vec();
        record.resize(Header::LENGTH + MAX_CONTENT, b'x');
        feed(&mut decoder, &record.repeat(8));
        decoder.shrink();
        assert!(decoder.buffer.capacity() > 8 * MAX_CONTENT);
        while decoder.next().unwrap().is_some() {}
        decoder.shrink();
        assert!(decoder.buffer.capacity() <= KEPT, "{}", decoder.buffer.capacity());
        feed(&mut decoder, b"\x01\x05\0\x01\0\x02\0\0ab");
        assert_eq!(decoder.next(), stdin(b"ab", false));
    }

    #[test]
    fn memory_does_not_grow_with_what_passes_through() {
        let mut decoder = Decoder::new();
        let mut record = Header::new(RecordType::LOG, 1, u16::MAX).to_bytes().to_vec();
        record.resize(Header::LENGTH + MAX_CONTENT, b'x');
        for _ in 0..8 {
            // 1000 does not divide the record: reads straddle borders.
            for read in record.chunks(1000) {
                feed(&mut decoder, read);
                while decoder.next().unwrap().is_some() {}
            }
        }
        assert!(decoder.is_empty());
        assert!(decoder.buffer.len() <= 2 * MAX_CONTENT + 1000, "{}", decoder.buffer.len());
    }

    #[test]
    fn memory_does_not_grow_when_something_is_always_left_over() {
        let mut decoder = Decoder::new();
        let record = b"\x01\x05\0\x01\0\x02\0\0ab";
        feed(&mut decoder, &record[..4]);
        for _ in 0..100 {
            feed(&mut decoder, &[&record[4..], &record[..4]].concat());
            assert_eq!(decoder.next(), stdin(b"ab", false));
            assert_eq!(decoder.next(), Ok(None));
        }
        assert!(decoder.buffer.len() < 64, "{}", decoder.buffer.len());
    }
}
