//! The head of an answer, as `start_response` gave it: checked, and kept in one buffer.

use crate::python_repr;
use std::fmt;
use std::ops::Range;

/// Status line and headers. Names and values are stored one after the other, each closed by a NUL,
/// so that a transport can take all of them with one copy; a head is reused from request to request.
#[derive(Debug, Default)]
pub struct ResponseHead {
    status: u16,
    arena: Vec<u8>,
    line: Range<usize>,
    headers: Vec<(Range<usize>, Range<usize>)>,
    content_length: Option<u64>,
    bad_content_length: Option<Range<usize>>,
}

impl ResponseHead {
    /// An empty head.
    pub const fn new() -> Self {
        Self {
            status: 0,
            arena: Vec::new(),
            line: 0..0,
            headers: Vec::new(),
            content_length: None,
            bad_content_length: None,
        }
    }

    /// Forgets everything but the buffers.
    pub fn clear(&mut self) {
        self.status = 0;
        self.arena.clear();
        self.line = 0..0;
        self.headers.clear();
        self.content_length = None;
        self.bad_content_length = None;
    }

    /// Takes a status such as `200 OK`; a reason phrase is not required.
    ///
    /// # Errors
    /// PEP 3333, "The start_response() Callable"; the texts are mod_wsgi's.
    pub fn set_status(&mut self, line: &[u8]) -> Result<(), HeadError> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits != 3 {
            return Err(HeadError::StatusCode(line.to_vec()));
        }
        match line.get(3) {
            None | Some(b' ') => {}
            Some(_) => return Err(HeadError::StatusSpace(line.to_vec())),
        }
        if any_of(line, u8::is_ascii_control) {
            return Err(HeadError::StatusControl(line.to_vec()));
        }
        let code = line.iter().take(3).fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        if code < 200 {
            return Err(HeadError::StatusInterim(line.to_vec()));
        }
        self.status = code;
        self.line = self.store(line);
        Ok(())
    }

    /// Adds a header; order and repetitions are kept.
    ///
    /// # Errors
    /// PEP 3333, "The start_response() Callable"; the texts are mod_wsgi's.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if name.is_empty() {
            return Err(HeadError::NameEmpty);
        }
        if any_of(name, |byte| byte.is_ascii_control() || *byte == b' ') {
            return Err(if name.iter().any(u8::is_ascii_control) {
                HeadError::NameControl(name.to_vec())
            } else {
                HeadError::NameSpace(name.to_vec())
            });
        }
        if any_of(value, |byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(if value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
                HeadError::ValueLine(value.to_vec())
            } else {
                HeadError::ValueNull(value.to_vec())
            });
        }
        let name_at = self.store(name);
        let value_at = self.store(value);
        if name.len() == 14 && name.eq_ignore_ascii_case(b"Content-Length") {
            self.content_length = parse_length(value);
            self.bad_content_length =
                if self.content_length.is_none() { Some(value_at.clone()) } else { None };
        }
        self.headers.push((name_at, value_at));
        Ok(())
    }

    /// The status code; 0 before there is one.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Code and reason, as the application wrote them.
    pub fn status_line(&self) -> &[u8] {
        self.slice(&self.line)
    }

    /// The headers in order.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|(name, value)| (self.slice(name), self.slice(value)))
    }

    /// The whole buffer; [`ResponseHead::spans`] and [`ResponseHead::line_span`] point into it, and
    /// each of their ends is followed by a NUL.
    pub fn arena(&self) -> &[u8] {
        &self.arena
    }

    /// Where the status line stands in the arena.
    pub fn line_span(&self) -> Range<usize> {
        self.line.clone()
    }

    /// Where names and values stand in the arena.
    pub fn spans(&self) -> &[(Range<usize>, Range<usize>)] {
        &self.headers
    }

    /// The `Content-Length` the application gave.
    ///
    /// # Errors
    /// When it is not a non-negative decimal number.
    pub fn content_length(&self) -> Result<Option<u64>, HeadError> {
        match &self.bad_content_length {
            Some(at) => Err(HeadError::ContentLength(self.slice(at).to_vec())),
            None => Ok(self.content_length),
        }
    }

    /// Whether an answer of this status has no body (RFC 9110 section 6.4.1).
    pub const fn is_bodiless(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    fn store(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        let end = self.arena.len();
        self.arena.push(0);
        start..end
    }

    fn slice(&self, at: &Range<usize>) -> &[u8] {
        self.arena.get(at.clone()).unwrap_or_default()
    }
}

