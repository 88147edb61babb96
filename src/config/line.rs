//! One line of the configuration as a setter sees it: the directive, its arguments, and what it may
//! ask of the world around it. It never knows which config the setter writes to.

use std::fmt;

use super::error::quoted;
use super::expansion::is_expansion;
use super::suggestion::did_you_mean;
use super::word_lexer::WordLexer;
use super::{Bytes, ConfigError, ParseContext, SectionSelector};

/// A configuration line on its way to its setter.
pub(crate) struct Line<'a> {
    /// The directive's name and its one line of help, for sentences.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) args: Args<'a>,
    pub(crate) context: &'a dyn ParseContext,
    /// The `<WSGIInterpreterOptions>` the line stands in, if any.
    pub(super) section: Option<&'a SectionSelector>,
}

/// The arguments, in the shape [`super::Form`] asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Args<'a> {
    /// Split and unquoted by Apache.
    Words(&'a [&'a [u8]]),
    /// Everything after the directive's name, as written.
    Rest(&'a [u8]),
}

impl<'a> Line<'a> {
    /// The directive's name for a sentence.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// `<directive> <what>`
    pub(super) fn error(&self, what: impl fmt::Display) -> ConfigError {
        ConfigError::new(format!("{} {what}", self.name()))
    }

    /// `<directive> <what>, <help>`, which is how Apache words its own argument errors.
    pub(super) fn arity_error(&self, what: &str) -> ConfigError {
        self.error(format_args!("{what}, {}", self.help))
    }

    /// The arguments of a directive that Apache split.
    pub(super) fn args(&self) -> &'a [&'a [u8]] {
        match self.args {
            Args::Words(words) => words,
            Args::Rest(_) => &[],
        }
    }

    /// The arguments of a directive that reads the rest of its line itself.
    pub(super) fn words(&self) -> WordLexer<'a> {
        match self.args {
            Args::Words(_) => WordLexer::new(b""),
            Args::Rest(rest) => WordLexer::new(rest),
        }
    }

    /// Exactly one argument.
    pub(super) fn one(&self) -> Result<&'a [u8], ConfigError> {
        match self.args() {
            [value] => Ok(value),
            _ => Err(self.arity_error("takes one argument")),
        }
    }

    /// `On` or `Off`, in any case.
    pub(super) fn flag(&self) -> Result<bool, ConfigError> {
        self.choice(&[("Off", false), ("On", true)])
    }

    /// One of the given words, in any case.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let word = self.one()?;
        choices
            .iter()
            .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word))
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.error(format_args!(
                    "must be one of: {}, not {}{}",
                    names.join(" | "),
                    quoted(word),
                    did_you_mean(word, &names)
                ))
            })
    }

    /// Checks the name of a callable object: a call has no arguments, because what is between the parentheses would have
    /// to be evaluated.
    pub(super) fn check_callable(&self, name: &[u8]) -> Result<(), ConfigError> {
        if name.starts_with(b"%") || !name.contains(&b'(') || is_call(name) {
            return Ok(());
        }
        let written = String::from_utf8_lossy(name);
        Err(self.error(format_args!(
            "must name a callable object, or a function that makes one and needs no arguments, such as create_app(), \
             not {}; write \"application = {written}\" into the script instead",
            quoted(name)
        )))
    }

    /// Warns of an application group that looks like an expansion and is none of those that are expanded here: such a
    /// name is taken literally.
    pub(super) fn warn_of_unknown_expansion(&self, name: &[u8], expanded: &[&str]) {
        if name.starts_with(b"%{") && !is_expansion(name, expanded) {
            self.context.warn(&format!(
                "{} names the application group {}, which is not expanded here{}",
                self.name(),
                quoted(name),
                did_you_mean(name, expanded)
            ));
        }
    }

    /// A path of ours, made absolute below `ServerRoot`. An absolute path stays as it was written.
    pub(super) fn script_path(&self, path: &[u8]) -> Result<Bytes, ConfigError> {
        if path.starts_with(b"/") {
            return Ok(path.into());
        }
        match self.context.server_root_relative(path) {
            Some(path) => Ok(path.into()),
            None => Err(self.error(format_args!(
                "cannot make the path {} absolute below ServerRoot",
                quoted(path)
            ))),
        }
    }
}

/// Whether it is the name of a function with nothing between its parentheses.
fn is_call(text: &[u8]) -> bool {
    text.strip_suffix(b"()").is_some_and(|name| {
        // Letters of other alphabets are letters for Python, too.
        let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii();
        name.first().is_some_and(|&first| letter(first))
            && name.iter().all(|&byte| letter(byte) || byte.is_ascii_digit())
    })
}
