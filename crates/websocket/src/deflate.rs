//! The bytes of a compressed message (RFC 7692, section 7.2). It never knows a frame, nor what was agreed on.
//!
//! What the codec needs, about 330 KB, is made once for each thread, when it first compresses or inflates. Without context
//! takeover nothing of a message has to be kept for the next one, so that a WebSocket has no part of it.

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use std::cell::Cell;

/// The fastest: an event loop does nothing else meanwhile.
const LEVEL: i32 = 1;
/// What a sender leaves out: the rest of an empty block without compression.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The same, and an empty last block: only what is complete ends with it.
const TAIL_AND_END: [u8; 6] = [0, 0, 0xff, 0xff, 3, 0];
/// The least bytes that there is room for when a message is inflated.
const LEAST_ROOM: usize = 256;

/// Why a message cannot be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It has more bytes than it may.
    TooBig,
    /// These bytes are no message.
    Malformed,
}

thread_local! {
    // Taken while in use, so that what a panic has left is not used again.
    static COMPRESSOR: Cell<Option<Box<CompressorOxide>>> = const { Cell::new(None) };
    static DECOMPRESSOR: Cell<Option<Box<DecompressorOxide>>> = const { Cell::new(None) };
}

/// The payload for `message`; `None` where it would not be shorter.
pub(crate) fn deflate(message: &[u8]) -> Option<Vec<u8>> {
    let mut compressor = COMPRESSOR.take().unwrap_or_else(|| {
        Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(LEVEL, 0, 0)))
    });
    let payload = deflate_with(&mut compressor, message);
    if payload.is_none() {
        // It still has what there was no room for.
        compressor.reset();
    }
    COMPRESSOR.set(Some(compressor));
    payload
}

/// As [`deflate`]. A full flush forgets what came before it, so that the next message does not refer to this one.
fn deflate_with(compressor: &mut CompressorOxide, message: &[u8]) -> Option<Vec<u8>> {
    // With the tail as many bytes as the message has and three: there is one left if it is shorter without the tail.
    let mut payload = vec![0; message.len() + TAIL.len()];
    let (mut rest, mut length) = (message, 0);
    loop {
        let room = payload.get_mut(length..).unwrap_or_default();
        let (status, read, written) = compress(compressor, rest, room, TDEFLFlush::Full);
        let has_room = written < room.len();
        rest = rest.get(read..).unwrap_or_default();
        length += written;
        let is_stuck = (read, written) == (0, 0);
        if status != TDEFLStatus::Okay || !has_room || is_stuck {
            return None;
        }
        if rest.is_empty() {
            break;
        }
    }
    payload.truncate(length);
    let is_whole = payload.ends_with(&TAIL);
    payload.truncate(length.saturating_sub(TAIL.len()));
    is_whole.then_some(payload)
}

/// The message of a payload, of at most `most` bytes: no more are inflated, and one, to know that there are more.
pub(crate) fn inflate(payload: &[u8], most: usize) -> Result<Vec<u8>, Flaw> {
    if payload.is_empty() {
        // Not what section 7.2.3.6 has for an empty message, but what some send.
        return Ok(Vec::new());
    }
    let mut decompressor = DECOMPRESSOR.take().unwrap_or_default();
    let message = inflate_with(&mut decompressor, payload, most);
    DECOMPRESSOR.set(Some(decompressor));
    message
}

