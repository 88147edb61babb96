//! Digests of bytes.

use crate::bindings::{
    apr_base64_encode_binary, apr_sha1_ctx_t, apr_sha1_final, apr_sha1_init, apr_sha1_update_binary,
};
use std::mem::MaybeUninit;

/// Bytes of a digest of SHA-1.
const DIGEST: usize = 20;
/// The same in base64, and a NUL.
const ENCODED: usize = DIGEST.div_ceil(3) * 4 + 1;

/// The SHA-1 of the pieces one after the other, in base64: what a handshake of WebSocket is confirmed with (RFC 6455, 4.2.2).
/// Nothing is kept secret by it.
pub(crate) fn sha1_in_base64(pieces: &[&[u8]]) -> String {
    let mut context = MaybeUninit::<apr_sha1_ctx_t>::uninit();
    let mut digest = [0_u8; DIGEST];
    let mut text = [0_u8; ENCODED];
    // SAFETY: `init` writes the whole context before the others read it; each piece is as long as is said, and no longer than
    // a number of type c_uint can say; `final` writes 20 bytes, and the text takes 28 and a NUL.
    unsafe {
        apr_sha1_init(context.as_mut_ptr());
        for piece in pieces {
            let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            apr_sha1_update_binary(context.as_mut_ptr(), piece.as_ptr(), length);
        }
        apr_sha1_final(digest.as_mut_ptr(), context.as_mut_ptr());
        apr_base64_encode_binary(text.as_mut_ptr().cast(), digest.as_ptr(), DIGEST as i32);
    }
    String::from_utf8_lossy(text.get(..ENCODED - 1).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455_has_its_digest() {
        let pieces: [&[u8]; 2] =
            [b"dGhlIHNhbXBsZSBub25jZQ==", b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"];
        assert_eq!(sha1_in_base64(&pieces), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(sha1_in_base64(&[]), "2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
    }
}
