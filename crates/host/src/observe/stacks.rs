//! The Python stacks of threads of a process, for its administrator: those of all threads are read from a copy that
//! stands still, that of one thread while it goes on. No lock is needed, and no application notices.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Freeze, ReadMemory, Result, live_stack, read_stacks};
use crate::host::Host;
use std::io;

/// How often a copy is made whose memory cannot be read: a thread that runs may have been changing it.
const ATTEMPTS: usize = 3;

/// What one thread does in one interpreter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadStack {
    /// The application group; empty for the main interpreter, `None` for one that an application has made.
    pub application_group: Option<String>,
    /// The thread's number in Python (`threading.get_ident()`).
    pub ident: u64,
    /// Its number for the kernel, where that is known.
    pub native_id: Option<u64>,
    /// Where it is, the innermost frame first; empty where it is not in Python.
    pub frames: Vec<StackFrame>,
    /// How many outer frames have been left out.
    pub left_out: usize,
}

/// One frame. Texts have no control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackFrame {
    /// The qualified name of the function, from Python 3.11 on.
    pub function: String,
    /// The file of its code.
    pub file: String,
    /// The line.
    pub line: i32,
}

/// What one task of an event loop does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskStack {
    /// `asyncio.Task.get_name()`, without characters that control a terminal.
    pub name: String,
    /// The number of the request that it belongs to, of those that are under way.
    pub request: Option<usize>,
    /// Where its coroutines are, the innermost frame first.
    pub frames: Vec<StackFrame>,
    /// How many outer frames have been left out.
    pub left_out: usize,
}

/// The name of a thread in `threading`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadName {
    /// Of the interpreter that knows it so; empty for the main one.
    pub application_group: String,
    /// The thread's number in Python.
    pub ident: u64,
    /// The name, as the application chose it.
    pub name: String,
}

impl Host {
    /// The stacks of all threads, and whether none is missing. Waits for no lock of Python's.
    ///
    /// # Errors
    /// Those of `freeze`, and `Unsupported` where the layout of this Python is not known.
    pub fn stacks(&self, freeze: Freeze) -> io::Result<(Vec<ThreadStack>, bool)> {
        let known: Vec<_> = self
            .interpreters
            .all_now()
            .iter()
            .map(|interpreter| (interpreter.python.address(), interpreter.name.clone()))
            .collect();
        let mut best = Vec::new();
        for _ in 0..ATTEMPTS {
            let (text, is_whole) = read_stacks(freeze)?;
            let stacks = parse(&text, &known);
            if is_whole {
                return Ok((stacks, true));
            }
            if stacks.len() > best.len() {
                best = stacks;
            }
        }
        Ok((best, false))
    }

    /// Where the thread of this number in Python is, the innermost frame first, and whether there are no more frames: read
    /// while the thread goes on, by some hundred calls of `read`, without a lock of Python's. `None` where that is not
    /// known.
    pub fn live_stack(&self, ident: u64, read: ReadMemory<'_>) -> Option<(Vec<StackFrame>, bool)> {
        for interpreter in self.interpreters.all_now() {
            let states = interpreter.python.state_addresses();
            if let Some((frames, is_whole)) = live_stack(&states, ident, &mut *read) {
                let frames = frames.into_iter().map(|frame| StackFrame {
                    function: frame.function,
                    file: frame.file,
                    line: frame.line,
                });
                return Some((frames.collect(), is_whole));
            }
        }
        None
    }

    /// The names that applications have given their threads. Waits for the lock of each interpreter.
    pub fn thread_names(&self) -> Vec<ThreadName> {
        let Some(_look) = self.guard_look() else { return Vec::new() };
        let mut names = Vec::new();
        for interpreter in self.interpreters.all() {
            let Some(state) = interpreter.python.temporary_thread_state() else { continue };
            let Some(attachment) = state.attach() else { continue };
            let mut found = Vec::new();
            if let Err(raised) = collect_names(attachment.py(), &mut found) {
                raised.clear();
            }
            drop(attachment);
            names.extend(found.into_iter().map(|(ident, name)| {
                let application_group = interpreter.name.clone();
                ThreadName { application_group, ident, name }
            }));
        }
        names
    }
}

