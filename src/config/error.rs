//! Why a line was refused: one sentence for the administrator. It never knows the file or the line
//! number; Apache prints those before it.

use std::fmt;

/// A sentence that names the directive, the value and what is allowed in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError(String);

impl ConfigError {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// The one way to say that this build of the module lacks what `what` needs.
    pub(crate) fn without_python(what: &str) -> Self {
        Self(format!(
            "{what} needs Python in Apache's own processes, and this module was built without it"
        ))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A configured value inside a sentence: quoted, bytes that are not UTF-8 replaced. httpd cuts long
/// sentences, so that of a long value the beginning has to do.
pub(super) fn quoted(value: &[u8]) -> String {
    const SHOWN: usize = 1000;
    match value.get(..SHOWN) {
        Some(beginning) => format!("\"{}...\"", String::from_utf8_lossy(beginning)),
        None => format!("\"{}\"", String::from_utf8_lossy(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_value_is_shown_up_to_a_length() {
        assert_eq!(quoted(b"a\xff"), "\"a\u{fffd}\"");
        assert_eq!(quoted(&[b'x'; 999]), format!("\"{}\"", "x".repeat(999)));
        assert_eq!(quoted(&[b'x'; 5000]), format!("\"{}...\"", "x".repeat(1000)));
    }
}
