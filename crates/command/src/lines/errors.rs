//! A line of Apache's error log, in the format that start-server gives it: level, module, process, message, between tabs.

use super::style::{Style, paint};

/// A line, or what another program has written between lines.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct ErrorLine {
    pub(crate) level: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) module: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) pid: String,
    pub(crate) message: String,
}

impl ErrorLine {
    pub(crate) fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.splitn(4, '\t').collect();
        match fields[..] {
            [level, module, pid, message] => Self {
                level: level.to_owned(),
                module: if module == "-" { String::new() } else { module.to_owned() },
                pid: pid.to_owned(),
                message: unescaped(message),
            },
            _ => Self {
                level: "error".to_owned(),
                module: String::new(),
                pid: String::new(),
                message: line.to_owned(),
            },
        }
    }

    /// Whether the line only tells that Apache has started or is stopping, which the launcher tells itself.
    pub(super) fn is_of_course(&self) -> bool {
        let is_mpm = self.module.starts_with("mpm_");
        self.level == "notice" && (is_mpm || self.message.starts_with("AH00094"))
    }

    /// For people. What applications write is printed as they wrote it.
    pub(super) fn text(&self, has_colours: bool) -> String {
        let style = match self.level.as_str() {
            "emerg" | "alert" | "crit" | "error" => Style::Bad,
            "warn" => Style::Notice,
            _ => Style::Faint,
        };
        if self.module == "wsgi" || self.module.is_empty() {
            return paint(without_sender(&self.message), style, has_colours);
        }
        paint(&format!("[{}:{}] {}", self.module, self.level, self.message), style, has_colours)
    }
}

/// Which process of which group has written a line matters to the administrator of several groups.
fn without_sender(message: &str) -> &str {
    let rest = message.strip_prefix("daemon '").and_then(|rest| rest.split_once("' [pid "));
    rest.and_then(|(_, rest)| rest.split_once("] ")).map_or(message, |(_, rest)| rest)
}

/// Apache writes a backslash and other bytes that a terminal might take for commands as `\x1b`; UTF-8 is put back.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, length) = match (first, tail) {
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b'"', ..]) => (b'"', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'x', high, low, ..]) => match hex(*high, *low) {
                // Only parts of letters beyond ASCII.
                Some(byte @ 0x80..) => (byte, 4),
                _ => (b'\\', 1),
            },
            (byte, _) => (*byte, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? * 16 + digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_level_module_process_and_message() {
        let line = ErrorLine::parse("error\twsgi\t12\tValueError: a\\\\b \\xc3\\xa4 \\x1b[0m");
        assert_eq!((line.level.as_str(), line.pid.as_str()), ("error", "12"));
        assert_eq!(line.text(false), "ValueError: a\\b ä \\x1b[0m");
        assert!(line.text(true).starts_with("\x1b[31m"));
        let line = ErrorLine::parse("notice\tmpm_event\t1\tAH00489: x");
        assert_eq!(line.text(false), "[mpm_event:notice] AH00489: x");
        assert!(line.is_of_course());
        let line = ErrorLine::parse("error\twsgi\t1\tdaemon 'a:1' [pid 7]   File \"x\"");
        assert_eq!(line.text(false), "  File \"x\"");
        assert_eq!(ErrorLine::parse("free text").text(false), "free text");
    }
}