fn inflate_with(
    decompressor: &mut DecompressorOxide,
    payload: &[u8],
    most: usize,
) -> Result<Vec<u8>, Flaw> {
    let most_room = most.saturating_add(1);
    let mut message = vec![0; payload.len().saturating_mul(4).max(LEAST_ROOM).min(most_room)];
    let (mut rest, mut is_tail, mut length) = (payload, false, 0);
    decompressor.init();
    loop {
        // Not wrapping: what refers to bytes before the message is found, and gets nothing of another one.
        let more = if is_tail { 0 } else { TINFL_FLAG_HAS_MORE_INPUT };
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | more;
        let (status, read, written) = decompress(decompressor, rest, &mut message, length, flags);
        rest = rest.get(read..).unwrap_or_default();
        length += written;
        match status {
            TINFLStatus::HasMoreOutput if message.len() >= most_room => return Err(Flaw::TooBig),
            TINFLStatus::HasMoreOutput => {
                message.resize(message.len().saturating_mul(2).min(most_room), 0);
            }
            TINFLStatus::NeedsMoreInput if !is_tail => (rest, is_tail) = (&TAIL_AND_END[..], true),
            // A block may say that it is the last one (section 7.2.3.4); others may stand behind it.
            TINFLStatus::Done if !is_tail && !rest.is_empty() => decompressor.init(),
            TINFLStatus::Done if length > most => return Err(Flaw::TooBig),
            TINFLStatus::Done => break,
            _ => return Err(Flaw::Malformed),
        }
    }
    message.truncate(length);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &[u8] = b"Hello";

    fn inflated(payload: &[u8]) -> Result<Vec<u8>, Flaw> {
        inflate(payload, 1000)
    }

    #[test]
    fn examples_of_the_rfc_are_inflated() {
        // Sections 7.2.3.2 (of which the second one needs the first), 7.2.3.3, 7.2.3.4, 7.2.3.5 and 7.2.3.6.
        for payload in [
            &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        ] {
            assert_eq!(inflated(payload).as_deref(), Ok(HELLO), "{payload:x?}");
        }
        assert_eq!(inflated(b"\x00"), Ok(Vec::new()));
        assert_eq!(inflated(b""), Ok(Vec::new()));
        // As encoders leave it that end a stream and add nothing, and two such streams.
        assert_eq!(inflated(b"\xf3\x48\xcd\xc9\xc9\x07\x00").as_deref(), Ok(HELLO));
        let twice = b"\xf3\x48\xcd\xc9\xc9\x07\x00".repeat(2);
        assert_eq!(inflated(&twice), Ok(HELLO.repeat(2)));
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        let whole = deflate(&b"abcdefgh".repeat(50)).unwrap();
        for payload in [
            // A type of block that there is not, a length without its complement, a truncated block.
            &b"\x07"[..],
            b"\x00\x05\x00\xfa\xfe\x48",
            b"\x00\x05\x00\xfa\xff\x48\x65",
            // The second message of section 7.2.3.2, which refers to a first one.
            b"\xf2\x00\x11\x00\x00",
            &whole[..whole.len() - 3],
        ] {
            assert_eq!(inflated(payload), Err(Flaw::Malformed), "{payload:x?}");
        }
    }

    #[test]
    fn nothing_of_another_message_is_inflated() {
        // 258 bytes from one before the first.
        inflate(&deflate(&b"secret".repeat(100)).unwrap(), 1000).unwrap();
        let before = b"\x1a\x05\x00\x00";
        assert_eq!(inflated(before), Err(Flaw::Malformed));
        let (one, other) = (b"one".repeat(100), b"other".repeat(100));
        let payloads = [deflate(&one).unwrap(), deflate(&other).unwrap(), deflate(&one).unwrap()];
        assert_eq!(payloads[0], payloads[2]);
        assert_eq!(inflated(&payloads[1]), Ok(other));
    }

    #[test]
    fn no_more_is_inflated_than_permitted() {
        let zeros = vec![0; 1 << 20];
        let bomb = deflate(&zeros).unwrap();
        assert!(bomb.len() < 1 << 13, "{}", bomb.len());
        assert_eq!(inflate(&bomb, zeros.len()), Ok(zeros.clone()));
        for most in [0, 1, 1000, zeros.len() - 1] {
            let mut decompressor = DecompressorOxide::new();
            assert_eq!(inflate_with(&mut decompressor, &bomb, most), Err(Flaw::TooBig));
        }
        assert_eq!(inflate(b"\x00", 0), Ok(Vec::new()));
    }

    #[test]
    fn message_is_deflated_only_where_that_makes_it_shorter() {
        assert_eq!(deflate(b"").as_deref().map(<[u8]>::len), None);
        assert_eq!(deflate(b"q"), None);
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..300_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 40) as u8
            })
            .collect();
        assert_eq!(deflate(&noise), None);
        // The next one is not what there was no room for.
        let text = b"a line of text; ".repeat(40_000);
        let payload = deflate(&text).unwrap();
        assert!(payload.len() < text.len() / 50, "{}", payload.len());
        assert_eq!(inflate(&payload, text.len()), Ok(text));
    }
}
