//! The value of `environment=`. It never knows the values of Apache's variables.

use super::ConfigError;
use super::options::OptionValue;
use super::suggestion::did_you_mean;
use super::word_lexer::split_words;
use group_config::Environment;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Reads the value of an option, with a warning for what is probably misspelt.
pub(super) fn read_environment(value: &OptionValue<'_>) -> Result<Environment, ConfigError> {
    let environment = parse_environment(&value.text).ok_or_else(|| {
        value.error("must be inherit, none, or names and NAME=value with spaces between them")
    })?;
    for name in environment.names.iter().filter(|name| std::env::var_os(name).is_none()) {
        if let Some(meant) = misspelt_word(name) {
            value.line().context.warn(&format!(
                "{}: environment= names the variable \"{}\", which Apache does not have{meant}",
                value.line().name(),
                name.to_string_lossy()
            ));
        }
    }
    Ok(environment)
}

/// What a name was probably meant to be that is like one of the words. Names of variables are in capitals.
fn misspelt_word(name: &OsStr) -> Option<String> {
    const WORDS: [&str; 2] = ["inherit", "none"];
    let is_word = WORDS.iter().any(|word| name.eq_ignore_ascii_case(word));
    let has_small_letter = name.as_bytes().iter().any(u8::is_ascii_lowercase);
    let meant = did_you_mean(name.as_bytes(), WORDS);
    (is_word || has_small_letter && !meant.is_empty()).then_some(meant)
}

/// `inherit`, `none`, names and `NAME=value` as words, which are split as Apache splits a line: where a value has white
/// space, the whole word is quoted. `None` where it is something else.
fn parse_environment(text: &[u8]) -> Option<Environment> {
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
    fn a_name_that_is_like_a_word_is_probably_misspelt() {
        for (name, meant) in [
            ("Inherit", Some("inherit")),
            ("NONE", Some("none")),
            ("inherti", Some("inherit")),
            ("HOME", None),
            ("http_proxy", None),
        ] {
            let expected = meant.map(|word| format!(" (did you mean \"{word}\"?)"));
            assert_eq!(misspelt_word(OsStr::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn something_else_is_refused() {
        for text in ["", "none A", "A none", "=1", "none=1", "inherit=1", "A ''"] {
            assert_eq!(parse_environment(text.as_bytes()), None, "{text}");
        }
    }
}
