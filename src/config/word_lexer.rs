//! The rest of a line as words, split by the rules of httpd's `ap_getword_conf`. It never knows
//! what the words mean.

/// All words of a line.
pub(crate) fn split_words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = WordLexer::new(line);
    std::iter::from_fn(|| words.next_word()).collect()
}

/// What of the line has not been read yet. Never starts with white space.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WordLexer<'a> {
    rest: &'a [u8],
}

impl<'a> WordLexer<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Self { rest: line.trim_ascii_start() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next word, unquoted. `None` at the end of the line; `""` is an empty word.
    ///
    /// Quotes count only where the word begins. Inside them a backslash escapes the quote and
    /// itself, outside only itself. A quote that is never closed ends with the line.
    pub(crate) fn next_word(&mut self) -> Option<Vec<u8>> {
        let (word, rest) = match *self.rest {
            [] => return None,
            [quote @ (b'"' | b'\''), ref inner @ ..] => {
                let end = closing_quote(inner, quote);
                (unescape(&inner[..end], Some(quote)), inner.get(end + 1..).unwrap_or_default())
            }
            _ => {
                let end = self.rest.iter().position(u8::is_ascii_whitespace);
                let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                (unescape(word, None), rest)
            }
        };
        self.rest = rest.trim_ascii_start();
        Some(word)
    }

    /// The name of a `name=value`, with everything up to and including the `=` read.
    pub(crate) fn next_name(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|c| *c == b'=' || c.is_ascii_whitespace())?;
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() || rest[0] != b'=' {
            return None;
        }
        // As in ap_getword_conf, white space after the `=` is skipped.
        self.rest = rest[1..].trim_ascii_start();
        Some(name)
    }
}

fn closing_quote(inner: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < inner.len() && inner[at] != quote {
        let escapes = inner[at] == b'\\'
            && inner.get(at + 1).is_some_and(|&next| next == quote || next == b'\\');
        at += if escapes { 2 } else { 1 };
    }
    at
}

fn unescape(word: &[u8], quote: Option<u8>) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut bytes = word.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped =
            bytes.next_if(|&next| byte == b'\\' && (next == b'\\' || Some(next) == quote));
        plain.push(escaped.unwrap_or(byte));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_and_unquoted_as_apache_does_it() {
        let table: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b"   ", &[]),
            (b"/ /srv/app.wsgi", &[b"/", b"/srv/app.wsgi"]),
            (b"  a \t b  ", &[b"a", b"b"]),
            (b"\"a b\" c", &[b"a b", b"c"]),
            (b"'a b' c", &[b"a b", b"c"]),
            (b"'a \"b' c", &[b"a \"b", b"c"]),
            (br#""a \"b\" \\ \n" c"#, &[br#"a "b" \ \n"#, b"c"]),
            (br"a\\b c\'d", &[br"a\b", br"c\'d"]),
            (b"\"\" x", &[b"", b"x"]),
            (b"\"never closed", &[b"never closed"]),
            (b"\"a\"b", &[b"a", b"b"]),
            (b"it's", &[b"it's"]),
            (b"\xff\xfe x", &[b"\xff\xfe", b"x"]),
        ];
        for (line, expected) in table {
            assert_eq!(&split_words(line), expected, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn an_option_name_ends_at_its_equals_sign_and_nowhere_else() {
        for (line, name, rest) in [
            ("a=b", Some("a"), "b"),
            ("  a= b", Some("a"), "b"),
            ("a=", Some("a"), ""),
            ("a =b", None, "a =b"),
            ("=b", None, "=b"),
            ("a", None, "a"),
            ("", None, ""),
        ] {
            let mut words = WordLexer::new(line.as_bytes());
            assert_eq!(words.next_name(), name.map(str::as_bytes), "{line}");
            assert_eq!(words.rest(), rest.as_bytes(), "{line}");
        }
    }
}
