//! `name=value` options after the positional arguments of a directive. It never knows what an
//! option is for: each value carries what its sentence needs, and reads itself into a number, a
//! flag or a path.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::quoted;
use super::suggestion::did_you_mean;
use super::word_lexer::WordLexer;
use super::{Bytes, ConfigError, Line};

/// The most that mod_wsgi's `int` options hold.
pub(super) const INT_MAX: i64 = i32::MAX as i64;

/// The options of one line, one at a time.
pub(super) struct Options<'a> {
    line: &'a Line<'a>,
    words: WordLexer<'a>,
    allowed: Vec<&'static str>,
}

/// One option: its name is one of those allowed, its value has been unquoted.
pub(super) struct OptionValue<'a> {
    line: &'a Line<'a>,
    pub(super) name: &'static str,
    pub(super) text: Vec<u8>,
}

impl<'a> Options<'a> {
    pub(super) fn new(
        line: &'a Line<'a>,
        words: WordLexer<'a>,
        allowed: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        Self { line, words, allowed: allowed.into_iter().collect() }
    }

    /// The next option, `None` at the end of the line. Names are case-sensitive.
    pub(super) fn next_option(&mut self) -> Result<Option<OptionValue<'a>>, ConfigError> {
        if self.words.is_empty() {
            return Ok(None);
        }
        let here = self.words.rest();
        let Some(name) = self.words.next_name() else {
            let word = WordLexer::new(here).next_word().unwrap_or_default();
            return Err(self.unknown(&word));
        };
        let Some(name) = self.allowed.iter().copied().find(|known| known.as_bytes() == name) else {
            return Err(self.unknown(name));
        };
        let text = self.words.next_word().unwrap_or_default();
        Ok(Some(OptionValue { line: self.line, name, text }))
    }

    fn unknown(&self, word: &[u8]) -> ConfigError {
        self.line.error(format_args!(
            "has no option {}{}; it takes name=value with one of these names: {}",
            quoted(word),
            did_you_mean(word, &self.allowed),
            self.allowed.join(", ")
        ))
    }
}

impl<'a> OptionValue<'a> {
    /// The line the option stands on.
    pub(super) fn line(&self) -> &'a Line<'a> {
        self.line
    }

    /// `<directive>: <option>=<value> <what>`
    pub(super) fn error(&self, what: &str) -> ConfigError {
        ConfigError::new(format!(
            "{}: {}={} {what}",
            self.line.name(),
            self.name,
            quoted(&self.text)
        ))
    }

    /// Any value but the empty one.
    pub(super) fn not_empty(&self, thing: &str) -> Result<&[u8], ConfigError> {
        if self.text.is_empty() {
            return Err(self.error(&format!("is not allowed, it must name {thing}")));
        }
        Ok(&self.text)
    }

    /// The name of a process group; `%{GLOBAL}` is written down as the empty name.
    pub(super) fn process_group(&self) -> Result<Bytes, ConfigError> {
        self.not_empty("a process group").map(global_is_empty)
    }

    /// The name of an application group, which may be one of the expansions `expanded`; `%{GLOBAL}` is written down as
    /// the empty name.
    pub(super) fn application_group(&self, expanded: &[&str]) -> Result<Bytes, ConfigError> {
        let name = self.not_empty("an application group")?;
        self.line.warn_of_unknown_expansion(name, expanded);
        Ok(global_is_empty(name))
    }

    /// `On` or `Off`, in any case.
    pub(super) fn flag(&self) -> Result<bool, ConfigError> {
        match self.text.to_ascii_lowercase().as_slice() {
            b"on" => Ok(true),
            b"off" => Ok(false),
            _ => {
                let meant = did_you_mean(&self.text, ["Off", "On"]);
                Err(self.error(&format!("must be one of: Off | On{meant}")))
            }
        }
    }

