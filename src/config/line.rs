//! One line of the configuration as a setter sees it: the directive, its arguments, and what it may
//! ask of the world around it. It never knows which config the setter writes to.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::error::quoted;
use super::words::Words;
use super::{ConfigError, Directive, SectionSelector};

/// A configured value. Paths and names need not be UTF-8; a clone is a reference count.
pub(crate) type Bytes = Arc<[u8]>;

/// A configuration line on its way to its setter.
pub(crate) struct Line<'a> {
    pub(crate) directive: &'static Directive,
    pub(crate) args: Args<'a>,
    pub(crate) surroundings: &'a dyn Surroundings,
    /// The `<WSGIInterpreterOptions>` the line stands in, if any.
    pub(crate) section: Option<&'a SectionSelector>,
}

/// The arguments, in the shape [`super::Form`] asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Args<'a> {
    /// Split and unquoted by Apache.
    Words(&'a [&'a [u8]]),
    /// Everything after the directive's name, as written.
    Rest(&'a [u8]),
}

/// What a setter may ask of the world. Apache answers; in unit tests a stub does.
pub(crate) trait Surroundings {
    /// `path` below `ServerRoot` when it is relative (httpd: `ap_server_root_relative`).
    fn server_root_relative(&self, path: &[u8]) -> Option<Vec<u8>>;

    /// An extended regular expression, by Apache's own engine. `None`: it could not be compiled.
    fn compile(&self, pattern: &[u8]) -> Option<Arc<dyn Pattern>>;

    /// Whether the line stands in a `<Directory>`, `<Location>`, `<Files>` or `<If>` section.
    fn in_section(&self) -> bool;

    /// The server the line stands in.
    fn server(&self) -> ServerIdentity;

    /// One line at `warn` in the error log.
    fn warn(&self, sentence: &str);

    /// One line at `info` in the error log.
    fn notice(&self, sentence: &str);

    /// The uid of a user name, or of `#uid` when such a user exists.
    fn user_id(&self, name: &[u8]) -> Option<u32>;

    /// The gid of a group name, or of `#gid`.
    fn group_id(&self, name: &[u8]) -> Option<u32>;

    /// Whether this process may change its root directory and its user.
    fn is_root(&self) -> bool;
}

/// A compiled regular expression.
pub(crate) trait Pattern: Send + Sync + fmt::Debug {
    /// The span of the match and of each of its groups, the whole match first.
    fn find(&self, subject: &[u8]) -> Option<Vec<Option<Range<usize>>>>;
}

/// Which server a line stands in, as far as the configuration has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServerIdentity {
    /// `ServerName` as configured, without its port.
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) is_virtual: bool,
    pub(crate) port: u16,
    /// `file:line` of its `<VirtualHost>`, or of the main server's file.
    pub(crate) defined_at: String,
}

impl<'a> Line<'a> {
    /// The directive's name for a sentence.
    pub(crate) fn name(&self) -> &'static str {
        self.directive.name()
    }

    /// `<directive> <what>`
    pub(super) fn error(&self, what: impl fmt::Display) -> ConfigError {
        ConfigError::new(format!("{} {what}", self.name()))
    }

    /// `<directive> <what>, <help>`, which is how Apache words its own argument errors.
    pub(super) fn arity_error(&self, what: &str) -> ConfigError {
        self.error(format_args!("{what}, {}", self.directive.help()))
    }

    /// The arguments of a directive that Apache split.
    pub(super) fn args(&self) -> &'a [&'a [u8]] {
        match self.args {
            Args::Words(words) => words,
            Args::Rest(_) => &[],
        }
    }

    /// The arguments of a directive that reads the rest of its line itself.
    pub(super) fn words(&self) -> Words<'a> {
        match self.args {
            Args::Words(_) => Words::new(b""),
            Args::Rest(rest) => Words::new(rest),
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
                    "must be one of: {}, not {}",
                    names.join(" | "),
                    quoted(word)
                ))
            })
    }

    /// A path of ours, made absolute below `ServerRoot`. An absolute path stays as it was written.
    pub(super) fn script_path(&self, path: &[u8]) -> Result<Bytes, ConfigError> {
        if path.starts_with(b"/") {
            return Ok(path.into());
        }
        match self.surroundings.server_root_relative(path) {
            Some(path) => Ok(path.into()),
            None => Err(self.error(format_args!(
                "cannot make the path {} absolute below ServerRoot",
                quoted(path)
            ))),
        }
    }
}
