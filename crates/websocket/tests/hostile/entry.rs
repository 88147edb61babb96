//! Bytes of a client, played to a server that echoes, in pieces and with little room for what it sends, and what it has to
//! make of them. It must never know where the bytes come from: property tests and a fuzz target share this file.

use crate::model::{self, Expected, Limits};
use std::io::{self, Read, Write};
use websocket::{Frames, Incoming, MAX_FRAME, Written};

/// Limits of messages that are tried, among them less than a control frame has.
const LIMITS: [Option<usize>; 6] = [None, Some(1), Some(20), Some(125), Some(1000), Some(70_000)];
/// Bytes that are composed at most.
const MOST: usize = 300_000;
/// The server's own close.
const OWN: (u16, &str) = (1000, "bye");

/// How bytes are played.
#[derive(Clone, Copy)]
struct Pace<'a> {
    /// Bytes that come with the handshake.
    early: usize,
    /// Bytes that come with each event in turn, and for which there is more room.
    reads: &'a [usize],
    rooms: &'a [usize],
    /// The server closes when it has heard so much.
    closes_after: usize,
}

/// The first bytes choose how to play the others: as they are, or as a recipe of frames.
pub(crate) fn play(data: &[u8]) {
    let Some(([limit, how, reads, rooms], rest)) = data.split_first_chunk() else { return };
    let limit = LIMITS[usize::from(*limit) % LIMITS.len()];
    let wire = if how & 1 == 0 { compose(rest) } else { rest.to_vec() };
    let limits = Limits {
        message: limit.unwrap_or(usize::MAX),
        frame: limit.map_or(MAX_FRAME, |most| most.max(125)),
    };
    let expected = model::expected(&wire, limits);
    let closes_after = match how >> 4 {
        15 => usize::MAX,
        number => usize::from(number),
    };
    let whole = Pace { early: 0, reads: &[usize::MAX], rooms: &[usize::MAX], closes_after };
    serve(&wire, limit, whole, &expected);
    let early = usize::from(how >> 1 & 7) * 11;
    let reads = [1 + usize::from(reads & 15), 1 + (usize::from(reads >> 4) << 6)];
    let rooms = [usize::from(rooms & 15), usize::from(rooms >> 4) << 4, 0];
    serve(&wire, limit, Pace { early, reads: &reads, rooms: &rooms, closes_after }, &expected);
    if wire.len() < 4000 {
        serve(&wire, limit, Pace { early, reads: &[1], rooms: &[1], closes_after }, &expected);
    }
}

/// Frames from a recipe of four bytes and a payload each, so that most of them are right.
fn compose(mut recipe: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    while let Some((&[head, how, size, fill], rest)) = recipe.split_first_chunk() {
        recipe = rest;
        let size = usize::from(size);
        let mut payload = match how & 3 {
            1 => vec![fill; size * 17],
            2 => vec![fill; size * 300],
            _ => {
                let (payload, rest) = recipe.split_at(size.min(recipe.len()));
                recipe = rest;
                payload.to_vec()
            }
        };
        let length = match how >> 6 {
            // As long as no client is.
            3 => u64::from_be_bytes([fill, head, 0, 0, 0, 0, fill, fill]),
            _ => payload.len() as u64,
        };
        let mask = if how & 0x30 == 0x30 { 0 } else { 0x80 };
        wire.push(head);
        match (length, how >> 2 & 3) {
            (0..=125, 0 | 1) => wire.push(mask | length as u8),
            (0..=0xffff, 0..=2) => {
                wire.push(mask | 126);
                wire.extend((length as u16).to_be_bytes());
            }
            _ => {
                wire.push(mask | 127);
                wire.extend(length.to_be_bytes());
            }
        }
        if mask != 0 {
            let key = [head, how, fill, 0x5a];
            wire.extend(key);
            payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        }
        wire.extend(payload);
        if wire.len() > MOST {
            break;
        }
    }
    wire
}

/// A stream that has and takes what an event has brought.
struct Pipe<'a> {
    input: &'a [u8],
    here: usize,
    room: usize,
    output: Vec<u8>,
    was_full: bool,
}

impl Read for Pipe<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        assert!(!into.is_empty(), "a read of nothing looks like an end");
        let count = into.len().min(self.here);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (read, rest) = self.input.split_at(count);
        into[..count].copy_from_slice(read);
        (self.input, self.here) = (rest, self.here - count);
        Ok(count)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        if count == 0 {
            self.was_full = true;
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

/// A server that echoes each message until one end closes.
struct Server<'a> {
    frames: Frames,
    pipe: Pipe<'a>,
    heard: Vec<Incoming>,
    /// What it has heard when it closed by itself.
    has_closed: Option<usize>,
    is_lost: bool,
    is_over: bool,
}

