//! Messages that a client sends compressed, in any fragments and cut anywhere, and a server that echoes them.
//! The client's codec is used here directly, with a stream of its own for each message.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec;
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::{self, Read, Write};
use websocket::{Compression, Frames, Incoming, Written};

/// A stream that has `input`, and takes everything.
struct Pipe<'a> {
    input: &'a [u8],
    here: usize,
    output: Vec<u8>,
}

impl Read for Pipe<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.here).min(self.input.len());
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
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a client sends.
#[derive(Clone, Debug)]
struct Sent {
    message: Vec<u8>,
    is_text: bool,
    /// The level of its codec; `None`: it is not compressed.
    level: Option<u8>,
    /// Bytes of each fragment; a ping stands between two.
    fragment: usize,
}

impl Sent {
    fn append_to(&self, wire: &mut Vec<u8>) {
        let payload = match self.level {
            // A stream that ends (RFC 7692, 7.2.3.4).
            Some(level) => [compress_to_vec(&self.message, level), vec![0]].concat(),
            None => self.message.clone(),
        };
        let pieces: Vec<_> = match payload.chunks(self.fragment) {
            pieces if pieces.len() == 0 => vec![&payload[..]],
            pieces => pieces.collect(),
        };
        for (number, piece) in pieces.iter().enumerate() {
            let last = if number + 1 == pieces.len() { 0x80 } else { 0 };
            let first = match (number, self.level) {
                (0, Some(_)) => 0x40 | self.opcode(),
                (0, None) => self.opcode(),
                _ => 0,
            };
            append_frame(wire, last | first, piece);
            if last == 0 {
                append_frame(wire, 0x89, b"");
            }
        }
    }

    fn opcode(&self) -> u8 {
        if self.is_text { 1 } else { 2 }
    }
}

