//! What may stand in a head: the names of fields and the codes of statuses.
//! It must never know a head.

/// Whether `name` is a token (RFC 9110, 5.6.2), which is all that a field's name may be.
pub(super) fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// By byte: whether it may stand in a token.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut others: &[u8] = b"!#$%&'*+-.^_`|~";
    while let [byte, rest @ ..] = others {
        table[*byte as usize] = true;
        others = rest;
    }
    table
};

/// A code of three digits; no other can be put into an HTTP response.
pub(super) fn is_status(code: u16) -> bool {
    (100..=999).contains(&code)
}