    /// A whole number of `unit`. Text after the digits is ignored with a warning: mod_wsgi reads
    /// with atoi.
    pub(super) fn number(
        &self,
        allowed: RangeInclusive<i64>,
        unit: &str,
    ) -> Result<i64, ConfigError> {
        let refused = || {
            let (least, most) = (allowed.start(), allowed.end());
            match (*least, *most) {
                (i64::MIN, _) => self.error(&format!("must be {unit}, a whole number")),
                (least, most) if most >= INT_MAX => {
                    self.error(&format!("must be {unit}, a whole number of at least {least}"))
                }
                _ => self.error(&format!("must be {unit}, from {least} to {most}")),
            }
        };
        let (number, rest) = leading_number(&self.text).ok_or_else(refused)?;
        if !allowed.contains(&number) {
            return Err(refused());
        }
        if !rest.is_empty() {
            self.line.context.warn(&format!(
                "{}: {}={} is read as {number}, {} is ignored",
                self.line.name(),
                self.name,
                quoted(&self.text),
                quoted(rest)
            ));
        }
        Ok(number)
    }

    /// Whole seconds; 0 means off.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, ConfigError> {
        Ok(Some(self.seconds()?).filter(|time| !time.is_zero()))
    }

    /// Whole seconds.
    pub(super) fn seconds(&self) -> Result<Duration, ConfigError> {
        let seconds = self.number(0..=INT_MAX, "a number of seconds")?;
        Ok(Duration::from_secs(seconds.unsigned_abs()))
    }

    /// A size in bytes of at least `least`; 0 means the default.
    pub(super) fn size(&self, least: i64) -> Result<Option<usize>, ConfigError> {
        let size = self.number(0..=INT_MAX, "a number of bytes")?;
        if size != 0 && size < least {
            return Err(
                self.error(&format!("must be at least {least} bytes, or 0 for the default"))
            );
        }
        Ok(usize::try_from(size).ok().filter(|size| *size != 0))
    }

    /// A 64-bit number of bytes; 0 means no limit.
    pub(super) fn limit(&self) -> Result<Option<u64>, ConfigError> {
        let limit = self.number(0..=i64::MAX, "a number of bytes")?;
        Ok(Some(limit.unsigned_abs()).filter(|limit| *limit != 0))
    }

    /// Says that the option has no effect any more.
    pub(super) fn deprecated_option(&self) -> Result<(), ConfigError> {
        self.line.context.warn(&format!(
            "{}: {}= has no effect: the application starts the New Relic agent itself since mod_wsgi 6",
            self.line.name(),
            self.name
        ));
        Ok(())
    }

    /// A path that begins with `/`.
    pub(super) fn absolute_path(&self) -> Result<Bytes, ConfigError> {
        if !self.text.starts_with(b"/") {
            return Err(self.error("must be an absolute path"));
        }
        Ok(self.text.as_slice().into())
    }
}

/// A group's name as it is kept: `%{GLOBAL}` is the empty name.
pub(super) fn global_is_empty(name: &[u8]) -> Bytes {
    if name == b"%{GLOBAL}" { Bytes::default() } else { name.into() }
}

