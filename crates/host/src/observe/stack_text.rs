//! A stack as a text for a scoreboard, which has little room for it. It must never know where the stack comes from.
#![forbid(unsafe_code)]

use crate::observe::stacks::StackFrame;
use std::fmt::Write;

/// Stands in the place of frames that find no room.
const MORE: &str = "…\n";

/// A line for each frame, the innermost first: file, line and function, with tabs between. At most `room` bytes, of which the
/// last line says where frames are missing, in it or as `is_whole` says.
pub fn stack_text(frames: &[StackFrame], is_whole: bool, room: usize) -> String {
    let mut text = String::new();
    for frame in frames {
        let before = text.len();
        let StackFrame { function, file, line } = frame;
        // Writing to memory does not fail.
        let _ = writeln!(text, "{file}\t{line}\t{function}");
        if text.len() + MORE.len() > room {
            text.truncate(before);
            text.push_str(MORE);
            return text;
        }
    }
    if !is_whole && !frames.is_empty() {
        text.push_str(MORE);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 2008;

    #[test]
    fn frames_are_lines_and_those_without_room_are_said_to_be_missing() {
        let frame = |line| StackFrame {
            function: "View.get".to_owned(),
            file: "/srv/app.py".to_owned(),
            line,
        };
        let frames = [frame(7), frame(8)];
        let lines = "/srv/app.py\t7\tView.get\n/srv/app.py\t8\tView.get\n";
        assert_eq!(stack_text(&frames, true, ROOM), lines);
        assert_eq!(stack_text(&frames, false, ROOM), format!("{lines}…\n"));
        assert_eq!(stack_text(&[], false, ROOM), "");
        let many: Vec<_> = (0..500).map(frame).collect();
        let text = stack_text(&many, true, ROOM);
        assert!(text.len() <= ROOM && text.len() > ROOM - 40);
        assert!(text.ends_with("\tView.get\n…\n"));
    }
}
