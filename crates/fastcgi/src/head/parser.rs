//! Reading a head while it arrives.
//! It must never know where its bytes come from, nor keep one of the body's.

use super::error::{Excerpt, HeadError};
use super::fields::{Field, Head, Status};
use super::syntax::is_token;
use crate::Limits;
use memchr::{memchr, memchr2};

/// Collects the head of one answer after the other out of STDOUT, in one memory.
#[derive(Debug)]
pub struct HeadParser {
    limits: Limits,
    /// All of the head that has come, line ends too; [`Head`] borrows from it.
    bytes: Vec<u8>,
    /// Where in `bytes` the line begins that has not ended.
    line: usize,
    fields: Vec<Field>,
    status: Option<Status>,
    complete: bool,
}

impl HeadParser {
    /// For an answer under these limits.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            bytes: Vec::new(),
            line: 0,
            fields: Vec::new(),
            status: None,
            complete: false,
        }
    }

    /// Takes the next bytes of STDOUT. Once the head is complete: how many of these bytes were
    /// its; the others are the body's. Lines may end in CRLF or LF.
    ///
    /// # Errors
    ///
    /// Any [`HeadError`]. The parser is good for nothing then but [`reset`](Self::reset).
    pub fn feed(&mut self, chunk: &[u8]) -> Result<Option<usize>, HeadError> {
        if self.complete {
            return Ok(Some(0));
        }
        let mut used = 0;
        loop {
            let rest = &chunk[used..];
            // The most that may still be missing of this line, its end included. Looking no
            // further makes an error the same wherever the bytes were split.
            let window = &rest[..rest.len().min(self.room())];
            match memchr(b'\n', window) {
                Some(end) => {
                    self.bytes.extend_from_slice(&rest[..=end]);
                    used += end + 1;
                    if self.take_line()? {
                        self.complete = true;
                        return Ok(Some(used));
                    }
                }
                None if window.len() == self.room() => return Err(self.too_long(rest)),
                None => {
                    self.bytes.extend_from_slice(window);
                    return Ok(None);
                }
            }
        }
    }

    /// The head, once it is complete.
    pub fn head(&self) -> Option<Head<'_>> {
        let Self { bytes, fields, status, .. } = self;
        self.complete.then_some(Head { bytes, fields, status: status.as_ref() })
    }

    /// Says that the answer has ended.
    ///
    /// # Errors
    ///
    /// [`HeadError::Missing`] or [`HeadError::Truncated`], unless the head is complete.
    pub fn end_of_input(&self) -> Result<(), HeadError> {
        match (self.complete, self.bytes.len()) {
            (true, _) => Ok(()),
            (false, 0) => Err(HeadError::Missing),
            (false, length) => Err(HeadError::Truncated { length }),
        }
    }

    /// Forgets everything but the memory, for another answer.
    pub fn reset(&mut self) {
        self.bytes.clear();
        // One giant answer should not weigh on the connection for the rest of its life.
        self.bytes.shrink_to(KEPT_BYTES);
        self.fields.clear();
        self.fields.shrink_to(KEPT_FIELDS);
        self.line = 0;
        self.status = None;
        self.complete = false;
    }

    /// [`reset`](Self::reset), and other limits from now on.
    pub fn restart(&mut self, limits: Limits) {
        self.reset();
        self.limits = limits;
    }

    fn room(&self) -> usize {
        let line = self.limits.head_line_bytes.saturating_add(b"\r\n".len());
        let head = self.limits.head_bytes.saturating_sub(self.line);
        line.min(head).saturating_sub(self.bytes.len() - self.line)
    }

    fn too_long(&self, rest: &[u8]) -> HeadError {
        let limit = self.limits.head_bytes;
        let line_limit = self.limits.head_line_bytes;
        if limit.saturating_sub(self.line) < line_limit.saturating_add(b"\r\n".len()) {
            return HeadError::TooLarge { limit };
        }
        let mut line = self.bytes[self.line..].to_vec();
        line.extend(rest.iter().take_while(|byte| **byte != b'\n'));
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        line_too_long(line, line_limit)
    }

    /// Takes the line that has just ended. True when it was the empty one.
    fn take_line(&mut self) -> Result<bool, HeadError> {
        let start = std::mem::replace(&mut self.line, self.bytes.len());
        let line = &self.bytes[start..self.line - 1];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(true);
        }
        if line.len() > self.limits.head_line_bytes {
            return Err(line_too_long(line, self.limits.head_line_bytes));
        }
        if let Some(at) = memchr2(b'\0', b'\r', line) {
            return Err(HeadError::BadByte { line: Excerpt::of_line(line), byte: line[at] });
        }
        if matches!(line[0], b' ' | b'\t') {
            return Err(HeadError::Folded { line: Excerpt::of_line(line) });
        }
        let Some(colon) = memchr(b':', line) else {
            return Err(HeadError::MissingColon { line: Excerpt::of(line) });
        };
        let (name, after) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) {
            return Err(HeadError::BadName { name: Excerpt::of(name) });
        }
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
        let leading = after.iter().take_while(blank).count();
        let trailing = after[leading..].iter().rev().take_while(blank).count();
        let value_start = start + colon + 1;
        let value = value_start + leading..value_start + after.len() - trailing;
        // The writer begins with it: any other is a field of the application's.
        if self.status.is_none() && name.eq_ignore_ascii_case(b"Status") {
            self.status = Some(Status::parse(&self.bytes, value)?);
            return Ok(false);
        }
        if self.fields.len() == self.limits.head_fields {
            return Err(HeadError::TooManyFields { limit: self.limits.head_fields });
        }
        self.fields.push(Field { name: start..start + colon, value });
        Ok(false)
    }
}

