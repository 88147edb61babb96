//! RFC 6455 as one reads it: what a server has to make of all the bytes that a client has sent, and what it may send itself.
//! It must never know the crate; property tests and a fuzz target compare it with the crate.

use std::str;

/// What a server has to hear, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Text(String),
    Bytes(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    /// What stands behind it says nothing.
    Close(Option<(u16, String)>),
    /// The client is to be closed with one of these codes. `close`: for what its close says.
    Wrong {
        codes: Vec<u16>,
        close: bool,
    },
    /// An incomplete frame that is wrong already: a server may wait for the rest of it.
    MayBeWrong(Vec<u16>),
}

/// Limits: bytes of a message of several frames, and of one frame.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) message: usize,
    pub(crate) frame: usize,
}

/// Section 5.2, the first bytes of a frame.
struct Header {
    is_final: bool,
    reserved: u8,
    opcode: u8,
    mask: Option<[u8; 4]>,
    length: u64,
    size: usize,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const PROTOCOL: u16 = 1002;
const NO_UTF_8: u16 = 1007;
const TOO_BIG: u16 = 1009;

fn header(wire: &[u8]) -> Option<Header> {
    let (&[first, second], mut rest) = wire.split_first_chunk()?;
    let length = match second & 0x7f {
        126 => {
            let (length, behind) = rest.split_first_chunk()?;
            rest = behind;
            u16::from_be_bytes(*length).into()
        }
        127 => {
            let (length, behind) = rest.split_first_chunk()?;
            rest = behind;
            u64::from_be_bytes(*length)
        }
        short => short.into(),
    };
    let mut mask = None;
    if second & 0x80 != 0 {
        let (key, behind) = rest.split_first_chunk()?;
        (mask, rest) = (Some(*key), behind);
    }
    Some(Header {
        is_final: first & 0x80 != 0,
        reserved: first & 0x70,
        opcode: first & 0x0f,
        mask,
        length,
        size: wire.len() - rest.len(),
    })
}

/// What is wrong with a frame by its header, behind `begun` bytes of an incomplete message. That a length takes more bytes than
/// it needs is not: section 5.2 forbids it to a sender, and does not say what a receiver does.
fn wrong_header(header: &Header, begun: Option<usize>, limits: Limits) -> Vec<u16> {
    let Header { is_final, reserved, opcode, mask, length, .. } = *header;
    let is_control = opcode >= 8;
    let is_known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
    let is_in_order = is_control || (opcode == CONTINUATION) == begun.is_some();
    let is_short = !is_control || length <= 125;
    let mut codes = Vec::new();
    let keeps_to_protocol = reserved == 0
        && is_known
        && is_in_order
        && is_short
        && mask.is_some()
        && (is_final || !is_control)
        && length >> 63 == 0;
    if !keeps_to_protocol {
        codes.push(PROTOCOL);
    }
    let begun = if is_control { 0 } else { begun.unwrap_or(0) };
    let is_small = length.saturating_add(begun as u64) <= limits.message as u64;
    if length > limits.frame as u64 || !(is_control && is_short || is_small) {
        codes.push(TOO_BIG);
    }
    codes
}

/// Section 7.4, and of IANA's registry 1012 and 1013. Its 1014 is what a gateway sends, and no client.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999)
}

fn close(payload: &[u8]) -> Expected {
    let Some((code, reason)) = payload.split_first_chunk() else {
        let wrong = Expected::Wrong { codes: vec![PROTOCOL], close: true };
        return if payload.is_empty() { Expected::Close(None) } else { wrong };
    };
    let code = u16::from_be_bytes(*code);
    match (str::from_utf8(reason), may_be_sent(code)) {
        (Ok(reason), true) => Expected::Close(Some((code, reason.to_owned()))),
        (Ok(_), false) => Expected::Wrong { codes: vec![PROTOCOL], close: true },
        (Err(_), true) => Expected::Wrong { codes: vec![NO_UTF_8], close: true },
        (Err(_), false) => Expected::Wrong { codes: vec![PROTOCOL, NO_UTF_8], close: true },
    }
}

/// What a server has to make of all these bytes.
pub(crate) fn expected(mut wire: &[u8], limits: Limits) -> Vec<Expected> {
    let mut all = Vec::new();
    // Opcode and bytes of a message of which the last frame is missing.
    let mut begun: Option<(u8, Vec<u8>)> = None;
    while let Some(header) = header(wire) {
        let codes = wrong_header(&header, begun.as_ref().map(|it| it.1.len()), limits);
        let Some(payload) = usize::try_from(header.length)
            .ok()
            .and_then(|length| wire.get(header.size..)?.get(..length))
        else {
            // A server keeps no frame that is longer than its limit.
            if header.length > limits.frame as u64 {
                all.push(Expected::Wrong { codes, close: false });
            } else if !codes.is_empty() {
                all.push(Expected::MayBeWrong(codes));
            }
            return all;
        };
        let mask = header.mask.unwrap_or_default();
        let payload: Vec<u8> =
            payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
        wire = &wire[header.size + payload.len()..];
        let next = frame(&header, payload, codes, &mut begun);
        let is_last = matches!(next, Some(Expected::Close(_) | Expected::Wrong { .. }));
        all.extend(next);
        if is_last {
            return all;
        }
    }
    all
}

/// A complete frame: what is heard by it.
fn frame(
    header: &Header,
    payload: Vec<u8>,
    mut codes: Vec<u16>,
    begun: &mut Option<(u8, Vec<u8>)>,
) -> Option<Expected> {
    if header.opcode >= 8 {
        return Some(match header.opcode {
            _ if !codes.is_empty() => {
                // A close can say more than one thing that is wrong.
                if let (CLOSE, Expected::Wrong { codes: more, .. }) =
                    (header.opcode, close(&payload))
                {
                    codes.extend(more);
                }
                Expected::Wrong { codes, close: false }
            }
            CLOSE => close(&payload),
            PING => Expected::Ping(payload),
            _ => Expected::Pong,
        });
    }
    let (opcode, mut message) = match (header.opcode, begun.take()) {
        (CONTINUATION, Some(begun)) => begun,
        (opcode, _) => (opcode, Vec::new()),
    };
    message.extend(payload);
    let text = str::from_utf8(&message);
    let is_text = match text {
        Ok(_) => true,
        // The rest of a character may come with the next frame.
        Err(why) => why.error_len().is_none() && !header.is_final,
    };
    if opcode == TEXT && !is_text {
        codes.push(NO_UTF_8);
    }
    if !codes.is_empty() {
        return Some(Expected::Wrong { codes, close: false });
    }
    if !header.is_final {
        *begun = Some((opcode, message));
        return None;
    }
    Some(match text {
        Ok(text) if opcode == TEXT => Expected::Text(text.to_owned()),
        _ => Expected::Bytes(message),
    })
}

/// The frames that a server has sent, opcode and payload: each is one that a client accepts, and complete.
pub(crate) fn sent(mut wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while !wire.is_empty() {
        let header = header(wire).expect("a complete header");
        assert!(header.is_final && header.reserved == 0 && header.mask.is_none());
        let shortest = match header.length {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => 10,
        };
        assert_eq!(header.size, shortest);
        assert!(header.opcode < 8 || header.length <= 125);
        let end = header.size + usize::try_from(header.length).expect("a length");
        all.push((header.opcode, wire.get(header.size..end).expect("a complete frame").to_vec()));
        wire = &wire[end..];
    }
    all
}
