//! Lines of any length as records that Apache's error log keeps whole. Where a record goes is not known here.

use std::borrow::Cow;

/// How wide the text of a record may be, in bytes of the log file. Apache cuts a record at 8192 (`MAX_STRING_LEN`); what
/// is left is for the time, the client and the rest of `ErrorLogFormat`.
const WIDTH: usize = 7800;
/// The end of a record that is continued.
const CONTINUED: &[u8] = b" [...]";
/// The beginning of a record that continues another one.
const CONTINUES: &[u8] = b"[...] ";

/// The line as one record, or as several that are marked, none of which ends within a character of UTF-8.
pub fn log_pieces(line: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let mut rest = Some(line);
    let mut begin: &[u8] = b"";
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let room = WIDTH - begin.len();
        if fitting(text, room) == text.len() {
            return Some(if begin.is_empty() {
                Cow::Borrowed(text)
            } else {
                Cow::Owned([begin, text].concat())
            });
        }
        let (piece, after) =
            text.split_at(last_boundary(text, fitting(text, room - CONTINUED.len())));
        let record = [begin, piece, CONTINUED].concat();
        rest = Some(after);
        begin = CONTINUES;
        Some(Cow::Owned(record))
    })
}

/// How many bytes of the text fit.
fn fitting(text: &[u8], room: usize) -> usize {
    // Most lines are short, whatever is in them.
    if text.len() <= room / 4 {
        return text.len();
    }
    let mut left = room;
    let beyond = text.iter().position(|&byte| match left.checked_sub(width(byte)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    beyond.unwrap_or(text.len())
}

/// The width of a byte once Apache has escaped it (`ap_escape_errorlog_item`). A NUL is written as `\\0`.
const fn width(byte: u8) -> usize {
    match byte {
        b'\\' | 0x08 | b'\t' | b'\n' | 0x0b | b'\r' => 2,
        b' '..=b'~' => 1,
        0 => 3,
        _ => 4,
    }
}

/// The last place at or before `end` where a character of UTF-8 begins; `end` itself in other text.
fn last_boundary(text: &[u8], end: usize) -> usize {
    let begins = |&at: &usize| text.get(at).is_none_or(|byte| byte & 0xc0 != 0x80);
    (end.saturating_sub(3).max(1)..=end).rev().find(begins).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_only_where_it_is_too_wide_and_at_a_character() {
        let table = [
            (String::new(), 1),
            ("x".repeat(WIDTH), 1),
            ("x".repeat(WIDTH + 1), 2),
            ("x".repeat(20_000), 3),
            ("é".repeat(WIDTH / 8), 1),
            ("é".repeat(20_000), 21),
            ("x€😀".repeat(3000), 12),
            ("\\".repeat(WIDTH / 2 + 1), 2),
        ];
        for (line, count) in table {
            let pieces: Vec<_> = log_pieces(line.as_bytes()).collect();
            assert_eq!(pieces.len(), count, "{} bytes", line.len());
            let mut whole = String::new();
            for (index, piece) in pieces.iter().enumerate() {
                let text = std::str::from_utf8(piece).unwrap();
                assert!(text.bytes().map(width).sum::<usize>() <= WIDTH);
                let text = if index > 0 { text.strip_prefix("[...] ").unwrap() } else { text };
                let last = index + 1 == pieces.len();
                whole += if last { text } else { text.strip_suffix(" [...]").unwrap() };
            }
            assert!(whole == line);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_cut_all_the_same() {
        let line = [0x80; 5000];
        let length: usize = log_pieces(&line).map(|piece| piece.len()).sum();
        assert_eq!(length, 5000 + 12 * (log_pieces(&line).count() - 1));
    }
}
