//! Why a process that starts does not get far, as its own lines tell: the exception that ended it, or the sentence of an
//! error code. It must never know a process.
#![forbid(unsafe_code)]

use wsgi::Level;

/// What the lines of a process have told so far.
#[derive(Debug, Default)]
pub(super) struct FailureCause {
    /// The last sentence with an error code.
    sentence: Option<String>,
    /// The last line of the traceback below it.
    exception: Option<String>,
    /// A traceback has begun; whether a line of a file has come.
    traceback: Option<bool>,
    /// The last line that was an error.
    last: Option<String>,
}

/// The most characters that are told of a line.
const MAX_CHARACTERS: usize = 400;
/// The first line of a traceback.
const TRACEBACK: &str = "Traceback (most recent call last):";
/// How a place in a file begins, which is the first line where a script cannot be parsed.
const FILE: &str = "  File \"";
/// The code of an application of ASGI that has not started.
const NOT_STARTED: &str = "WSGI0225:";
/// What Python says before it gives up.
const FATAL: &str = "Fatal Python error:";

impl FailureCause {
    /// Takes a line; one without a level is an error's.
    pub(super) fn note(&mut self, level: Option<u8>, line: &[u8]) {
        if level.is_some_and(|level| level > Level::Error as u8) {
            return;
        }
        // Of a long line no more is looked at than may be told.
        let line = String::from_utf8_lossy(line.get(..4 * MAX_CHARACTERS).unwrap_or(line));
        let told = || Some(line.chars().take(MAX_CHARACTERS).collect::<String>());
        if has_code(&line) || line.starts_with(FATAL) {
            (self.sentence, self.exception, self.traceback) = (told(), None, None);
        } else if line.starts_with(TRACEBACK) {
            self.traceback = Some(false);
        } else if line.starts_with(FILE) {
            self.traceback = Some(true);
        } else if self.traceback == Some(true) && !line.starts_with(' ') {
            // After it another traceback may follow, of the exception that was raised meanwhile.
            (self.exception, self.traceback) = (told(), None);
        }
        if !line.trim().is_empty() {
            self.last = told();
        }
    }

    /// The cause of a script that was not loaded.
    pub(super) fn of_load(&self) -> Option<&str> {
        let sentence = self.sentence.as_deref();
        // It has the message, or the exception, and the script.
        let is_whole = sentence.is_some_and(|sentence| sentence.starts_with(NOT_STARTED));
        self.exception.as_deref().filter(|_| !is_whole).or(sentence)
    }

    /// The cause of the end of the process, or what it has said last.
    pub(super) fn of_exit(&self) -> Option<&str> {
        self.of_load().or(self.last.as_deref())
    }
}

/// What has happened, and why, where that is known.
pub(super) fn with_cause(what: &str, cause: Option<&str>) -> String {
    match cause {
        Some(cause) => format!("{what}: {cause}"),
        None => what.to_owned(),
    }
}

/// Whether a line begins with an error code.
fn has_code(line: &str) -> bool {
    let digits = line.strip_prefix("WSGI").and_then(|rest| rest.split_once(':'));
    digits.is_some_and(|(digits, _)| {
        digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(lines: &[&str]) -> (Option<String>, Option<String>) {
        let mut cause = FailureCause::default();
        lines.iter().for_each(|line| cause.note(Some(3), line.as_bytes()));
        (cause.of_load().map(str::to_owned), cause.of_exit().map(str::to_owned))
    }

    #[test]
    fn cause_is_the_last_exception_or_the_sentence_of_a_code() {
        let load = |lines: &[&str]| cause(lines).0.unwrap_or_default();
        let headline =
            "WSGI0174: [script /a.py] ImportError exception raised processing WSGI script";
        let chained = [
            headline,
            TRACEBACK,
            "  File \"/a.py\", line 1, in <module>",
            "    import b",
            "KeyError: 'x'",
            "During handling of the above exception, another exception occurred:",
            TRACEBACK,
            "  File \"/a.py\", line 2, in <module>",
            "ImportError: no settings",
            "of this name",
            "Hint: anything",
        ];
        assert_eq!(load(&chained), "ImportError: no settings");
        let syntax =
            [headline, "  File \"/a.py\", line 1", "    x(", "     ^", "SyntaxError: invalid"];
        assert_eq!(load(&syntax), "SyntaxError: invalid");
        let sentence = "WSGI0105: target WSGI script '/a.py' does not contain 'application'";
        // Another script had an exception before.
        assert_eq!(load(&[&chained[..], &[sentence]].concat()), sentence);
        let lifespan = "WSGI0225: [script /a.py] the ASGI application has not started: no database";
        let lines =
            [lifespan, TRACEBACK, "  File \"/a.py\", line 1", "OSError: no database", "left"];
        assert_eq!(load(&lines), lifespan);
        let fatal = "Fatal Python error: init_fs_encoding: failed";
        assert_eq!(load(&[fatal, "Current thread 0x1 (most recent call first):"]), fatal);
    }

    #[test]
    fn what_is_no_error_is_no_cause_and_a_process_that_says_nothing_has_none() {
        let mut quiet = FailureCause::default();
        quiet.note(Some(6), b"WSGI0001: loaded");
        quiet.note(Some(4), b"ValueError: caught");
        assert_eq!((quiet.of_load(), quiet.of_exit()), (None, None));
        let (load, exit) = cause(&["cannot reach the database", ""]);
        assert_eq!((load, exit.as_deref()), (None, Some("cannot reach the database")));
        quiet.note(None, &[b"x".repeat(10_000), vec![0xff]].concat());
        assert_eq!(quiet.of_exit().map(str::len), Some(MAX_CHARACTERS));
    }
}
