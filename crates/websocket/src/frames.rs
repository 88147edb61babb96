//! A server's end of a WebSocket. It never knows why a message is sent, nor what an application makes of one.

use crate::deflated::Deflated;
use crate::{Compression, Incoming};
use std::io::{self, Read, Write};
use tungstenite::protocol::frame::coding::Data;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Error, Message};

/// Bytes that are read at once, and kept for as long as the WebSocket is open.
const READ: usize = 4 * 1024;
/// The most bytes of a frame, whatever the limit of messages: as many are reserved when its header has come, so that one that
/// announces more than there is would end the process.
pub const MAX_FRAME: usize = 1 << 30;
/// The most bytes of a control frame (RFC 6455, 5.5), for which a limit of messages does not hold.
const CONTROL: usize = 125;

/// The frames of one WebSocket. Each method takes its stream, whose errors of kind `WouldBlock` mean that it takes or has
/// nothing more for now.
#[derive(Debug)]
pub struct Frames {
    context: WebSocketContext,
    is_blocked: bool,
    kept_pongs: usize,
    /// The client has sent a close.
    has_close: bool,
    /// Where messages may be compressed.
    deflated: Option<Box<Deflated>>,
}

/// What has become of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// The stream has all that was sent so far.
    All,
    /// Some of it is kept: [`Frames::flush`] is to be called when there is room.
    Kept,
    /// The stream has failed.
    Lost,
}

impl Frames {
    /// Frames of which `early` has been read already. `max_message`: bytes of the longest message that a client may send;
    /// `None`: no limit but that of one frame, [`MAX_FRAME`], which then holds for a compressed message as well.
    /// `compression`: what was agreed on in the handshake.
    #[must_use]
    pub fn new(
        mut early: Vec<u8>,
        max_message: Option<usize>,
        compression: Option<Compression>,
    ) -> Self {
        let most = max_message.unwrap_or(MAX_FRAME);
        let mut deflated = compression.map(|agreed| Box::new(Deflated::new(agreed, most)));
        let max_message = match &mut deflated {
            Some(deflated) => {
                deflated.take_early(&mut early);
                max_message.map(Deflated::longest_payload)
            }
            None => max_message,
        };
        let max_frame = max_message.map_or(MAX_FRAME, |most| most.clamp(CONTROL, MAX_FRAME));
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            // What there is no room for is kept, and the caller waits for it.
            .write_buffer_size(0)
            .max_message_size(max_message)
            .max_frame_size(Some(max_frame));
        let context = WebSocketContext::from_partially_read(early, Role::Server, Some(config));
        Self { context, is_blocked: false, kept_pongs: 0, has_close: false, deflated }
    }

    /// Whether there was no room for some of what was sent, answers included.
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Answers to pings that have been kept since there was no room.
    #[must_use]
    pub const fn kept_pongs(&self) -> usize {
        self.kept_pongs
    }

    /// Reads up to the next message or control frame.
    pub fn read(&mut self, stream: &mut (impl Read + Write)) -> Incoming {
        let Some(deflated) = &mut self.deflated else {
            let read = self.context.read(stream);
            return self.take(stream, read);
        };
        let read = self.context.read(&mut deflated.unmarked(stream));
        let incoming = self.take(stream, read);
        match &mut self.deflated {
            Some(deflated) => deflated.inflated(incoming),
            None => incoming,
        }
    }

    fn take(
        &mut self,
        stream: &mut (impl Read + Write),
        read: tungstenite::Result<Message>,
    ) -> Incoming {
        match read {
            Ok(Message::Text(text)) => Incoming::Text(text.as_str().to_owned()),
            Ok(Message::Binary(bytes)) => Incoming::Bytes(bytes.to_vec()),
            // The reader of frames sends its answers with the next read, and does not say whether all of one went out.
            Ok(Message::Ping(_)) => match self.flush(stream) {
                Written::Lost => Incoming::Lost,
                written => {
                    self.kept_pongs += usize::from(written == Written::Kept);
                    Incoming::Ping
                }
            },
            Ok(Message::Close(frame)) => {
                self.has_close = true;
                Incoming::close(frame)
            }
            Ok(Message::Pong(_) | Message::Frame(_)) => Incoming::Pong,
            Err(Error::Io(why)) if why.kind() == io::ErrorKind::WouldBlock => {
                // Had all of the answer to a close gone out, it would be over.
                if !self.has_close || self.is_blocked {
                    return Incoming::Nothing;
                }
                match self.flush(stream) {
                    Written::All => Incoming::Over,
                    Written::Kept => Incoming::Nothing,
                    Written::Lost => Incoming::Lost,
                }
            }
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Incoming::Over,
            // What stands behind a close says nothing, not even that it is wrong.
            Err(_) if self.has_close => Incoming::Lost,
            Err(why) => Incoming::failure(&why),
        }
    }

    /// Sends a message of text.
    pub fn send_text(&mut self, stream: &mut (impl Read + Write), text: &str) -> Written {
        let message = self.compressed(Data::Text, text.as_bytes());
        self.send(stream, message.unwrap_or_else(|| Message::Text(text.into())))
    }

