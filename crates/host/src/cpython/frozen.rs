//! The Python stacks of all threads of all interpreters, read without a lock in a copy of this process that stands
//! still. What is read may be half changed, as it was when the copy was made: then the copy crashes, and nothing else.

use super::layout::{Layout, layout};
use pyo3_ffi as ffi;
use std::ffi::c_int;
use std::fmt::{self, Write};
use std::io;
use wsgi::is_printable;

/// Runs a function in a copy of this process that stands still, and gives what that hands on, and whether all of it has
/// come. Its contract: the function neither allocates nor waits for a lock, and may end the copy.
pub type Freeze = unsafe fn(&dyn Fn(&mut dyn FnMut(&[u8]))) -> io::Result<(Vec<u8>, bool)>;

/// More interpreters, threads of one and frames of one than are read: a list that is half changed may be a circle.
const MAX_INTERPRETERS: usize = 1000;
const MAX_THREADS: usize = 2000;
/// Frames of a thread that are given, the innermost first. Behind them stands how many there are.
const MAX_FRAMES: usize = 100;
const MAX_DEPTH: usize = 100_000;
/// The longest name of a function and of a file, in characters.
const MAX_FUNCTION: isize = 120;
const MAX_FILE: isize = 240;
/// Room for a line: each character takes at most ten bytes.
const MAX_LINE: usize = 4096;

/// The stacks as lines of text, and whether all of them are there:
///
/// - `I ADDRESS`: what follows belongs to this interpreter,
/// - `T IDENT NATIVE`: a thread, `NATIVE` is 0 where it is not known,
/// - `F LINE TAB FUNCTION TAB FILE`: a frame of it, the innermost first; names have no control characters,
/// - `D COUNT`: it has so many frames, of which some have been left out.
///
/// # Errors
/// Where there is no copy, and `Unsupported` where the layout of this Python is not known.
pub(crate) fn read_stacks(freeze: Freeze) -> io::Result<(String, bool)> {
    let layout = layout().ok_or_else(|| {
        io::Error::new(io::ErrorKind::Unsupported, "the stacks of this Python cannot be read")
    })?;
    // SAFETY: the contract of `freeze` is that what it calls may end the copy. `describe` allocates nothing, and calls
    // functions of CPython only that read without a lock.
    let (bytes, is_whole) = unsafe { freeze(&|out| describe(&layout, out)) }?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), is_whole))
}

/// Hands the lines on; in the copy.
fn describe(layout: &Layout, out: &mut dyn FnMut(&[u8])) {
    // SAFETY: in a process of one thread, which `freeze` has made: nothing changes while it is read. Pointers that were
    // being changed when the copy was made end it, which the contract permits.
    unsafe {
        let mut interpreter = ffi::PyInterpreterState_Head();
        for _ in 0..MAX_INTERPRETERS {
            if interpreter.is_null() {
                break;
            }
            Line::write(out, format_args!("I {}\n", interpreter as usize));
            let mut thread = ffi::PyInterpreterState_ThreadHead(interpreter);
            for _ in 0..MAX_THREADS {
                if thread.is_null() {
                    break;
                }
                describe_thread(layout, thread.cast(), out);
                thread = ffi::PyThreadState_Next(thread);
            }
            interpreter = ffi::PyInterpreterState_Next(interpreter);
        }
    }
}

/// A field of a structure.
///
/// # Safety
/// In the copy.
unsafe fn field<T: Copy>(structure: *const u8, offset: usize) -> T {
    // SAFETY: in the copy, which a pointer that leads nowhere ends.
    unsafe { structure.add(offset).cast::<T>().read_unaligned() }
}

/// # Safety
/// In the copy.
unsafe fn describe_thread(layout: &Layout, thread: *const u8, out: &mut dyn FnMut(&[u8])) {
    // SAFETY: in the copy, as the caller promises.
    unsafe {
        let ident: u64 = field(thread, layout.ident);
        let native = layout.native_id.map_or(0, |offset| field::<u64>(thread, offset));
        Line::write(out, format_args!("T {ident} {native}\n"));
        let mut frame: *const u8 = field(thread, layout.current_frame);
        #[cfg(all(Py_3_11, not(Py_3_13)))]
        if !frame.is_null() {
            frame = field(frame, layout.frame_of_c);
        }
        let (mut depth, mut given) = (0, 0);
        while !frame.is_null() && depth < MAX_DEPTH {
            if let Some(code) = code_of(layout, frame) {
                depth += 1;
                if given < MAX_FRAMES {
                    given += 1;
                    describe_frame(layout, frame, code, out);
                }
            }
            frame = field(frame, layout.previous);
        }
        if depth > given {
            Line::write(out, format_args!("D {depth}\n"));
        }
    }
}

