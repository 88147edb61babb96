//! A line that an application has printed, as a line of JSON (`WSGILogFormat json`), in ASCII. It must never know where the
//! line goes. Records of `logging` are made into JSON by `log_handler.py`, with the same fields.
#![forbid(unsafe_code)]

use std::fmt::Write;
use std::sync::Arc;
use wsgi::{Level, UtcTime};

/// What all lines of an interpreter say.
pub(crate) struct JsonSource {
    /// Empty in embedded mode.
    pub(crate) process_group: String,
    /// Empty for the main interpreter.
    pub(crate) application_group: String,
}

/// What lines to one stream say beside their text.
#[derive(Clone)]
pub(crate) struct JsonLine {
    pub(crate) source: Arc<JsonSource>,
    /// The stream, in place of the name of a logger.
    pub(crate) stream: &'static str,
    /// `mod_wsgi.request_id` of the request in which it was written.
    pub(crate) request_id: Option<String>,
}

/// The longest line: what is longer is cut on its way to httpd.
const MOST: usize = 3700;
/// The most bytes of it in httpd's log, which has each backslash twice and cuts lines, too.
const MOST_ESCAPED: usize = 7000;

impl JsonLine {
    /// Whether text of one is no part of a line of the other: they are of different streams.
    pub(crate) fn are_apart(one: Option<&Self>, other: Option<&Self>) -> bool {
        one.map(|it| it.stream) != other.map(|it| it.stream)
    }

    /// The line of JSON for `text`.
    pub(crate) fn of(&self, level: Level, text: &[u8]) -> Vec<u8> {
        let now = u64::try_from(wsgi::epoch_micros()).unwrap_or(0);
        self.at(now, level, &String::from_utf8_lossy(text))
    }

    /// The same at this time, in microseconds since the epoch.
    fn at(&self, now: u64, level: Level, text: &str) -> Vec<u8> {
        let mut end = String::from("\"");
        match &self.request_id {
            Some(id) => {
                end.push_str(",\"request_id\":\"");
                end.extend(id.chars().map(Escaped::of).map(|it| it.0));
                end.push('"');
            }
            None => end.push_str(",\"request_id\":null"),
        }
        for (name, value) in [
            ("process_group", &self.source.process_group),
            ("application_group", &self.source.application_group),
        ] {
            let _ = write!(end, ",\"{name}\":\"");
            end.extend(value.chars().map(Escaped::of).map(|it| it.0));
            end.push('"');
        }
        let _ = write!(end, ",\"pid\":{}", std::process::id());
        let mut line = format!(
            "{{\"time\":\"{}\",\"level\":\"{}\",\"logger\":\"{}\",\"message\":\"",
            UtcTime(now).iso(),
            level_name(level),
            self.stream
        );
        let truncated = ",\"truncated\":true}";
        let room = line.len() + end.len() + truncated.len();
        let escaped_room = room + backslashes(&line) + backslashes(&end);
        let (mut most, mut most_escaped) =
            (MOST.saturating_sub(room), MOST_ESCAPED.saturating_sub(escaped_room));
        let mut is_whole = true;
        for escaped in text.chars().map(Escaped::of) {
            let (cost, cost_escaped) = (escaped.0.len(), escaped.cost());
            if cost > most || cost_escaped > most_escaped {
                is_whole = false;
                break;
            }
            (most, most_escaped) = (most - cost, most_escaped - cost_escaped);
            line.push_str(&escaped.0);
        }
        line.push_str(&end);
        line.push_str(if is_whole { "}" } else { truncated });
        line.into_bytes()
    }
}

/// A character in a string of JSON.
struct Escaped(String);

impl Escaped {
    fn of(character: char) -> Self {
        Self(match character {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\t' => "\\t".to_owned(),
            '\r' => "\\r".to_owned(),
            ' '..='~' => character.to_string(),
            other => {
                let units = &mut [0; 2];
                other.encode_utf16(units).iter().fold(String::new(), |mut text, unit| {
                    let _ = write!(text, "\\u{unit:04x}");
                    text
                })
            }
        })
    }

    /// Bytes that it takes in httpd's log.
    fn cost(&self) -> usize {
        self.0.len() + backslashes(&self.0)
    }
}

fn backslashes(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\\').count()
}

/// Python's name of a level.
const fn level_name(level: Level) -> &'static str {
    match level {
        Level::Emergency | Level::Alert | Level::Critical => "CRITICAL",
        Level::Error => "ERROR",
        Level::Warning => "WARNING",
        Level::Notice | Level::Info => "INFO",
        Level::Debug | Level::Trace => "DEBUG",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request_id: Option<&str>, text: &str) -> String {
        let source = JsonSource {
            process_group: "a\"b".to_owned(),
            application_group: "host|/x".to_owned(),
        };
        let request_id = request_id.map(str::to_owned);
        let line = JsonLine { source: Arc::new(source), stream: "sys.stderr", request_id };
        String::from_utf8(line.at(1_796_026_811_012_345, Level::Error, text)).unwrap()
    }

    #[test]
    fn line_has_the_fields_of_a_record() {
        let pid = std::process::id();
        assert_eq!(
            line(Some("x1"), "plain"),
            format!(
                "{{\"time\":\"2026-11-30T08:20:11.012Z\",\"level\":\"ERROR\",\"logger\":\"sys.stderr\",\
                 \"message\":\"plain\",\"request_id\":\"x1\",\"process_group\":\"a\\\"b\",\
                 \"application_group\":\"host|/x\",\"pid\":{pid}}}"
            )
        );
        assert!(line(None, "").contains("\"request_id\":null,"));
    }

    #[test]
    fn what_could_end_the_string_or_command_a_terminal_is_escaped() {
        let text = line(None, "\"},{\\ \t\r\u{1b}[2J\u{7f}\u{9b}\u{e9}\u{2028}\u{1f600}\0");
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text}");
        let escaped = "\"message\":\"\\\"},{\\\\ \\t\\r\\u001b[2J\\u007f\\u009b\\u00e9\\u2028\\ud83d\\ude00\\u0000\"";
        assert!(text.contains(escaped), "{text}");
    }

    #[test]
    fn long_text_is_cut_within_the_string() {
        for text in ["x".repeat(50_000), "\\".repeat(50_000), "\u{1f600}".repeat(50_000)] {
            let line = line(None, &text);
            assert!(line.len() <= MOST && line.len() > MOST / 2, "{}", line.len());
            assert!(Escaped(line.clone()).cost() <= MOST_ESCAPED);
            assert!(line.ends_with(",\"truncated\":true}"));
            let message = line.split("\"message\":\"").nth(1).unwrap();
            let end = message.find("\",\"request_id\"").unwrap();
            assert_eq!(message[..end].matches('\\').count() % 2, 0);
        }
        assert!(!line(None, &"x".repeat(3000)).contains("truncated"));
    }
}
