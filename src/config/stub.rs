//! A stand-in for Apache in this room's unit tests: it reads lines from a text and remembers what
//! was said.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::word_lexer::WordLexer;
use super::{
    Args, ConfigError, DIRECTIVES, Directive, DirectoryConfig, Form, Line, ParseContext, Pattern,
    ProcessConfig, Scope, SectionSelector, ServerConfig, ServerIdentity,
};

/// The world around a line.
#[derive(Default)]
pub(super) struct Apache {
    pub(super) server: ServerIdentity,
    pub(super) root: bool,
    pub(super) warnings: RefCell<Vec<String>>,
    pub(super) notices: RefCell<Vec<String>>,
}

/// One main server with its configs.
#[derive(Default)]
pub(super) struct Configuration {
    pub(super) apache: Apache,
    pub(super) process: ProcessConfig,
    pub(super) server: ServerConfig,
    pub(super) directory: DirectoryConfig,
    pub(super) section: Option<SectionSelector>,
}

impl Configuration {
    /// Reads one line as Apache would.
    pub(super) fn read(&mut self, text: &str) -> Result<(), ConfigError> {
        let Self { apache, process, server, directory, section } = self;
        let directive = with_line(apache, section.as_ref(), text, |directive, line| {
            directive.run(Scope::ServerFiles { process, server, directory }, line)?;
            Ok(directive)
        })?;
        if directive.form == Form::Section {
            *section = process.interpreter_sections.last().map(|opened| opened.selector.clone());
        }
        Ok(())
    }

    /// Reads one line, and what it opens or closes.
    pub(super) fn store(&mut self, text: &str) -> Result<(), ConfigError> {
        if text == "</WSGIInterpreterOptions>" {
            self.section = None;
            return Ok(());
        }
        let directive = with_line(&self.apache, None, text, |directive, _| Ok(directive))?;
        self.read(text)?;
        if directive.form == Form::Section {
            let opened = self.process.interpreter_sections.last();
            self.section = opened.map(|opened| opened.selector.clone());
        }
        Ok(())
    }

    /// The sentence with which a line is refused.
    pub(super) fn refusal(&mut self, text: &str) -> String {
        match self.store(text) {
            Ok(()) => panic!("{text} was accepted"),
            Err(error) => error.to_string(),
        }
    }

    pub(super) fn read_all(&mut self, lines: &[&str]) {
        for line in lines {
            self.store(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    /// The warnings since the last time.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.apache.warnings.take()
    }
}

/// A configuration that has read these lines.
pub(super) fn configuration(lines: &[&str]) -> Configuration {
    let mut configuration = Configuration::default();
    configuration.read_all(lines);
    configuration
}

/// Makes a [`Line`] of a text and hands it on with its directive.
pub(super) fn with_line<T>(
    apache: &Apache,
    section: Option<&SectionSelector>,
    text: &str,
    then: impl FnOnce(&'static Directive, &Line<'_>) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    let (name, rest) = text.split_at(text.find([' ', '>']).unwrap_or(text.len()));
    let directive = directive(name);
    let mut words = WordLexer::new(rest.as_bytes());
    let words: Vec<Vec<u8>> = std::iter::from_fn(|| words.next_word()).collect();
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let args = match directive.form {
        Form::Words => Args::Words(&words),
        Form::Raw | Form::Section => Args::Rest(rest.trim().as_bytes()),
    };
    then(directive, &directive.line(args, apache, section))
}

pub(super) fn directive(name: &str) -> &'static Directive {
    let found = DIRECTIVES.iter().find(|directive| directive.name.to_bytes() == name.as_bytes());
    found.unwrap_or_else(|| panic!("no directive {name}"))
}

impl ParseContext for Apache {
    fn server_root_relative(&self, path: &[u8]) -> Option<Vec<u8>> {
        match path {
            b"" => None,
            [b'/', ..] => Some(path.to_vec()),
            _ => Some([b"/etc/apache2/", path].concat()),
        }
    }

    fn compile(&self, pattern: &[u8]) -> Option<Arc<dyn Pattern>> {
        (!pattern.contains(&b'(') || pattern.contains(&b')'))
            .then(|| Arc::new(Component(pattern.to_vec())) as _)
    }

    fn in_section(&self) -> bool {
        false
    }

    fn server(&self) -> ServerIdentity {
        self.server.clone()
    }

    fn place(&self) -> String {
        "stub.conf:1".to_owned()
    }

    fn warn(&self, sentence: &str) {
        self.warnings.borrow_mut().push(sentence.to_owned());
    }

    fn notice(&self, sentence: &str) {
        self.notices.borrow_mut().push(sentence.to_owned());
    }

    fn user_id(&self, name: &[u8]) -> Option<u32> {
        match name {
            b"root" | b"#0" => Some(0),
            b"alice" | b"#1000" => Some(1000),
            _ => None,
        }
    }

    fn group_id(&self, name: &[u8]) -> Option<u32> {
        match name {
            b"staff" | b"#50" => Some(50),
            b"www" => Some(33),
            _ => None,
        }
    }

    fn is_root(&self) -> bool {
        self.root
    }
}

/// The one regular expression the tests need: `^<text>([^/]+)`, or `^<text>` without a group.
#[derive(Debug)]
struct Component(Vec<u8>);

impl Pattern for Component {
    fn find(&self, subject: &[u8]) -> Option<Vec<Option<Range<usize>>>> {
        let text = self.0.strip_prefix(b"^")?;
        let Some(text) = text.strip_suffix(b"([^/]+)") else {
            return subject.starts_with(text).then(|| vec![Some(0..text.len())]);
        };
        let rest = subject.strip_prefix(text)?;
        let length = rest.iter().take_while(|byte| **byte != b'/').count();
        let end = text.len() + length;
        (length > 0).then(|| vec![Some(0..end), Some(text.len()..end), None])
    }
}
