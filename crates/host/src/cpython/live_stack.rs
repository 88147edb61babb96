//! The Python stack of one thread of this process, read while it goes on and without a lock: no copy of the process is
//! made, so that it costs some system calls, whatever memory the process has.
//!
//! Addresses are followed by the kernel, for which a wrong one is an error; what is found counts only if its type is the
//! expected one, and if the thread is in the same frames afterwards.
#![forbid(unsafe_code)]

use super::layout::{Layout, layout};
use super::line_table::line_at;
use super::object_layout::{ObjectLayout, WIDTH_SHIFT, object_layout};
use pyo3_ffi as ffi;
use wsgi::is_printable;

/// Copies memory of this process from an address on; false where that leads nowhere.
pub type ReadMemory<'a> = &'a mut dyn FnMut(usize, &mut [u8]) -> bool;

/// What a thread executes. Texts have no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveFrame {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: i32,
}

/// Where CPython has the types of what a stack consists of.
struct Types {
    code: usize,
    text: usize,
    bytes: usize,
}

impl Types {
    fn get() -> Self {
        Self {
            code: &raw const ffi::PyCode_Type as usize,
            text: &raw const ffi::PyUnicode_Type as usize,
            bytes: &raw const ffi::PyBytes_Type as usize,
        }
    }
}

/// Frames that are given, the innermost first.
const MAX_FRAMES: usize = 40;
/// How often a stack is read that changes meanwhile.
const ATTEMPTS: usize = 4;
/// The longest name of a function and of a file, in characters.
const MAX_FUNCTION: usize = 80;
const MAX_FILE: usize = 120;
/// The longest table of lines that is read, in bytes.
const MAX_TABLE: usize = 32 << 10;

/// Reads the memory of this process.
struct Reader<'a> {
    layout: Layout,
    objects: ObjectLayout,
    types: Types,
    read: ReadMemory<'a>,
}

/// A frame as it was found.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    frame: usize,
    code: usize,
    instruction: usize,
}

/// The frames of the thread of this number in Python, the innermost first, and whether there are no more. `states` are
/// the addresses of thread states of one interpreter. `None` where the thread is in no Python code there, or in other
/// code each time; the outer frames alone where only the inner ones change.
pub(crate) fn live_stack(
    states: &[usize],
    ident: u64,
    read: ReadMemory<'_>,
) -> Option<(Vec<LiveFrame>, bool)> {
    let (layout, objects) = (layout()?, object_layout()?);
    let mut reader = Reader { layout, objects, types: Types::get(), read };
    let is_meant = |state: &usize| {
        let found = reader.word(*state, layout.ident);
        found.and_then(|it| u64::try_from(it).ok()) == Some(ident)
    };
    let state = states.iter().copied().find(is_meant)?;
    let (mut places, mut is_whole) = reader.places(state)?;
    for attempt in 1..=ATTEMPTS {
        let frames = places.iter().map(|place| reader.describe(*place)).collect::<Option<Vec<_>>>();
        let (after, is_whole_after) = reader.places(state)?;
        let common = common_outer(&places, &after, is_whole && is_whole_after);
        let is_still = common == places.len() && common == after.len();
        if let Some(frames) = frames
            && (is_still || attempt == ATTEMPTS)
            && common > 0
        {
            let inner = frames.len() - common;
            return Some((frames.into_iter().skip(inner).collect(), is_whole));
        }
        (places, is_whole) = (after, is_whole_after);
    }
    None
}