/// The number by which Python names the calling thread (`threading.get_ident()`), also where Python is not running.
pub fn thread_ident() -> u64 {
    Attached::thread_ident()
}

fn collect_names<'py>(py: Attached<'py>, names: &mut Vec<(u64, String)>) -> Result<'py, ()> {
    // Nothing is imported for this.
    let Some(threading) = py.modules().item(&py.interned("threading")?)? else { return Ok(()) };
    let threads = threading.call_method(c"enumerate", [])?.iter()?;
    while let Some(thread) = threads.next()? {
        let ident = thread.attribute(c"ident")?;
        let name = thread.attribute(c"name")?;
        if ident.is_none() || !name.is_str() {
            continue;
        }
        names.push((u64::try_from(ident.as_i64()?).unwrap_or(0), name.to_text()?));
    }
    Ok(())
}

/// The threads in the lines of [`read_stacks`], of which the last one may have been cut.
fn parse(text: &str, known: &[(usize, String)]) -> Vec<ThreadStack> {
    let mut stacks: Vec<ThreadStack> = Vec::new();
    let mut application_group = None;
    let end = text.rfind('\n').unwrap_or(0);
    for line in text.get(..end).unwrap_or_default().split('\n') {
        let Some((kind, rest)) = line.split_once(' ') else { continue };
        match kind {
            "I" => {
                let address = rest.parse::<usize>().ok();
                let named = known.iter().find(|(known, _)| Some(*known) == address);
                application_group = named.map(|(_, name)| name.clone());
            }
            "T" => {
                let (ident, native) = rest.split_once(' ').unwrap_or((rest, "0"));
                stacks.push(ThreadStack {
                    application_group: application_group.clone(),
                    ident: ident.parse().unwrap_or(0),
                    native_id: native.parse().ok().filter(|native| *native != 0),
                    ..ThreadStack::default()
                });
            }
            "F" => {
                let mut parts = rest.split('\t').map(str::to_owned);
                let line = parts.next().and_then(|line| line.parse().ok()).unwrap_or(0);
                let function = parts.next().unwrap_or_default();
                let file = parts.next().unwrap_or_default();
                if let Some(stack) = stacks.last_mut() {
                    stack.frames.push(StackFrame { function, file, line });
                }
            }
            "D" => {
                if let Some(stack) = stacks.last_mut() {
                    let depth = rest.parse::<usize>().unwrap_or(0);
                    stack.left_out = depth.saturating_sub(stack.frames.len());
                }
            }
            _ => {}
        }
    }
    stacks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_threads_and_a_cut_line_is_left_out() {
        let text = "I 7\nT 1 10\nF 5\tView.get\t/app.py\nF 9\t<module>\t/app.py\nD 30\nT 2 0\nI 8\nT 3 11\nF 1\tcut";
        let stacks = parse(text, &[(7, "shop".to_owned())]);
        let frame = |line, function: &str| StackFrame {
            function: function.to_owned(),
            file: "/app.py".to_owned(),
            line,
        };
        let group = Some("shop".to_owned());
        let first = ThreadStack {
            application_group: group.clone(),
            ident: 1,
            native_id: Some(10),
            frames: vec![frame(5, "View.get"), frame(9, "<module>")],
            left_out: 28,
        };
        let second = ThreadStack { application_group: group, ident: 2, ..ThreadStack::default() };
        let third = ThreadStack { ident: 3, native_id: Some(11), ..ThreadStack::default() };
        assert_eq!(stacks, [first, second, third]);
        assert!(parse("", &[]).is_empty() && parse("F 1\tx\ty\n", &[]).is_empty());
    }
}