/// The code object of a frame; `None` for those that CPython has between the ones of Python.
///
/// # Safety
/// In the copy.
unsafe fn code_of(layout: &Layout, frame: *const u8) -> Option<*mut ffi::PyObject> {
    /// What frames belong to from this number on is C code.
    const OF_C: i8 = 3;
    // SAFETY: in the copy, as the caller promises; only the address of the type is looked at.
    unsafe {
        if cfg!(Py_3_12) && field::<i8>(frame, layout.owner) >= OF_C {
            return None;
        }
        let code: usize = field(frame, layout.code);
        // From 3.14 on the last two bits say how the frame has its reference.
        let code = if cfg!(Py_3_14) { code & !3 } else { code } as *mut ffi::PyObject;
        let is_code = !code.is_null() && ffi::Py_TYPE(code) == &raw mut ffi::PyCode_Type;
        is_code.then_some(code)
    }
}

/// # Safety
/// In the copy.
unsafe fn describe_frame(
    layout: &Layout,
    frame: *const u8,
    code: *mut ffi::PyObject,
    out: &mut dyn FnMut(&[u8]),
) {
    // SAFETY: in the copy, as the caller promises.
    unsafe {
        let mut line = Line::default();
        let _ = write!(line, "F {}\t", line_of(layout, frame, code));
        line.push_text(field(code.cast(), layout.name), MAX_FUNCTION);
        let _ = line.write_char('\t');
        line.push_text(field(code.cast(), layout.file), MAX_FILE);
        let _ = line.write_char('\n');
        out(line.bytes());
    }
}

/// The line that a frame executes.
///
/// # Safety
/// In the copy.
#[cfg(Py_3_12)]
unsafe fn line_of(_: &Layout, frame: *const u8, _: *mut ffi::PyObject) -> c_int {
    // SAFETY: in the copy; computes from the frame and its code object.
    unsafe { PyUnstable_InterpreterFrame_GetLine(frame) }
}

/// # Safety
/// In the copy.
#[cfg(all(Py_3_11, not(Py_3_12)))]
unsafe fn line_of(layout: &Layout, frame: *const u8, code: *mut ffi::PyObject) -> c_int {
    let (last, first) = layout.instructions;
    // SAFETY: in the copy; computes from the code object.
    unsafe {
        let at = field::<usize>(frame, last).wrapping_sub(code as usize + first);
        PyCode_Addr2Line(code, c_int::try_from(at).unwrap_or(-1))
    }
}

/// # Safety
/// In the copy.
#[cfg(not(Py_3_11))]
unsafe fn line_of(_: &Layout, frame: *const u8, _: *mut ffi::PyObject) -> c_int {
    // SAFETY: in the copy; computes from the frame and its code object.
    unsafe { ffi::PyFrame_GetLineNumber(frame.cast_mut().cast()) }
}

/// A line of text on the stack; what finds no room is left out.
struct Line {
    text: [u8; MAX_LINE],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { text: [0; MAX_LINE], length: 0 }
    }
}

impl Line {
    fn write(out: &mut dyn FnMut(&[u8]), text: fmt::Arguments<'_>) {
        let mut line = Self::default();
        // It always succeeds.
        let _ = line.write_fmt(text);
        out(line.bytes());
    }

    fn bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    /// The last `most` characters of a `str`; `?` in the place of anything else.
    ///
    /// # Safety
    /// In the copy.
    unsafe fn push_text(&mut self, text: *mut ffi::PyObject, most: isize) {
        // SAFETY: in the copy; the functions read the object, and set no error as long as it is a str.
        unsafe {
            if text.is_null() || ffi::PyUnicode_Check(text) == 0 {
                return self.push('?');
            }
            let length = ffi::PyUnicode_GetLength(text);
            let first = (length - most).max(0);
            if first > 0 {
                self.push('…');
            }
            for index in first..length {
                let number = ffi::PyUnicode_ReadChar(text, index);
                match char::from_u32(number).filter(|it| is_printable(*it)) {
                    Some(character) => self.push(character),
                    // Half a pair of surrogates is none.
                    None => drop(write!(self, "\\u{number:04x}")),
                }
            }
        }
    }

    fn push(&mut self, character: char) {
        let _ = self.write_char(character);
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(room) = self.text.get_mut(self.length..self.length + text.len()) {
            room.copy_from_slice(text.as_bytes());
            self.length += text.len();
        }
        Ok(())
    }
}

unsafe extern "C" {
    #[cfg(Py_3_12)]
    fn PyUnstable_InterpreterFrame_GetLine(frame: *const u8) -> c_int;
    #[cfg(all(Py_3_11, not(Py_3_12)))]
    fn PyCode_Addr2Line(code: *mut ffi::PyObject, address: c_int) -> c_int;
}
