//! Log lines on their way through a pipe: from a worker to its manager, and from a manager to Apache's side. A line
//! that this project writes is a record, which has its level. What else comes, such as text that a C library writes
//! to standard error, is cut into lines without one. It makes no system call, and takes whatever bytes come.

/// Begins a record; a digit for the level and the text follow, and a newline ends it.
const MARK: u8 = 0x1e;
/// The longest line, in bytes. With its mark it is short enough that a pipe takes it as a whole (`PIPE_BUF`).
pub const MAX_LINE: usize = 3900;
/// The most bytes that a pipe takes as a whole, so that lines of several writers are not mixed (pipe(7)).
pub const MAX_WRITE: usize = 4096;
/// The end of a line that is continued, and the beginning of a line that continues another one.
const CONTINUED: &[u8] = b" [...]";
const CONTINUES: &[u8] = b"[...] ";

/// Appends `text` as one record, or as several where it has more than one line or is too long. `level` is an
/// `APLOG_*` number up to 9.
pub fn append_records(into: &mut Vec<u8>, level: u8, text: &[u8]) {
    for line in text.split(|&byte| byte == b'\n') {
        let mut rest = line;
        let mut begin: &[u8] = b"";
        loop {
            let room = MAX_LINE - begin.len();
            let (piece, after, end) = if rest.len() <= room {
                (rest, &b""[..], &b""[..])
            } else {
                let (piece, after) = rest.split_at(last_boundary(rest, room - CONTINUED.len()));
                (piece, after, CONTINUED)
            };
            into.extend([MARK, b'0' + level.min(9)]);
            into.extend_from_slice(begin);
            into.extend(piece.iter().map(|&byte| if byte == MARK { b'?' } else { byte }));
            into.extend_from_slice(end);
            into.push(b'\n');
            if after.is_empty() {
                break;
            }
            (rest, begin) = (after, CONTINUES);
        }
    }
}

/// The last place at or before `end` where a character of UTF-8 begins; `end` itself in other text.
fn last_boundary(text: &[u8], end: usize) -> usize {
    let begins = |&at: &usize| text.get(at).is_none_or(|byte| byte & 0xc0 != 0x80);
    (end.saturating_sub(3).max(1)..=end).rev().find(begins).unwrap_or(end)
}

/// Makes lines of the bytes that come out of a pipe, in pieces of any size.
#[derive(Debug, Default)]
pub struct LineSplitter {
    pending: Vec<u8>,
    /// The level of the record that has begun.
    level: Option<u8>,
    /// The mark of a record has come, and its level has not.
    is_marked: bool,
}

impl LineSplitter {
    /// Takes bytes; `line` gets each line that is complete now, with its level where it is a record. Empty lines
    /// are left out, and longer ones than [`MAX_LINE`] come in several.
    pub fn push(&mut self, mut bytes: &[u8], line: &mut dyn FnMut(Option<u8>, &[u8])) {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.is_marked) && first.is_ascii_digit() {
                self.level = Some(first - b'0');
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let end = bytes.iter().position(|&byte| byte == b'\n' || byte == MARK);
            let (text, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            let room = MAX_LINE.saturating_sub(self.pending.len());
            if text.len() > room {
                let (text, _) = text.split_at(room);
                self.pending.extend_from_slice(text);
                self.cut(line);
                bytes = bytes.get(room..).unwrap_or_default();
                continue;
            }
            self.pending.extend_from_slice(text);
            if let Some(&delimiter) = rest.first() {
                self.finish(line);
                self.is_marked = delimiter == MARK;
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
    }

    /// Gives what has come of a line that has no end yet.
    pub fn finish(&mut self, line: &mut dyn FnMut(Option<u8>, &[u8])) {
        let level = self.level.take();
        if !self.pending.is_empty() {
            line(level, &self.pending);
            self.pending.clear();
        }
    }

    /// Whether a line has begun and has no end yet.
    pub fn has_unfinished_line(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Gives the beginning of a line that is too long, and keeps the rest.
    fn cut(&mut self, line: &mut dyn FnMut(Option<u8>, &[u8])) {
        let at = last_boundary(&self.pending, MAX_LINE - CONTINUED.len());
        let rest = self.pending.split_off(at);
        self.pending.extend_from_slice(CONTINUED);
        line(self.level, &self.pending);
        self.pending.clear();
        self.pending.extend_from_slice(CONTINUES);
        self.pending.extend_from_slice(&rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `bytes`, given in pieces of this size, and what is unfinished.
    fn lines(bytes: &[u8], size: usize) -> Vec<(Option<u8>, String)> {
        let mut found = Vec::new();
        let mut splitter = LineSplitter::default();
        let mut take = |level: Option<u8>, line: &[u8]| {
            assert!(line.len() <= MAX_LINE, "{}", line.len());
            found.push((level, String::from_utf8_lossy(line).into_owned()));
        };
        for piece in bytes.chunks(size) {
            splitter.push(piece, &mut take);
        }
        splitter.finish(&mut take);
        assert!(!splitter.has_unfinished_line());
        found
    }

    fn record(level: u8, text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        append_records(&mut bytes, level, text.as_bytes());
        bytes
    }

    #[test]
    fn records_have_their_level_and_other_text_has_none() {
        let bytes = [b"raw\n\nhalf".as_slice(), &record(4, "own"), b"\x1e", b"x\nlast"].concat();
        let expected = [
            (None, "raw".to_owned()),
            (None, "half".to_owned()),
            (Some(4), "own".to_owned()),
            (None, "x".to_owned()),
            (None, "last".to_owned()),
        ];
        for size in 1..bytes.len() {
            assert_eq!(lines(&bytes, size), expected, "{size}");
        }
    }

    #[test]
    fn text_of_a_record_cannot_be_taken_for_another_record() {
        let found = lines(&record(3, "one\x1e0forged\ntwo"), 5);
        let expected = [(Some(3), "one?0forged".to_owned()), (Some(3), "two".to_owned())];
        assert_eq!(found, expected);
    }

    #[test]
    fn line_that_is_too_long_comes_in_pieces_that_are_marked() {
        let text = "xé€".repeat(2000);
        for bytes in [record(3, &text), [text.as_bytes(), b"\n"].concat()] {
            for size in [1, 100, 3900, 5000, 50_000] {
                let found = lines(&bytes, size);
                assert_eq!(found.len(), 4, "{size}");
                let mut whole = String::new();
                for (index, (_, piece)) in found.iter().enumerate() {
                    let piece =
                        if index > 0 { piece.strip_prefix("[...] ").unwrap() } else { piece };
                    let last = index + 1 == found.len();
                    whole += if last { piece } else { piece.strip_suffix(" [...]").unwrap() };
                }
                assert!(whole == text, "{size}");
            }
        }
        assert!(record(3, &text).split(|&byte| byte == b'\n').all(|it| it.len() < MAX_WRITE));
        assert_eq!(lines(&[0x80; 9000], 4096).len(), 3);
    }
}