    /// Sends a message of bytes.
    pub fn send_bytes(&mut self, stream: &mut (impl Read + Write), bytes: &[u8]) -> Written {
        let message = self.compressed(Data::Binary, bytes);
        self.send(stream, message.unwrap_or_else(|| Message::Binary(Bytes::copy_from_slice(bytes))))
    }

    /// Sends an empty ping.
    pub fn ping(&mut self, stream: &mut (impl Read + Write)) -> Written {
        self.send(stream, Message::Ping(Bytes::new()))
    }

    /// Sends a close, after which nothing else is sent. `reason`: at most 123 bytes.
    pub fn close(&mut self, stream: &mut (impl Read + Write), code: u16, reason: &str) -> Written {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let sent = self.context.close(stream, Some(frame));
        self.note(sent)
    }

    /// Sends what is kept.
    pub fn flush(&mut self, stream: &mut (impl Read + Write)) -> Written {
        let sent = self.context.flush(stream);
        self.note(sent)
    }

    /// A message that is sent compressed.
    fn compressed(&self, kind: Data, message: &[u8]) -> Option<Message> {
        self.deflated.as_ref()?.frame(kind, message).map(Message::Frame)
    }

    fn send(&mut self, stream: &mut (impl Read + Write), message: Message) -> Written {
        let sent = self.context.write(stream, message);
        self.note(sent)
    }

    fn note(&mut self, sent: tungstenite::Result<()>) -> Written {
        let written = match sent {
            Err(Error::Io(why)) if why.kind() == io::ErrorKind::WouldBlock => Written::Kept,
            Err(Error::Io(_)) => Written::Lost,
            // An end shows at the next read.
            _ => Written::All,
        };
        self.is_blocked = written == Written::Kept;
        if !self.is_blocked {
            self.kept_pongs = 0;
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A client that has sent `input` and takes `room` bytes.
    struct Pipe {
        input: VecDeque<u8>,
        room: usize,
        output: Vec<u8>,
    }

    impl Read for Pipe {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.input.read(into)? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                count => Ok(count),
            }
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.output.extend_from_slice(&bytes[..count]);
            self.room -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe(frames: &[&[u8]], room: usize) -> Pipe {
        Pipe { input: frames.concat().into(), room, output: Vec::new() }
    }

    /// A client's frame, whose mask changes nothing.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
    }

    #[test]
    fn answer_to_a_close_is_kept_where_there_is_no_room_for_it() {
        let mut pipe = pipe(&[&frame(0x88, b"\x03\xe8bye")], 3);
        let mut frames = Frames::new(Vec::new(), None, None);
        let close = Incoming::Close { code: 1000, reason: "bye".into() };
        assert_eq!(frames.read(&mut pipe), close);
        assert_eq!(frames.read(&mut pipe), Incoming::Nothing);
        assert!(frames.is_blocked(), "nothing else would tell that there is room");
        pipe.room = 100;
        assert_eq!(frames.flush(&mut pipe), Written::All);
        assert_eq!(frames.read(&mut pipe), Incoming::Over);
        assert_eq!(pipe.output, b"\x88\x05\x03\xe8bye");
    }

    #[test]
    fn answers_to_pings_are_counted_while_there_is_no_room() {
        let mut pipe = pipe(&[&frame(0x89, b"a"), &frame(0x89, b"b"), &frame(0x89, b"c")], 3);
        let mut frames = Frames::new(Vec::new(), None, None);
        let kept = [0, 1, 2].map(|_| {
            assert_eq!(frames.read(&mut pipe), Incoming::Ping);
            frames.kept_pongs()
        });
        assert_eq!(kept, [0, 1, 2]);
        pipe.room = 100;
        assert_eq!(frames.flush(&mut pipe), Written::All);
        assert_eq!((frames.kept_pongs(), frames.is_blocked()), (0, false));
        assert_eq!(pipe.output, b"\x8a\x01a\x8a\x01b\x8a\x01c");
    }

    #[test]
    fn limit_of_messages_is_none_of_control_frames() {
        let ping = frame(0x89, &[b'x'; CONTROL]);
        let mut pipe = pipe(&[&ping, &frame(0x82, b"xx"), &frame(0x82, b"xxx")], usize::MAX);
        let mut frames = Frames::new(Vec::new(), Some(2), None);
        assert_eq!(frames.read(&mut pipe), Incoming::Ping);
        assert_eq!(frames.read(&mut pipe), Incoming::Bytes(b"xx".to_vec()));
        let wrong = Incoming::Wrong { code: 1009, reason: "message too big" };
        assert_eq!(frames.read(&mut pipe), wrong);
    }

    #[test]
    fn frame_that_announces_more_than_there_is_costs_nothing() {
        for length in [u64::MAX, u64::MAX >> 1, 1 << 46, MAX_FRAME as u64 + 1] {
            let header = [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
            for limit in [None, Some(usize::MAX)] {
                let mut frames = Frames::new(Vec::new(), limit, None);
                let read = frames.read(&mut pipe(&[&header], 0));
                assert!(matches!(read, Incoming::Wrong { code: 1009, .. }), "{length}: {read:?}");
            }
        }
    }
}
