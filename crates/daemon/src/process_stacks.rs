//! What the threads of a worker do, as the worker tells its manager, and the manager a client of its admin socket. Texts
//! come from applications: before they are shown they are cut and escaped by [`ProcessStacks::sanitise`].
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use wsgi::is_printable;

/// The stacks of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct ProcessStacks {
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Some threads or frames are missing: there are too many, or memory was being changed each time it was looked at.
    pub(crate) incomplete: bool,
    /// Whether the locks of all interpreters were to be had within a moment.
    pub(crate) lock_obtained: bool,
    pub(crate) threads: Vec<ThreadReport>,
    /// Those of the event loop, where there is one.
    #[serde(default)]
    pub(crate) tasks: Vec<TaskReport>,
}

/// A task of an event loop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct TaskReport {
    /// Its name in `asyncio`.
    pub(crate) name: String,
    /// The first line of the request that it belongs to.
    pub(crate) request: Option<String>,
    /// For how long that has been served, in microseconds.
    pub(crate) request_microseconds: Option<u64>,
    /// The innermost first.
    pub(crate) frames: Vec<Frame>,
    /// How many outer frames have been left out.
    pub(crate) frames_left_out: usize,
}

/// A thread in one interpreter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct ThreadReport {
    /// Its name in `threading`, or that of the system.
    pub(crate) name: Option<String>,
    /// Its number in Python.
    pub(crate) ident: u64,
    /// Its number for the kernel, where that is known.
    pub(crate) native_id: Option<u64>,
    /// `%{GLOBAL}` is the empty name; `None`: an interpreter that an application has made.
    pub(crate) application_group: Option<String>,
    /// The first line of the request that it serves.
    pub(crate) request: Option<String>,
    /// For how long it has served that, in microseconds.
    pub(crate) request_microseconds: Option<u64>,
    /// The innermost first; empty where it is not in Python.
    pub(crate) frames: Vec<Frame>,
    /// How many outer frames have been left out.
    pub(crate) frames_left_out: usize,
}

/// A place in an application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Frame {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: i32,
}

/// The most threads and tasks of a worker, frames of one and bytes of a text.
const MAX_THREADS: usize = 2000;
const MAX_TASKS: usize = 1000;
const MAX_FRAMES: usize = 100;
const MAX_TEXT: usize = 1024;

impl ProcessStacks {
    /// The report of a worker that has none.
    pub(crate) fn failure(why: impl Into<String>) -> Self {
        Self { error: Some(why.into()), incomplete: true, ..Self::default() }
    }

    /// Cuts what is too long, and escapes characters that control a terminal: a worker may say anything.
    pub(crate) fn sanitise(&mut self) {
        self.error.iter_mut().for_each(sanitise);
        self.threads.truncate(MAX_THREADS);
        for thread in &mut self.threads {
            let texts = [&mut thread.name, &mut thread.application_group, &mut thread.request];
            texts.into_iter().flatten().for_each(sanitise);
            sanitise_frames(&mut thread.frames);
        }
        self.tasks.truncate(MAX_TASKS);
        for task in &mut self.tasks {
            [Some(&mut task.name), task.request.as_mut()].into_iter().flatten().for_each(sanitise);
            sanitise_frames(&mut task.frames);
        }
    }
}

fn sanitise_frames(frames: &mut Vec<Frame>) {
    frames.truncate(MAX_FRAMES);
    for frame in frames {
        [&mut frame.function, &mut frame.file].into_iter().for_each(sanitise);
    }
}

fn sanitise(text: &mut String) {
    if text.len() <= MAX_TEXT && text.chars().all(is_printable) {
        return;
    }
    let mut clean = String::new();
    for character in text.chars() {
        if clean.len() > MAX_TEXT {
            clean.push('…');
            break;
        }
        if is_printable(character) {
            clean.push(character);
        } else {
            clean.push_str(&format!("\\u{:04x}", u32::from(character)));
        }
    }
    *text = clean;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_worker_are_cut_and_control_no_terminal() {
        let thread = ThreadReport {
            name: Some("\x1b[2Jname".to_owned()),
            request: Some("GET /\u{202e}\u{9b}31m é".to_owned()),
            frames: vec![Frame { function: "x".repeat(5000), ..Frame::default() }; 500],
            ..ThreadReport::default()
        };
        let task = TaskReport {
            name: "\u{9b}1m".to_owned(),
            frames: thread.frames.clone(),
            ..TaskReport::default()
        };
        let mut stacks = ProcessStacks {
            threads: vec![thread],
            tasks: vec![task],
            ..ProcessStacks::failure("\n")
        };
        stacks.threads.resize_with(3000, ThreadReport::default);
        stacks.tasks.resize_with(2000, TaskReport::default);
        stacks.sanitise();
        assert_eq!(stacks.error.as_deref(), Some("\\u000a"));
        assert_eq!(stacks.threads.len(), MAX_THREADS);
        let task = &stacks.tasks[0];
        assert_eq!((stacks.tasks.len(), task.name.as_str()), (MAX_TASKS, "\\u009b1m"));
        assert!(task.frames.len() == MAX_FRAMES && task.frames[0].function.len() < 1100);
        let thread = &stacks.threads[0];
        assert_eq!(thread.name.as_deref(), Some("\\u001b[2Jname"));
        assert_eq!(thread.request.as_deref(), Some("GET /\\u202e\\u009b31m é"));
        assert!(thread.frames.len() == MAX_FRAMES && thread.frames[0].function.len() < 1100);
    }
}
