//! Where lines are printed, and in which form. Lines of static files are counted and printed as one.

use super::errors::ErrorLine;
use super::requests::{RequestLine, duration};
use super::style::{Style, paint};
use crate::options::{LogFormat, Logs};
use std::io::{IsTerminal, Write};

/// Standard output for requests, standard error for everything else.
#[derive(Debug)]
pub(crate) struct Output {
    is_json: bool,
    has_colours: bool,
    prints_all: bool,
    /// Static files since the last line: their number and microseconds.
    files: (u64, u64),
}

/// Writes to standard error; where that is closed there is no reader.
pub(crate) fn to_standard_error(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Writes to standard output; where that is closed there is no reader.
pub(crate) fn to_standard_output(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

impl Output {
    pub(crate) fn new(options: &Logs) -> Self {
        let is_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        // https://no-color.org/
        let wants_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_json = options.log_format == LogFormat::Json;
        Self {
            is_json,
            has_colours: options.log_format == LogFormat::Auto && is_terminal && !wants_none,
            // A program that reads the lines counts for itself.
            prints_all: options.verbose || is_json,
            files: (0, 0),
        }
    }

    /// A line of the access log.
    pub(crate) fn request(&mut self, line: &str) {
        let Some(request) = RequestLine::parse(line) else {
            return to_standard_output(&format!("{line}\n"));
        };
        if !self.prints_all && request.is_static() {
            self.files = (self.files.0 + 1, self.files.1 + request.microseconds);
            return;
        }
        self.flush();
        to_standard_output(&match self.is_json {
            true => json(&request),
            false => format!("{}\n", request.text(self.has_colours)),
        });
    }

    /// A line of the error log.
    pub(crate) fn error(&mut self, line: &str) {
        let line = ErrorLine::parse(line);
        if line.is_of_course() && !self.prints_all {
            return;
        }
        self.flush();
        to_standard_error(&match self.is_json {
            true => json(&line),
            false => format!("{}\n", line.text(self.has_colours)),
        });
    }

    /// A line of the launcher itself.
    pub(crate) fn say(&mut self, text: &str) {
        self.tell("notice", text, Style::Strong);
    }

    /// One about something that is wrong.
    pub(crate) fn warn(&mut self, text: &str) {
        self.tell("warn", text, Style::Notice);
    }

    fn tell(&mut self, level: &str, text: &str, style: Style) {
        self.flush();
        to_standard_error(&match self.is_json {
            true => json(&ErrorLine {
                level: level.to_owned(),
                module: "mod_wsgi_rs".to_owned(),
                pid: String::new(),
                message: text.to_owned(),
            }),
            false => format!("{}\n", paint(text, style, self.has_colours)),
        });
    }

    /// Whether static files have been counted that no line tells of.
    pub(crate) fn has_files(&self) -> bool {
        self.files.0 > 0
    }

    /// Tells of the static files so far.
    pub(crate) fn flush(&mut self) {
        let (count, microseconds) = std::mem::take(&mut self.files);
        if count > 0 {
            let files = if count == 1 { "file" } else { "files" };
            let text = format!("         {count} static {files} {}", duration(microseconds));
            to_standard_output(&format!("{}\n", paint(&text, Style::Faint, self.has_colours)));
        }
    }
}

fn json(line: &impl serde::Serialize) -> String {
    // Texts and numbers can always be written.
    serde_json::to_string(line).map(|text| text + "\n").unwrap_or_default()
}