fn line_too_long(line: &[u8], limit: usize) -> HeadError {
    HeadError::LineTooLong { line: Excerpt::of_line(line), length: line.len(), limit }
}

/// Memory a parser keeps between answers, in bytes.
const KEPT_BYTES: usize = 64 << 10;
/// And in fields.
const KEPT_FIELDS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &[u8], step: usize, limits: Limits) -> Result<HeadParser, HeadError> {
        let mut parser = HeadParser::new(limits);
        for chunk in head.chunks(step) {
            if parser.feed(chunk)?.is_some() {
                break;
            }
        }
        parser.end_of_input()?;
        Ok(parser)
    }

    #[test]
    fn a_head_is_read_the_same_wherever_it_is_split() {
        let text = b"Status: 404 Not  Found\r\nX-Empty:\nSet-Cookie: \t a=b; c \r\n\
            set-cookie:\xe9\r\n\r\n";
        for step in 1..=text.len() {
            let parser = parse(text, step, Limits::default()).unwrap();
            let head = parser.head().unwrap();
            assert_eq!((head.status(), head.reason()), (Some(404), &b"Not  Found"[..]));
            let fields: Vec<_> = head.fields().collect();
            let expected: [(&[u8], &[u8]); 3] =
                [(b"X-Empty", b""), (b"Set-Cookie", b"a=b; c"), (b"set-cookie", b"\xe9")];
            assert_eq!(fields, expected);
            assert_eq!(head.get(b"SET-COOKIE"), Some(&b"a=b; c"[..]));
        }
    }

    #[test]
    fn the_body_is_left_alone() {
        let mut parser = HeadParser::new(Limits::default());
        assert_eq!(parser.feed(b"A: 1\r\n\r"), Ok(None));
        assert!(parser.head().is_none());
        assert_eq!(parser.feed(b"\n\r\nbody"), Ok(Some(1)));
        assert_eq!(parser.feed(b"more"), Ok(Some(0)));
        assert_eq!(parser.head().and_then(|head| head.status()), None);
        parser.reset();
        assert!(parser.head().is_none());
        assert_eq!(parser.end_of_input(), Err(HeadError::Missing));
        assert_eq!(parser.feed(b"\nbody"), Ok(Some(1)), "a head may be empty");
    }

    #[test]
    fn statuses() {
        let table: [(&str, Option<(u16, &str)>); 9] = [
            ("200", Some((200, ""))),
            ("200 OK", Some((200, "OK"))),
            ("999  x ", Some((999, " x"))),
            ("099 low", None),
            ("2000", None),
            ("20", None),
            ("200OK", None),
            ("+20", None),
            ("", None),
        ];
        for (value, expected) in table {
            let text = format!("status:{value}\n\n");
            match (parse(text.as_bytes(), text.len(), Limits::default()), expected) {
                (Ok(parser), Some((code, reason))) => {
                    let head = parser.head().unwrap();
                    assert_eq!((head.status(), head.reason()), (Some(code), reason.as_bytes()));
                }
                (Err(HeadError::BadStatus { .. }), None) => {}
                (outcome, _) => panic!("{text:?}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn the_first_status_is_the_status_and_others_are_fields() {
        let text = b"Status: 404\nSTATUS: any\nStatus: 200\n\n";
        let parser = parse(text, 3, Limits::default()).unwrap();
        let head = parser.head().unwrap();
        assert_eq!(head.status(), Some(404));
        let expected: [(&[u8], &[u8]); 2] = [(b"STATUS", b"any"), (b"Status", b"200")];
        assert_eq!(head.fields().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn malformed_heads_are_named_in_any_split() {
        let limits =
            Limits { head_line_bytes: 16, head_bytes: 40, head_fields: 2, ..<_>::default() };
        let table: [(&[u8], &str); 13] = [
            (b"", "answer ended before its head"),
            (b"A: 1\r\n\r", "answer ended inside its head, after 7 bytes"),
            (b"Traceback\n\n", "header line \"Traceback\" has no colon"),
            (b": 1\n\n", "invalid header name \"\""),
            (b"A : 1\n\n", "invalid header name \"A \""),
            (b"A\xe9: 1\n\n", "invalid header name \"A\\xe9\""),
            (b"A: 1\n b: 2\n\n", "header line \" b\" begins with white space"),
            (b"A: 1\x002\n\n", "header line \"A\" contains the byte 0x00"),
            (b"A: 1\r2\n\n", "header line \"A\" contains the byte 0x0d"),
            (b"Status: fine\n\n", "invalid response status \"fine\""),
            (b"A:1\nB:2\nC:3\n\n", "response head exceeds the limit of 2 fields"),
            (
                b"A: 3456789012345\nB: 3456789012345\nC:34567\n\n",
                "response head exceeds the limit of 40 bytes",
            ),
            (b"A:1\nB:2\n\n", ""),
        ];
        for (text, expected) in table {
            for step in 1..=text.len().max(1) {
                let outcome = parse(text, step, limits);
                let message = outcome.err().map(|error| error.to_string()).unwrap_or_default();
                assert_eq!(message, expected, "{} by {step}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        let limits = Limits { head_line_bytes: 8, ..Limits::default() };
        for end in ["\n", "\r\n"] {
            for (value, fits) in [("123456", true), ("1234567", false), ("12345678", false)] {
                let text = format!("A:{value}{end}\n");
                for step in 1..=text.len() {
                    let outcome = parse(text.as_bytes(), step, limits);
                    assert_eq!(outcome.is_ok(), fits, "{text:?} by {step}");
                }
            }
        }
        let error = parse(b"Set-Cookie: secret\r\n\r\n", 99, limits).unwrap_err();
        assert_eq!(
            error.to_string(),
            "header line \"Set-Cookie\" of 18 bytes exceeds the limit of 8"
        );
    }
}
