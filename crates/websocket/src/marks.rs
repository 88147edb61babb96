//! Which messages of a client are compressed (RFC 7692, section 6): the bit that says so is taken from its frames before they
//! are read. It never knows what is in a message.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

const FINAL: u8 = 0x80;
/// RSV1, "Per-Message Compressed".
const MARK: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
/// Messages for which room is kept while there are none.
const KEPT: usize = 64;

/// A message as the client has sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// It is read as one of bytes, because compressed text is no UTF-8.
    DeflatedText,
    DeflatedBytes,
}

/// Where the bytes of a client are in its frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    First,
    Second,
    /// The bytes of a length that are missing.
    Length {
        missing: u8,
        length: u64,
        mask: u64,
    },
    /// So many bytes of mask and payload follow.
    Inside(u64),
}

/// The marks that have been taken from the frames of a client. A mark that does not stand on the first frame of a message is
/// left where it is: the reader of frames finds it to be wrong.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    at: At,
    /// The last frame of a message is missing.
    is_in_message: bool,
    /// Messages of which the first frame has come, and that have not been read.
    messages: VecDeque<Kind>,
}

impl Marks {
    /// Takes the marks from the next bytes of the client.
    pub(crate) fn take(&mut self, mut bytes: &mut [u8]) {
        loop {
            if let At::Inside(left) = self.at {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                bytes = bytes.get_mut(count..).unwrap_or_default();
                self.at = match left - count as u64 {
                    0 => At::First,
                    left => At::Inside(left),
                };
            }
            let Some((byte, rest)) = bytes.split_first_mut() else { return };
            self.at = match self.at {
                At::First => {
                    self.begin(byte);
                    At::Second
                }
                At::Second => after_second(*byte),
                At::Length { missing, length, mask } => {
                    let length = length << 8 | u64::from(*byte);
                    match missing - 1 {
                        0 => At::Inside(length.saturating_add(mask)),
                        missing => At::Length { missing, length, mask },
                    }
                }
                inside @ At::Inside(_) => inside,
            };
            bytes = rest;
        }
    }

    /// The kind of the next message that is read.
    pub(crate) fn next_message(&mut self) -> Kind {
        let kind = self.messages.pop_front().unwrap_or(Kind::Plain);
        if self.messages.is_empty() && self.messages.capacity() > KEPT {
            self.messages = VecDeque::new();
        }
        kind
    }

    /// The first byte of a frame.
    fn begin(&mut self, byte: &mut u8) {
        let is_last = *byte & FINAL != 0;
        match *byte & OPCODE {
            CONTINUATION => self.is_in_message &= !is_last,
            opcode @ (TEXT | BINARY) if !self.is_in_message => {
                let kind = match (*byte & MARK, opcode) {
                    (0, _) => Kind::Plain,
                    (_, TEXT) => Kind::DeflatedText,
                    _ => Kind::DeflatedBytes,
                };
                if kind != Kind::Plain {
                    *byte = *byte & !(MARK | OPCODE) | BINARY;
                }
                self.messages.push_back(kind);
                self.is_in_message = !is_last;
            }
            _ => {}
        }
    }
}

const fn after_second(byte: u8) -> At {
    let mask = if byte & 0x80 == 0 { 0 } else { 4 };
    match byte & 0x7f {
        126 => At::Length { missing: 2, length: 0, mask },
        127 => At::Length { missing: 8, length: 0, mask },
        short => At::Inside(short as u64 + mask),
    }
}

/// A stream of a client, from which the marks are taken as it is read.
pub(crate) struct Unmarked<'a, S> {
    pub(crate) stream: &'a mut S,
    pub(crate) marks: &'a mut Marks,
}

impl<S: Read> Read for Unmarked<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(into)?;
        self.marks.take(into.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<S: Write> Write for Unmarked<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match length {
            0..=125 => frame.push(0x80 | length as u8),
            126..=0xffff => {
                frame.push(0xfe);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(0xff);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        // Payloads look like first bytes of frames.
        frame.resize(frame.len() + 4 + length, 0xc1);
        frame
    }

    #[test]
    fn marks_are_taken_from_first_frames_of_messages_however_bytes_are_cut() {
        let frames = [
            (0xc1, 0, 0x82),
            (0x41, 5, 0x02),
            // A ping within a message, and marks where none may be.
            (0x89, 125, 0x89),
            (0xc9, 1, 0xc9),
            (0x40, 126, 0x40),
            (0xc2, 3, 0xc2),
            (0x80, 127, 0x80),
            (0xc2, 65_535, 0x82),
            (0x81, 65_536, 0x81),
            (0xe2, 200, 0xa2),
            (0xc0, 0, 0xc0),
            (0x82, 1, 0x82),
        ];
        let wire: Vec<u8> = frames.iter().flat_map(|it| frame(it.0, it.1)).collect();
        let expected: Vec<u8> = frames.iter().flat_map(|it| frame(it.2, it.1)).collect();
        for cut in [1, 2, 7, 4096, usize::MAX] {
            let (mut marks, mut bytes) = (Marks::default(), wire.clone());
            bytes.chunks_mut(cut).for_each(|chunk| marks.take(chunk));
            assert!(bytes == expected, "cut after {cut}");
            let kinds: Vec<_> = (0..6).map(|_| marks.next_message()).collect();
            let (text, bytes, plain) = (Kind::DeflatedText, Kind::DeflatedBytes, Kind::Plain);
            assert_eq!(kinds, [text, text, bytes, plain, bytes, plain]);
            assert!(marks.messages.is_empty() && marks.at == At::First);
        }
    }

    #[test]
    fn many_messages_leave_no_memory_behind() {
        let mut marks = Marks::default();
        marks.take(&mut frame(0xc1, 0).repeat(10_000));
        (0..10_000).for_each(|_| assert_eq!(marks.next_message(), Kind::DeflatedText));
        assert!(marks.messages.capacity() <= KEPT);
    }
}
