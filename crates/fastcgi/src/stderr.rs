//! The STDERR stream cut into lines for an error log.
//! It must never know which request, or which log, they belong to.

use crate::Limits;

/// Makes lines of a byte stream that breaks anywhere.
///
/// A line longer than `Limits::stderr_line_bytes` is handed out in pieces of that many bytes,
/// so that an application which never ends one cannot fill our memory.
#[derive(Debug)]
pub struct ErrorLines {
    /// The line that has not ended, never longer than `limit`.
    partial: Vec<u8>,
    /// At least 1.
    limit: usize,
}

impl ErrorLines {
    /// For the lines of one request after the other.
    pub fn new(limits: &Limits) -> Self {
        Self { partial: Vec::new(), limit: limits.stderr_line_bytes.max(1) }
    }

    /// Takes the next bytes and calls `log` for each line they complete, without its `\n`.
    pub fn push(&mut self, bytes: &[u8], log: impl FnMut(&[u8])) {
        self.push_some(bytes, usize::MAX, log);
    }

    /// The same for as many of the bytes as complete `most` lines; how many of them those are. Pieces of a long line count for
    /// one.
    pub fn push_some(&mut self, bytes: &[u8], most: usize, mut log: impl FnMut(&[u8])) -> usize {
        let mut taken = 0;
        for segment in bytes.split_inclusive(|byte| *byte == b'\n').take(most) {
            taken += segment.len();
            let (mut text, ends) = match segment.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (segment, false),
            };
            while self.partial.len() + text.len() > self.limit {
                let (fits, rest) = text.split_at(self.limit - self.partial.len());
                self.partial.extend_from_slice(fits);
                log(&self.partial);
                self.partial.clear();
                text = rest;
            }
            match (ends, self.partial.is_empty()) {
                (true, true) => log(text),
                (true, false) => {
                    self.partial.extend_from_slice(text);
                    log(&self.partial);
                    self.partial.clear();
                }
                (false, _) => self.partial.extend_from_slice(text),
            }
        }
        taken
    }

    /// Takes the end of the request: what has no line end is a line too.
    pub fn finish(&mut self, mut log: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            log(&self.partial);
            self.partial.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], step: usize) -> Vec<String> {
        let limits = Limits { stderr_line_bytes: 4, ..Limits::default() };
        let mut lines = ErrorLines::new(&limits);
        let mut seen = Vec::new();
        let mut log = |line: &[u8]| seen.push(String::from_utf8_lossy(line).into_owned());
        for bytes in text.chunks(step) {
            lines.push(bytes, &mut log);
        }
        lines.finish(&mut log);
        seen
    }

    #[test]
    fn some_lines_are_taken_and_the_rest_is_for_later() {
        let mut lines = ErrorLines::new(&Limits { stderr_line_bytes: 4, ..Limits::default() });
        let mut seen = Vec::new();
        let mut taken = Vec::new();
        let mut left: &[u8] = b"\n\nab\n123456\nc";
        while !left.is_empty() {
            let count = lines.push_some(left, 2, |line| seen.push(line.to_vec()));
            taken.push(count);
            left = &left[count..];
        }
        assert_eq!(taken, [2, 10, 1]);
        lines.finish(|line| seen.push(line.to_vec()));
        assert_eq!(seen, [&b""[..], b"", b"ab", b"1234", b"56", b"c"]);
    }

    #[test]
    fn lines_are_the_same_wherever_the_stream_breaks() {
        let table: [(&[u8], &[&str]); 6] = [
            (b"", &[]),
            (b"a\nbc", &["a", "bc"]),
            (b"a\n\nb\n", &["a", "", "b"]),
            (b"1234\n", &["1234"]),
            (b"12345\n", &["1234", "5"]),
            (b"1234567890", &["1234", "5678", "90"]),
        ];
        for (text, expected) in table {
            for step in 1..=text.len().max(1) {
                assert_eq!(lines(text, step), expected, "{} by {step}", text.escape_ascii());
            }
        }
    }
}
