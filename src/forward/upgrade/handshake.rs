//! The opening handshake of a WebSocket (RFC 6455, section 4.2). It must never know what becomes of it.
#![forbid(unsafe_code)]

use crate::apr::sha1_in_base64;
use crate::failure_flag::{Flag, Note};
use crate::httpd::{Outcome, Request};
use wsgi::Level;

/// What is appended to the client's key (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Fields of the 101 that are the server's to set.
const OWN_FIELDS: [&[u8]; 5] =
    [b"connection", b"upgrade", b"sec-websocket-accept", b"content-length", b"transfer-encoding"];
/// The worker's to set, which compresses; of the application it takes none.
const EXTENSIONS: &[u8] = b"sec-websocket-extensions";

/// A handshake that is well formed.
#[derive(Debug)]
pub(super) struct Handshake {
    accept: String,
}

/// What a request asks for.
pub(super) enum Asked {
    /// An ordinary response.
    Nothing,
    Handshake(Handshake),
    Malformed(Refusal),
}

/// Why a handshake is refused before the application sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Method,
    Version,
    Key,
    /// HTTP/2 (RFC 8441): httpd would keep a thread for each.
    Stream,
}

impl Refusal {
    /// Answers with its status; what the client caused is no error of the server.
    pub(super) fn answer(self, request: &Request<'_>) -> Outcome {
        let headers = request.error_headers_out();
        let (status, what) = match self {
            // Not 405: httpd would add an Allow of its own, which speaks of other methods.
            Self::Method => (400, "its method is not GET"),
            Self::Version => {
                headers.set(request.pool(), c"Sec-WebSocket-Version", b"13");
                (426, "its version is not 13")
            }
            Self::Key => (400, "it has no Sec-WebSocket-Key of 16 bytes"),
            Self::Stream => {
                (501, "it came over HTTP/2, where httpd holds two threads for each (H2WebSockets)")
            }
        };
        let code = Flag::Request.code();
        let line = format!("WSGI0230: a handshake of a WebSocket is refused: {what} [{code}]");
        Flag::Request.note();
        let level = if self == Self::Stream { Level::Error } else { Level::Debug };
        request.log(level, line.as_bytes());
        Outcome::Status(status)
    }
}

impl Handshake {
    /// What `request` asks for. A page that tells of a failed request asks for nothing, whatever that one did.
    pub(super) fn of(request: &Request<'_>) -> Asked {
        let headers = request.headers_in();
        let get = |name| headers.get(name).unwrap_or_default();
        let upgrades = has_token(get(c"Upgrade"), b"websocket")
            && (request.is_stream() || has_token(get(c"Connection"), b"upgrade"));
        if !upgrades || request.protocol() == b"HTTP/1.0" {
            return Asked::Nothing;
        }
        if request.is_subrequest() || request.is_error_document() {
            return Asked::Nothing;
        }
        let key = get(c"Sec-WebSocket-Key").trim_ascii();
        let refusal = if request.is_stream() {
            Refusal::Stream
        } else if request.method() != b"GET" {
            Refusal::Method
        } else if get(c"Sec-WebSocket-Version").trim_ascii() != b"13" {
            Refusal::Version
        } else if !is_key(key) {
            Refusal::Key
        } else {
            return Asked::Handshake(Self { accept: sha1_in_base64(&[key, GUID]) });
        };
        Asked::Malformed(refusal)
    }

    /// The head of the 101; `fields` are those of the worker and its application, each with its end of line.
    pub(super) fn head(&self, request: &Request<'_>, fields: &[u8]) -> Vec<u8> {
        let mut head =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: "
                .to_vec();
        head.extend_from_slice(self.accept.as_bytes());
        head.extend_from_slice(b"\r\n");
        let mut add = |name: &[u8], value: &[u8]| {
            if !OWN_FIELDS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                [name, b": ", value, b"\r\n"].iter().for_each(|part| head.extend_from_slice(part));
            }
        };
        let mut add_other = |name: &[u8], value: &[u8]| {
            if !name.eq_ignore_ascii_case(EXTENSIONS) {
                add(name, value);
            }
        };
        // What other modules have said of the response.
        request.error_headers_out().each(&mut add_other);
        request.headers_out().each(&mut add_other);
        for line in fields.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(colon) = line.iter().position(|byte| *byte == b':') {
                let (name, value) = line.split_at(colon);
                add(name, value.get(1..).unwrap_or_default().trim_ascii());
            }
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// Whether a list of tokens, separated by commas, has this one, in any case.
fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// Whether this is the base64 of 16 bytes.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key, [digits @ .., b'=', b'='] if digits.len() == 22 && digits.iter().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_lists_and_not_in_words() {
        for list in ["websocket", "h2c, WebSocket", "  websocket ,x"] {
            assert!(has_token(list.as_bytes(), b"websocket"), "{list}");
        }
        for list in ["", "websockets", "web socket", "websocket/13"] {
            assert!(!has_token(list.as_bytes(), b"websocket"), "{list}");
        }
    }

    #[test]
    fn a_key_is_the_base64_of_16_bytes() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for key in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZ===",
            "dGhlIHNhbXBs ZSBub25jZQ==",
        ] {
            assert!(!is_key(key.as_bytes()), "{key}");
        }
    }
}
