//! Where a request is in its application, as its worker has written it to the scoreboard. A worker can write anything
//! there: a line that is none of a frame is left out, and characters that control something are replaced.
#![forbid(unsafe_code)]

use scoreboard::RequestStack;
use wsgi::is_printable;

/// Where a request is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stack {
    /// Microseconds since it was found out.
    pub(crate) age: u64,
    /// The innermost first; empty where the thread was not in Python code.
    pub(crate) frames: Vec<StackFrame>,
    /// Outer frames have found no room.
    pub(crate) is_cut: bool,
}

/// One frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StackFrame {
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) function: String,
}

impl Stack {
    /// What a worker has written, at `now` in microseconds of [`scoreboard::now`].
    pub(crate) fn of(written: &RequestStack, now: u64) -> Self {
        let frame = |line: &str| {
            let mut parts = line.split('\t');
            let file = printable(parts.next()?);
            let line = parts.next()?.parse().ok()?;
            Some(StackFrame { file, line, function: printable(parts.next()?) })
        };
        Self {
            age: now.saturating_sub(written.taken),
            frames: written.text.lines().filter_map(frame).collect(),
            is_cut: written.text.ends_with("…\n"),
        }
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|it| if is_printable(it) { it } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(text: &str) -> Stack {
        let written = RequestStack { thread: 0, since: 1, taken: 5, text: text.to_owned() };
        Stack::of(&written, 12)
    }

    #[test]
    fn lines_of_a_worker_become_frames_and_nonsense_does_not() {
        let frame = |file: &str, line, function: &str| StackFrame {
            file: file.to_owned(),
            line,
            function: function.to_owned(),
        };
        assert_eq!(
            stack("/srv/a.py\t7\tView.get\n/srv/b \u{202e}.py\t8\tf\x1b[2J\n…\n"),
            Stack {
                age: 7,
                frames: vec![
                    frame("/srv/a.py", 7, "View.get"),
                    frame("/srv/b \u{fffd}.py", 8, "f\u{fffd}[2J"),
                ],
                is_cut: true,
            }
        );
        assert_eq!(stack("a\tb\tc\n\n\t\na\t-1\tb\na\t1\n"), Stack { age: 7, ..Stack::default() });
    }
}