/// What is wrong with a status or a header. The texts are mod_wsgi's, and applications' tests
/// compare with them; Python raises each as `ValueError`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The status does not begin with three digits.
    StatusCode(Vec<u8>),
    /// Something other than a space follows the three digits.
    StatusSpace(Vec<u8>),
    /// A control character in the status.
    StatusControl(Vec<u8>),
    /// A 1xx status: an application's answer is the final one.
    StatusInterim(Vec<u8>),
    /// A header without a name.
    NameEmpty,
    /// A control character in a header's name.
    NameControl(Vec<u8>),
    /// A space in a header's name.
    NameSpace(Vec<u8>),
    /// CR or LF in a header's value: the value would become another header.
    ValueLine(Vec<u8>),
    /// NUL in a header's value.
    ValueNull(Vec<u8>),
    /// A `Content-Length` that is not a number.
    ContentLength(Vec<u8>),
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, bytes) = match self {
            Self::StatusCode(bytes) => ("status code must be a 3 digit integer", bytes),
            Self::StatusSpace(bytes) => ("no space following status code", bytes),
            Self::StatusControl(bytes) => ("control character in status reason phrase", bytes),
            Self::StatusInterim(bytes) => {
                ("status code of a final response must be 200 or more", bytes)
            }
            Self::NameEmpty => return f.write_str("header name is empty"),
            Self::NameControl(bytes) => ("control character in header name", bytes),
            Self::NameSpace(bytes) => ("space character in header name", bytes),
            Self::ValueLine(bytes) => {
                ("carriage return/line feed character in header value", bytes)
            }
            Self::ValueNull(bytes) => ("null character in header value", bytes),
            Self::ContentLength(bytes) => ("invalid content length", bytes),
        };
        write!(f, "{what}: {}", python_repr(bytes))
    }
}

/// The same as `any` of an iterator, which stops at the first hit. Here there hardly ever is one, and without
/// the stop many bytes are looked at at once.
fn any_of(bytes: &[u8], is_hit: impl Fn(&u8) -> bool) -> bool {
    bytes.iter().fold(false, |hit, byte| hit | is_hit(byte))
}

fn parse_length(value: &[u8]) -> Option<u64> {
    // White space around a value is no part of it (RFC 9110, 5.5).
    let value = value.trim_ascii();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    // apr_off_t is signed: what httpd cannot count it cannot promise.
    (length <= i64::MAX as u64).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_checked_as_mod_wsgi_checks_them() {
        let table: [(&[u8], &str); 9] = [
            (b"200 OK", ""),
            (b"200", ""),
            (b"404 \xe4", ""),
            (b"", "status code must be a 3 digit integer: b''"),
            (b"20 OK", "status code must be a 3 digit integer: b'20 OK'"),
            (b"2000 OK", "status code must be a 3 digit integer: b'2000 OK'"),
            (b"200-OK", "no space following status code: b'200-OK'"),
            (b"200 O\nK", "control character in status reason phrase: b'200 O\\nK'"),
            (
                b"100 Continue",
                "status code of a final response must be 200 or more: b'100 Continue'",
            ),
        ];
        for (line, text) in table {
            let mut head = ResponseHead::new();
            let said = head.set_status(line).err().map(|why| why.to_string()).unwrap_or_default();
            assert_eq!(said, text);
            if text.is_empty() {
                assert_eq!(head.status_line(), line);
            }
        }
    }

    #[test]
    fn headers_that_would_become_two_are_refused() {
        let table: [(&[u8], &[u8], &str); 6] = [
            (b"X-A", b"b", ""),
            (b"", b"b", "header name is empty"),
            (b"X A", b"b", "space character in header name: b'X A'"),
            (b"X\tA", b"b", "control character in header name: b'X\\tA'"),
            (
                b"X-A",
                b"b\r\nSet-Cookie: c",
                "carriage return/line feed character in header value: b'b\\r\\nSet-Cookie: c'",
            ),
            (b"X-A", b"b\0c", "null character in header value: b'b\\x00c'"),
        ];
        for (name, value, text) in table {
            let mut head = ResponseHead::new();
            let said = head.push(name, value).err().map(|why| why.to_string()).unwrap_or_default();
            assert_eq!(said, text);
        }
    }

    #[test]
    fn repeated_headers_stay_apart_and_nul_terminated() {
        let mut head = ResponseHead::new();
        head.set_status(b"200 OK").unwrap();
        head.push(b"Set-Cookie", b"a").unwrap();
        head.push(b"Set-Cookie", b"b").unwrap();
        let pairs: Vec<_> = head.headers().collect();
        assert_eq!(pairs, [(&b"Set-Cookie"[..], &b"a"[..]), (&b"Set-Cookie"[..], &b"b"[..])]);
        for (name, value) in head.spans() {
            assert_eq!((head.arena()[name.end], head.arena()[value.end]), (0, 0));
        }
    }

    #[test]
    fn a_content_length_is_a_number_or_an_error() {
        let table: [(&[u8], Option<Option<u64>>); 6] = [
            (b"0", Some(Some(0))),
            (b"12", Some(Some(12))),
            (b"-1", None),
            (b"+1", None),
            (b"1x", None),
            (b"99999999999999999999", None),
        ];
        for (value, expected) in table {
            let mut head = ResponseHead::new();
            head.push(b"content-length", value).unwrap();
            assert_eq!(head.content_length().ok(), expected);
        }
        assert_eq!(ResponseHead::new().content_length(), Ok(None));
    }

    #[test]
    fn a_cleared_head_is_as_new() {
        let mut head = ResponseHead::new();
        head.set_status(b"204 None").unwrap();
        head.push(b"Content-Length", b"x").unwrap();
        head.clear();
        assert_eq!(head.status(), 0);
        assert_eq!(head.headers().len(), 0);
        assert_eq!(head.content_length(), Ok(None));
    }
}
