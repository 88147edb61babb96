//! Writing a head, so that what one end writes the other can read.
//! It must never know an application; it only refuses what would not be one line.

use super::error::{Excerpt, HeadError};
use super::syntax::{is_status, is_token};

/// Appends the head of an answer to a buffer, line by line.
#[derive(Debug)]
pub struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> HeadWriter<'a> {
    /// Starts with the `Status` line (RFC 3875, 6.3.3).
    ///
    /// # Errors
    ///
    /// [`HeadError::BadStatus`] unless `code` is from 100 to 999, and [`HeadError::BadByte`] for a
    /// `reason` of more than one line. `out` is unchanged then.
    pub fn new(out: &'a mut Vec<u8>, code: u16, reason: &[u8]) -> Result<Self, HeadError> {
        if !is_status(code) {
            let value = Excerpt::of(code.to_string().as_bytes());
            return Err(HeadError::BadStatus { value });
        }
        check_value(b"Status", reason)?;
        let digits = [code / 100, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8);
        for part in [b"Status: ", &digits[..], b" ", reason, b"\r\n"] {
            out.extend_from_slice(part);
        }
        Ok(Self { out })
    }

    /// Adds a field.
    ///
    /// # Errors
    ///
    /// [`HeadError::BadName`] unless `name` is a token and not `Status`, [`HeadError::BadByte`]
    /// for a value of more than one line. Nothing is added then.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        // To most, a field called Status is a second status.
        if name.eq_ignore_ascii_case(b"Status") {
            return Err(HeadError::BadName { name: Excerpt::of(name) });
        }
        self.any_field(name, value)
    }

    /// Adds a field that may be called `Status`, for a [`HeadParser`](super::HeadParser): to it, only the
    /// first one is the status.
    ///
    /// # Errors
    ///
    /// As of [`field`](Self::field).
    pub fn any_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if !is_token(name) {
            return Err(HeadError::BadName { name: Excerpt::of(name) });
        }
        check_value(name, value)?;
        for part in [name, b": ", value, b"\r\n"] {
            self.out.extend_from_slice(part);
        }
        Ok(())
    }

    /// Ends the head. The body comes next.
    pub fn finish(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Refuses what would let an application write lines of its own, which is how a response is split.
fn check_value(name: &[u8], value: &[u8]) -> Result<(), HeadError> {
    match value.iter().find(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
        Some(&byte) => Err(HeadError::BadByte { line: Excerpt::of(name), byte }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_byte_for_byte() {
        let mut out = Vec::new();
        let mut head = HeadWriter::new(&mut out, 200, b"OK").unwrap();
        head.field(b"Content-Type", b"text/plain").unwrap();
        head.field(b"X-Raw", b"\xe9\xff").unwrap();
        head.finish();
        assert_eq!(out, b"Status: 200 OK\r\nContent-Type: text/plain\r\nX-Raw: \xe9\xff\r\n\r\n");
        out.clear();
        let mut head = HeadWriter::new(&mut out, 200, b"OK").unwrap();
        head.any_field(b"status", b"500").unwrap();
        head.finish();
        assert_eq!(out, b"Status: 200 OK\r\nstatus: 500\r\n\r\n");
    }

    #[test]
    fn what_would_not_be_one_line_is_refused_and_leaves_no_trace() {
        let mut out = Vec::new();
        assert!(HeadWriter::new(&mut out, 99, b"").is_err());
        assert!(HeadWriter::new(&mut out, 1000, b"").is_err());
        assert!(HeadWriter::new(&mut out, 200, b"OK\r\nX: y").is_err());
        assert!(out.is_empty());
        let mut head = HeadWriter::new(&mut out, 204, b"").unwrap();
        let table: [(&[u8], &[u8]); 6] = [
            (b"", b""),
            (b"A B", b""),
            (b"A:", b""),
            (b"A", b"x\ny"),
            (b"A", b"\0"),
            (b"status", b""),
        ];
        for (name, value) in table {
            assert!(head.field(name, value).is_err());
            assert!(name == b"status" || head.any_field(name, value).is_err());
        }
        head.finish();
        assert_eq!(out, b"Status: 204 \r\n\r\n");
    }
}