fn serve(wire: &[u8], limit: Option<usize>, pace: Pace<'_>, expected: &[Expected]) {
    let (early, input) = wire.split_at(pace.early.min(wire.len()));
    let mut server = Server {
        frames: Frames::new(early.to_vec(), limit, None),
        pipe: Pipe { input, here: 0, room: 0, output: Vec::new(), was_full: false },
        heard: Vec::new(),
        has_closed: None,
        is_lost: false,
        is_over: false,
    };
    for (read, room) in pace.reads.iter().cycle().zip(pace.rooms.iter().cycle()) {
        server.pipe.here = server.pipe.input.len().min(*read);
        server.pipe.room = server.pipe.room.saturating_add(*room);
        server.event(pace.closes_after);
        if server.is_over || server.pipe.input.is_empty() {
            break;
        }
    }
    // What is not said to be kept has gone out, unless nothing more can be said.
    let (is_blocked, gone) = (server.frames.is_blocked(), server.pipe.output.len());
    server.pipe.room = usize::MAX;
    assert_ne!(server.frames.flush(&mut server.pipe), Written::Kept);
    assert!(is_blocked || server.is_lost || server.pipe.output.len() == gone);
    if !server.is_over {
        server.event(pace.closes_after);
    }
    judge(&server, expected);
}

impl Server<'_> {
    /// What the owner of a WebSocket does when there is something to read, or room.
    fn event(&mut self, closes_after: usize) {
        if self.frames.is_blocked() {
            let _ = self.frames.flush(&mut self.pipe);
        }
        while !self.is_over {
            let incoming = self.frames.read(&mut self.pipe);
            let echoes = self.has_closed.is_none();
            match &incoming {
                Incoming::Nothing => return,
                Incoming::Over => return self.is_over = true,
                Incoming::Lost => {
                    (self.is_lost, self.is_over) = (true, true);
                    return;
                }
                Incoming::Text(text) if echoes => {
                    let _ = self.frames.send_text(&mut self.pipe, text);
                }
                Incoming::Bytes(bytes) if echoes => {
                    let _ = self.frames.send_bytes(&mut self.pipe, bytes);
                }
                Incoming::Wrong { code, reason } => {
                    if echoes {
                        let _ = self.frames.close(&mut self.pipe, *code, reason);
                    }
                    self.is_over = true;
                }
                _ => {}
            }
            let is_close = matches!(incoming, Incoming::Close { .. });
            self.heard.push(incoming);
            if self.heard.len() == closes_after && echoes && !is_close && !self.is_over {
                let _ = self.frames.close(&mut self.pipe, OWN.0, OWN.1);
                self.has_closed = Some(self.heard.len());
            }
        }
    }
}

/// What was heard and sent is what the model says.
fn judge(server: &Server<'_>, expected: &[Expected]) {
    let heard = &server.heard;
    let may_stop = usize::from(matches!(expected.last(), Some(Expected::MayBeWrong(_))));
    assert!(expected.len() - may_stop <= heard.len(), "{heard:?} for {expected:?}");
    assert!(heard.len() <= expected.len(), "{heard:?} for {expected:?}");
    let mut answers = Vec::new();
    for (number, (heard, expected)) in heard.iter().zip(expected).enumerate() {
        let is_right = match (heard, expected) {
            (Incoming::Text(text), Expected::Text(other)) => text == other,
            (Incoming::Bytes(bytes), Expected::Bytes(other)) => bytes == other,
            (Incoming::Ping, Expected::Ping(_)) | (Incoming::Pong, Expected::Pong) => true,
            (Incoming::Close { code, reason }, Expected::Close(close)) => match close {
                Some(close) => (*code, reason) == (close.0, &close.1),
                None => *code == 1005 && reason.is_empty(),
            },
            // A code that must not be sent is answered as if 1002 had come; behind the server's own close it says nothing.
            (Incoming::Close { code, .. }, Expected::Wrong { codes, close: true }) => {
                codes.contains(code) || server.has_closed.is_some()
            }
            (Incoming::Wrong { code, .. }, Expected::Wrong { codes, .. })
            | (Incoming::Wrong { code, .. }, Expected::MayBeWrong(codes)) => codes.contains(code),
            _ => false,
        };
        assert!(is_right, "{heard:?} for {expected:?}");
        if server.has_closed.is_some_and(|at| number >= at) {
            continue;
        }
        answers.extend(answer(heard, expected));
        if server.has_closed == Some(number + 1) {
            answers.push((8, closing(OWN.0, OWN.1)));
        }
    }
    if server.is_lost {
        // Bytes behind a close, read while there was no room for what is sent.
        assert!(server.pipe.was_full && matches!(heard.last(), Some(Incoming::Close { .. })));
        return;
    }
    assert_eq!(model::sent(&server.pipe.output), answers);
}

fn answer(heard: &Incoming, expected: &Expected) -> Option<(u8, Vec<u8>)> {
    Some(match (heard, expected) {
        (Incoming::Text(text), _) => (1, text.clone().into_bytes()),
        (Incoming::Bytes(bytes), _) => (2, bytes.clone()),
        (_, Expected::Ping(payload)) => (10, payload.clone()),
        (Incoming::Close { .. }, Expected::Close(None)) => (8, Vec::new()),
        (Incoming::Close { code, reason }, _) => (8, closing(*code, reason)),
        (Incoming::Wrong { code, reason }, _) => (8, closing(*code, reason)),
        _ => return None,
    })
}

fn closing(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}
