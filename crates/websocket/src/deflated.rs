//! The messages of a WebSocket on which compression was agreed. It never knows an offer.

use crate::Incoming;
use crate::compression::Compression;
use crate::deflate::{Flaw, deflate, inflate};
use crate::marks::{Kind, Marks, Unmarked};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// The least bytes of a message that is compressed: less is hardly shorter, and takes as long.
const LEAST: usize = 100;
/// Bytes that a payload has more than its message at most, beside an eighth and a 64th of it: what codecs reckon with for
/// messages that do not become shorter.
const OVERHEAD: usize = 64;

/// What a WebSocket with compression has besides: some tens of bytes.
#[derive(Debug)]
pub(crate) struct Deflated {
    agreed: Compression,
    marks: Marks,
    /// Bytes of the longest message that a client may send.
    most: usize,
}

impl Deflated {
    pub(crate) fn new(agreed: Compression, most: usize) -> Self {
        Self { agreed, marks: Marks::default(), most }
    }

    /// Takes the marks from what was read before.
    pub(crate) fn take_early(&mut self, early: &mut [u8]) {
        self.marks.take(early);
    }

    /// The bytes of the longest payload of a message of `most` bytes.
    pub(crate) const fn longest_payload(most: usize) -> usize {
        most.saturating_add(most / 8 + most / 64 + OVERHEAD)
    }

    /// The stream as the reader of frames may see it.
    pub(crate) const fn unmarked<'a, S>(&'a mut self, stream: &'a mut S) -> Unmarked<'a, S> {
        Unmarked { stream, marks: &mut self.marks }
    }

    /// What the client has sent, where this has been read.
    pub(crate) fn inflated(&mut self, read: Incoming) -> Incoming {
        let length = match &read {
            Incoming::Text(text) => text.len(),
            Incoming::Bytes(bytes) => bytes.len(),
            _ => return read,
        };
        let kind = self.marks.next_message();
        let payload = match read {
            Incoming::Bytes(payload) if kind != Kind::Plain => payload,
            // The reader of frames has room for a longer payload.
            _ if length > self.most => return Incoming::TOO_BIG,
            _ => return read,
        };
        match (inflate(&payload, self.most), kind) {
            (Ok(text), Kind::DeflatedText) => {
                String::from_utf8(text).map_or(Incoming::NO_UTF_8, Incoming::Text)
            }
            (Ok(bytes), _) => Incoming::Bytes(bytes),
            (Err(Flaw::TooBig), _) => Incoming::TOO_BIG,
            (Err(Flaw::Malformed), _) => {
                Incoming::Wrong { code: 1007, reason: "data that cannot be inflated" }
            }
        }
    }

    /// The frame of a message; `None`: it is sent as it is.
    pub(crate) fn frame(&self, kind: Data, message: &[u8]) -> Option<Frame> {
        if message.len() < LEAST || message.len() > self.agreed.longest() {
            return None;
        }
        let mut frame = Frame::message(deflate(message)?, OpCode::Data(kind), true);
        frame.header_mut().rsv1 = true;
        Some(frame)
    }
}