/// How many frames are the same, from the outermost on; of stacks of which the outermost is not known, all or none.
fn common_outer(before: &[Place], after: &[Place], is_whole: bool) -> usize {
    let is_same =
        |(one, other): &(&Place, &Place)| one.frame == other.frame && one.code == other.code;
    let count = before.iter().rev().zip(after.iter().rev()).take_while(is_same).count();
    if is_whole || (count == before.len() && count == after.len()) { count } else { 0 }
}

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self, address: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (address != 0 && (self.read)(address, &mut bytes)).then_some(bytes)
    }

    fn word(&mut self, structure: usize, offset: usize) -> Option<usize> {
        self.bytes(structure.wrapping_add(offset)).map(usize::from_ne_bytes)
    }

    /// The frames of a thread, and whether these are all of them.
    fn places(&mut self, state: usize) -> Option<(Vec<Place>, bool)> {
        let mut frame = self.word(state, self.layout.current_frame)?;
        #[cfg(all(Py_3_11, not(Py_3_13)))]
        {
            frame = self.word(frame, self.layout.frame_of_c)?;
        }
        let mut places = Vec::new();
        // Frames of C code stand between those of Python.
        for _ in 0..4 * MAX_FRAMES {
            if frame == 0 {
                return (!places.is_empty()).then_some((places, true));
            }
            if let Some(code) = self.code_of(frame)? {
                if places.len() == MAX_FRAMES {
                    return Some((places, false));
                }
                let instruction = self.word(frame, self.objects.instruction)?;
                places.push(Place { frame, code, instruction });
            }
            frame = self.word(frame, self.layout.previous)?;
        }
        Some((places, false))
    }

    /// The code object of a frame; `Some(None)` for those that CPython has between the ones of Python.
    fn code_of(&mut self, frame: usize) -> Option<Option<usize>> {
        /// What frames belong to from this number on is C code.
        const OF_C: u8 = 3;
        if cfg!(Py_3_12) {
            let [owner] = self.bytes(frame + self.layout.owner)?;
            if owner >= OF_C {
                return Some(None);
            }
        }
        let code = self.word(frame, self.layout.code)?;
        // From 3.14 on the last two bits say how the frame has its reference.
        let code = if cfg!(Py_3_14) { code & !3 } else { code };
        let is_code = self.word(code, self.objects.class) == Some(self.types.code);
        Some(is_code.then_some(code))
    }

    fn describe(&mut self, place: Place) -> Option<LiveFrame> {
        let Place { code, instruction, .. } = place;
        let (function, file) =
            (code.wrapping_add(self.layout.name), code.wrapping_add(self.layout.file));
        let function = self.text(function, MAX_FUNCTION)?;
        let file = self.text(file, MAX_FILE)?;
        let first = code.wrapping_add(self.objects.first_line);
        let first = i32::from_ne_bytes(self.bytes(first)?);
        let offset = if cfg!(Py_3_11) {
            instruction
                .wrapping_sub(code.wrapping_add(self.objects.first_instruction))
                .cast_signed()
        } else {
            // An index, an int; an instruction has two bytes.
            (instruction as i32 as isize) * 2
        };
        let table = self.line_table(code).unwrap_or_default();
        Some(LiveFrame { function, file, line: line_at(&table, first, offset) })
    }

    fn line_table(&mut self, code: usize) -> Option<Vec<u8>> {
        let table = self.word(code, self.objects.line_table)?;
        if self.word(table, self.objects.class)? != self.types.bytes {
            return None;
        }
        let length = self.word(table, self.objects.bytes_length)?;
        let mut bytes = vec![0; length.min(MAX_TABLE)];
        (self.read)(table + self.objects.bytes, &mut bytes).then_some(bytes)
    }

    /// The last `most` characters of the `str` to which the word at `reference` leads.
    fn text(&mut self, reference: usize, most: usize) -> Option<String> {
        let text = self.word(reference, 0)?;
        if self.word(text, self.objects.class)? != self.types.text {
            return None;
        }
        let length = self.word(text, self.objects.text_length)?;
        let state = u32::from_ne_bytes(self.bytes(text + self.objects.text_state)?) >> WIDTH_SHIFT;
        // Three bits for the width, one for characters behind the head, one for ASCII.
        let (width, is_compact, is_ascii) = ((state & 7) as usize, state & 8 != 0, state & 16 != 0);
        if !is_compact || !matches!(width, 1 | 2 | 4) {
            return None;
        }
        let start = if is_ascii { self.objects.ascii } else { self.objects.characters };
        let left_out = length.saturating_sub(most);
        let mut bytes = vec![0; (length - left_out) * width];
        let address = text.wrapping_add(start).wrapping_add(left_out.wrapping_mul(width));
        if !(self.read)(address, &mut bytes) {
            return None;
        }
        let mut shown = String::new();
        if left_out > 0 {
            shown.push('…');
        }
        for piece in bytes.chunks_exact(width) {
            let number = piece.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
            match char::from_u32(number).filter(|it| is_printable(*it)) {
                Some(character) => shown.push(character),
                // Half a pair of surrogates is none.
                None => shown.push_str(&format!("\\u{number:04x}")),
            }
        }
        Some(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_stay_are_counted_from_the_outermost() {
        let stack = |frames: &[usize]| -> Vec<Place> {
            frames.iter().map(|it| Place { frame: *it, code: it + 1, instruction: 0 }).collect()
        };
        let count = |one: &[usize], other: &[usize], is_whole| {
            common_outer(&stack(one), &stack(other), is_whole)
        };
        assert_eq!(count(&[3, 2, 1], &[3, 2, 1], true), 3);
        assert_eq!(count(&[3, 2, 1], &[9, 4, 2, 1], true), 2);
        assert_eq!(count(&[3, 2, 1], &[9, 4, 2, 1], false), 0);
        assert_eq!(count(&[3, 2, 1], &[3, 2, 1], false), 3);
        assert_eq!(count(&[3, 2, 1], &[3, 2, 8], true), 0);
    }
}