/// The number at the start of the text and what follows it.
pub(super) fn leading_number(text: &[u8]) -> Option<(i64, &[u8])> {
    let text = text.trim_ascii();
    let sign = text.first().is_some_and(|first| matches!(first, b'-' | b'+'));
    let digits = text[usize::from(sign)..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(usize::from(sign) + digits);
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

/// A finite number, the whole text.
pub(super) fn decimal(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Apache, with_line};
    use super::*;

    /// Reads `text` as the options of a line that allows `a` and `b-c`.
    fn read(text: &str) -> Result<Vec<(&'static str, String)>, String> {
        let apache = Apache::default();
        let line = format!("WSGIScriptAlias {text}");
        let read = with_line(&apache, None, &line, |_, line| {
            let mut options = Options::new(line, line.words(), ["a", "b-c"]);
            let mut found = Vec::new();
            while let Some(value) = options.next_option()? {
                found.push((value.name, String::from_utf8_lossy(&value.text).into_owned()));
            }
            Ok(found)
        });
        read.map_err(|error| error.to_string())
    }

    /// Runs `get` on an option of that value.
    fn value<T>(
        text: &str,
        get: impl FnOnce(&OptionValue<'_>) -> Result<T, ConfigError>,
    ) -> (Result<T, String>, Vec<String>) {
        let apache = Apache::default();
        let line = format!("WSGIScriptAlias a={text}");
        let read = with_line(&apache, None, &line, |_, line| {
            let mut options = Options::new(line, line.words(), ["a"]);
            let value = options.next_option()?.expect("there is one option");
            get(&value)
        });
        (read.map_err(|error| error.to_string()), apache.warnings.take())
    }

    #[test]
    fn options_are_names_and_quoted_or_plain_values() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("a=1", &[("a", "1")]),
            ("a=1 b-c=2  a=3", &[("a", "1"), ("b-c", "2"), ("a", "3")]),
            ("a='x y' b-c=\"z\\\"\"", &[("a", "x y"), ("b-c", "z\"")]),
            ("a='' b-c=", &[("a", ""), ("b-c", "")]),
            ("a=x=y", &[("a", "x=y")]),
            ("a= 1", &[("a", "1")]),
        ];
        for (text, expected) in table {
            let expected = expected.iter().map(|(name, value)| (*name, (*value).to_owned()));
            assert_eq!(read(text), Ok(expected.collect::<Vec<_>>()), "{text}");
        }
    }

    #[test]
    fn what_is_no_option_is_answered_with_those_there_are() {
        for (text, word, meant) in [
            ("a", "a", ""),
            ("a =1", "a", ""),
            ("A=1", "A", " (did you mean \"a\"?)"),
            ("d=1", "d", ""),
            ("bc=1", "bc", " (did you mean \"b-c\"?)"),
            ("=1", "=1", ""),
            ("a=1 'x y'", "x y", ""),
        ] {
            let sentence = read(text).unwrap_err();
            let expected = format!(
                "WSGIScriptAlias has no option \"{word}\"{meant}; it takes name=value with one of these \
                 names: a, b-c"
            );
            assert_eq!(sentence, expected, "{text}");
        }
    }

    #[test]
    fn a_number_is_read_as_far_as_it_goes_with_a_warning() {
        let read = |text| value(text, |value| value.number(0..=9, "a number of things"));
        for (text, expected, warns) in [
            ("0", Ok(0), false),
            ("9", Ok(9), false),
            ("'+7'", Ok(7), false),
            ("7s", Ok(7), true),
            ("10", Err(()), false),
            ("-1", Err(()), false),
            ("''", Err(()), false),
            ("x", Err(()), false),
            ("99999999999999999999", Err(()), false),
        ] {
            let (number, warnings) = read(text);
            assert_eq!((number.map_err(drop), !warnings.is_empty()), (expected, warns), "{text}");
        }
        assert_eq!(
            read("x").0.unwrap_err(),
            "WSGIScriptAlias: a=\"x\" must be a number of things, from 0 to 9"
        );
    }

    #[test]
    fn zero_turns_off_what_can_be_turned_off() {
        assert_eq!(value("0", |it| it.timeout()).0, Ok(None));
        assert_eq!(value("2", |it| it.timeout()).0, Ok(Some(Duration::from_secs(2))));
        assert_eq!(value("0", |it| it.seconds()).0, Ok(Duration::ZERO));
        assert_eq!(value("0", |value| value.size(512)).0, Ok(None));
        assert_eq!(value("512", |value| value.size(512)).0, Ok(Some(512)));
        assert_eq!(
            value("511", |value| value.size(512)).0.unwrap_err(),
            "WSGIScriptAlias: a=\"511\" must be at least 512 bytes, or 0 for the default"
        );
        assert_eq!(value("0", |it| it.limit()).0, Ok(None));
        assert_eq!(value("8589934592", |it| it.limit()).0, Ok(Some(1 << 33)));
    }

    #[test]
    fn a_decimal_is_finite_and_whole() {
        for (text, expected) in [
            ("0.5", Some(0.5)),
            ("1e-3", Some(0.001)),
            ("2", Some(2.0)),
            ("", None),
            ("1s", None),
            ("inf", None),
            ("nan", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), expected, "{text}");
        }
    }
}