fn append_frame(wire: &mut Vec<u8>, first: u8, payload: &[u8]) {
    wire.extend([first, 0xff]);
    wire.extend((payload.len() as u64).to_be_bytes());
    let key = [0xc1, 0x42, 0x7f, 0xfe];
    wire.extend(key);
    wire.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// The data frames of a server: opcode, whether it is compressed, and payload.
fn frames_of(mut wire: &[u8]) -> Vec<(u8, bool, Vec<u8>)> {
    let mut all = Vec::new();
    while let [first, length, rest @ ..] = wire {
        let size = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let (long, rest) = rest.split_at(size);
        let long = long.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let (payload, rest) = rest.split_at(if size == 0 { usize::from(*length) } else { long });
        wire = rest;
        assert_eq!(first & 0xb0, 0x80, "one whole frame without other bits");
        if first & 8 == 0 {
            all.push((first & 15, first & 0x40 != 0, payload.to_vec()));
        } else {
            assert_eq!(first & 0x40, 0, "no control frame is compressed");
        }
    }
    all
}

fn message() -> impl Strategy<Value = (bool, Vec<u8>)> {
    prop_oneof![
        "[a-zäß😀 ]{0,300}".prop_map(|text| (true, text.into_bytes())),
        ("[a-zä]{1,9}", 1..3000_usize).prop_map(|(text, times)| (true, text.repeat(times).into())),
        vec(any::<u8>(), 0..3000).prop_map(|bytes| (false, bytes)),
        (vec(any::<u8>(), 1..700), 1..100_usize)
            .prop_map(|(bytes, times)| (false, bytes.repeat(times))),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let level = prop_oneof![1 => Just(None), 4 => (0..=9_u8).prop_map(Some)];
    let fragment = prop_oneof![1..20_usize, 20..5000_usize, Just(usize::MAX)];
    (message(), level, fragment).prop_map(|((is_text, message), level, fragment)| {
        // No more than some hundred fragments.
        let fragment = fragment.max(message.len() / 200);
        Sent { message, is_text, level, fragment }
    })
}

proptest! {
    #[test]
    fn messages_of_a_client_come_whole_and_go_back_so_that_it_can_inflate_them(
        all in vec(sent(), 1..6),
        window in prop_oneof![Just(None), (8..=15_u8).prop_map(Some)],
        (early, cut) in (0..200_usize, prop_oneof![1..40_usize, 1000..100_000_usize]),
    ) {
        let offer = match window {
            Some(bits) => format!("permessage-deflate; server_max_window_bits={bits}"),
            None => "permessage-deflate".to_owned(),
        };
        let mut wire = Vec::new();
        all.iter().for_each(|sent| sent.append_to(&mut wire));
        let (early, input) = wire.split_at(early.min(wire.len()));
        let most = all.iter().map(|sent| sent.message.len()).max();
        let mut frames = Frames::new(early.to_vec(), most, Compression::of_offers(offer.as_bytes()));
        let mut pipe = Pipe { input, here: 0, output: Vec::new() };
        let mut read = Vec::new();
        loop {
            let is_end = pipe.input.is_empty();
            pipe.here = cut;
            loop {
                let written = match frames.read(&mut pipe) {
                    Incoming::Nothing => break,
                    Incoming::Ping => Written::All,
                    Incoming::Text(text) => {
                        let written = frames.send_text(&mut pipe, &text);
                        read.push((true, text.into_bytes()));
                        written
                    }
                    Incoming::Bytes(bytes) => {
                        let written = frames.send_bytes(&mut pipe, &bytes);
                        read.push((false, bytes));
                        written
                    }
                    other => panic!("{other:?}"),
                };
                prop_assert_eq!(written, Written::All);
            }
            if is_end {
                break;
            }
        }
        let expected: Vec<_> = all.iter().map(|it| (it.is_text, it.message.clone())).collect();
        prop_assert!(read == expected);
        let returned = frames_of(&pipe.output);
        prop_assert_eq!(returned.len(), all.len());
        for ((opcode, is_compressed, payload), sent) in returned.into_iter().zip(&all) {
            prop_assert_eq!(opcode, sent.opcode());
            prop_assert!(payload.len() <= sent.message.len());
            let message = if is_compressed {
                prop_assert!(sent.message.len() >= 100);
                prop_assert!(window.is_none_or(|bits| sent.message.len() <= 1 << bits));
                let tail = [0, 0, 0xff, 0xff, 3, 0];
                decompress_to_vec(&[&payload[..], &tail].concat()).expect("a message of its own")
            } else {
                payload
            };
            prop_assert!(message == sent.message);
        }
    }

    #[test]
    fn any_payload_is_inflated_or_closes_and_stays_within_the_limit(
        payload in vec(any::<u8>(), 0..400),
        most in 1..5000_usize,
        is_text in any::<bool>(),
    ) {
        let mut wire = Vec::new();
        append_frame(&mut wire, if is_text { 0xc1 } else { 0xc2 }, &payload);
        let accepted = Compression::of_offers(b"permessage-deflate");
        let mut frames = Frames::new(wire, Some(most), accepted);
        match frames.read(&mut Pipe { input: b"", here: 0, output: Vec::new() }) {
            Incoming::Text(text) => prop_assert!(is_text && text.len() <= most),
            Incoming::Bytes(bytes) => prop_assert!(!is_text && bytes.len() <= most),
            Incoming::Wrong { code, .. } => prop_assert!(code == 1007 || code == 1009),
            other => panic!("{other:?}"),
        }
    }
}

/// What is read of one frame by a server that compresses, and permits 1000 bytes.
fn read_one(first: u8, payload: &[u8]) -> Incoming {
    let mut wire = Vec::new();
    append_frame(&mut wire, first, payload);
    let accepted = Compression::of_offers(b"permessage-deflate");
    let mut frames = Frames::new(wire, Some(1000), accepted);
    frames.read(&mut Pipe { input: b"", here: 0, output: Vec::new() })
}

#[test]
fn limit_holds_for_messages_of_both_kinds_and_not_for_their_payloads() {
    let too_big = Incoming::Wrong { code: 1009, reason: "message too big" };
    // Stored blocks have more bytes than the message.
    let stored = |length: usize| [compress_to_vec(&vec![7; length], 0), vec![0]].concat();
    assert!(stored(1000).len() > 1000);
    assert_eq!(read_one(0xc2, &stored(1000)), Incoming::Bytes(vec![7; 1000]));
    assert_eq!(read_one(0xc2, &stored(1001)), too_big);
    assert_eq!(read_one(0x82, &[7; 1000]), Incoming::Bytes(vec![7; 1000]));
    assert_eq!(read_one(0x82, &[7; 1001]), too_big);
    assert_eq!(read_one(0x81, &[b'a'; 1001]), too_big);
    assert_eq!(read_one(0xc1, &[compress_to_vec(&[b'a'; 1 << 20], 9), vec![0]].concat()), too_big);
}

#[test]
fn mark_is_wrong_but_on_the_first_frame_of_a_message() {
    let wrong = Incoming::Wrong { code: 1002, reason: "protocol error" };
    for first in [0xc9, 0xca, 0xc8, 0xc0, 0xe2, 0xd1, 0xf1, 0xa1] {
        assert_eq!(read_one(first, b"\x00"), wrong, "{first:#x}");
    }
    let mut wire = Vec::new();
    append_frame(&mut wire, 0x41, b"\xf2\x48");
    append_frame(&mut wire, 0xc0, b"\xcd\xc9\xc9\x07\x00");
    let accepted = Compression::of_offers(b"permessage-deflate");
    let mut frames = Frames::new(wire, None, accepted);
    assert_eq!(frames.read(&mut Pipe { input: b"", here: 0, output: Vec::new() }), wrong);
    assert_eq!(
        read_one(0xc1, &[compress_to_vec(b"\xff", 1), vec![0]].concat()),
        Incoming::Wrong { code: 1007, reason: "text that is not UTF-8" }
    );
    // And nothing is compressed without an agreement.
    let mut wire = Vec::new();
    append_frame(&mut wire, 0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    let mut frames = Frames::new(wire, None, None);
    assert_eq!(frames.read(&mut Pipe { input: b"", here: 0, output: Vec::new() }), wrong);
}
