//! The value of `environment=`. It never knows what is in Apache's environment.

use super::word_lexer::split_words;
use group_config::Environment;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// `inherit`, `none`, names and `NAME=value` as words, which are split as Apache splits a line: where a value has white
/// space, the whole word is quoted. `None` where it is something else.
pub(super) fn parse_environment(text: &[u8]) -> Option<Environment> {
    let mut environment = Environment { inherit: false, ..Environment::default() };
    let words = split_words(text);
    let own = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    for word in &words {
        let mut parts = word.splitn(2, |byte| *byte == b'=');
        match (parts.next()?, parts.next()) {
            (b"inherit", None) => environment.inherit = true,
            (b"none", None) if words.len() == 1 => {}
            (b"inherit" | b"none" | b"", _) => return None,
            (name, None) => environment.names.push(own(name)),
            (name, Some(value)) => environment.values.push((own(name), own(value))),
        }
    }
    (!words.is_empty()).then_some(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_names_and_values() {
        let text = br#"inherit TOKEN A=1 "B=x y" C= D=e=f"#;
        let value = |(name, value): (&str, &str)| (name.into(), value.into());
        let values = [("A", "1"), ("B", "x y"), ("C", ""), ("D", "e=f")].map(value).to_vec();
        let names = vec!["TOKEN".into()];
        assert_eq!(parse_environment(text), Some(Environment { inherit: true, names, values }));
        assert_eq!(parse_environment(b"inherit"), Some(Environment::default()));
        let none = Environment { inherit: false, ..Environment::default() };
        assert_eq!(parse_environment(b"none"), Some(none));
    }

    #[test]
    fn something_else_is_refused() {
        for text in ["", "none A", "A none", "=1", "none=1", "inherit=1", "A ''"] {
            assert_eq!(parse_environment(text.as_bytes()), None, "{text}");
        }
    }
}
