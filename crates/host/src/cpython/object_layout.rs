//! Where CPython keeps what [`super::live_stack`] reads beside the offsets of [`super::layout`]: types, texts, bytes, the
//! table of lines. All of it in bytes; where a release has another layout than is written here, types do not fit, and
//! nothing is read.
#![forbid(unsafe_code)]

/// The offsets.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectLayout {
    /// In an object: its type.
    pub(super) class: usize,
    /// In a frame: the last instruction.
    pub(super) instruction: usize,
    /// In a code object: the first instruction.
    pub(super) first_instruction: usize,
    /// In a code object: the table of its lines, an object of `bytes`.
    pub(super) line_table: usize,
    /// In a code object: its first line.
    pub(super) first_line: usize,
    /// In an object of `bytes`: how many there are.
    pub(super) bytes_length: usize,
    /// In an object of `bytes`: the first.
    pub(super) bytes: usize,
    /// In a `str`: how many characters it has.
    pub(super) text_length: usize,
    /// In a `str`: how wide they are.
    pub(super) text_state: usize,
    /// In a `str` of ASCII: the first character.
    pub(super) ascii: usize,
    /// In another `str`: the first character.
    pub(super) characters: usize,
}

/// By how many bits of the state of a `str` the width of its characters is preceded.
pub(super) const WIDTH_SHIFT: u32 = if cfg!(Py_3_14) { 16 } else { 2 };

/// That of this Python; `None` where it is not known.
pub(super) fn object_layout() -> Option<ObjectLayout> {
    // The state of a str is a row of bits, whose order is that of bytes.
    if cfg!(any(not(target_pointer_width = "64"), target_endian = "big")) {
        return None;
    }
    of_this_version()
}

#[cfg(not(Py_3_11))]
#[allow(clippy::unnecessary_wraps, reason = "other versions may not know it")]
const fn of_this_version() -> Option<ObjectLayout> {
    Some(ObjectLayout {
        instruction: 96,
        // Of a frame's instruction only the index is noted.
        first_instruction: 0,
        line_table: 120,
        first_line: 40,
        ascii: 48,
        characters: 72,
        ..COMMON
    })
}

#[cfg(all(Py_3_11, not(Py_3_12)))]
#[allow(clippy::unnecessary_wraps, reason = "other versions may not know it")]
const fn of_this_version() -> Option<ObjectLayout> {
    Some(ObjectLayout {
        instruction: 56,
        first_instruction: 184,
        line_table: 136,
        first_line: 72,
        ascii: 48,
        characters: 72,
        ..COMMON
    })
}

#[cfg(all(Py_3_12, not(Py_3_13)))]
#[allow(clippy::unnecessary_wraps, reason = "other versions may not know it")]
const fn of_this_version() -> Option<ObjectLayout> {
    Some(ObjectLayout {
        instruction: 56,
        first_instruction: 192,
        line_table: 136,
        first_line: 68,
        ascii: 40,
        characters: 56,
        ..COMMON
    })
}

/// What is the same up to 3.12.
#[cfg(not(Py_3_13))]
const COMMON: ObjectLayout = ObjectLayout {
    class: 8,
    instruction: 0,
    first_instruction: 0,
    line_table: 0,
    first_line: 0,
    bytes_length: 16,
    bytes: 32,
    text_length: 16,
    text_state: 32,
    ascii: 0,
    characters: 0,
};

#[cfg(Py_3_13)]
fn of_this_version() -> Option<ObjectLayout> {
    /// Which of the words are the offsets of an object's type, a frame's instruction, a code
    /// object's first instruction, table of lines and first line, length and first byte of bytes, and length, state and
    /// first character of a str.
    const WORDS: [usize; 10] = if cfg!(Py_3_14) {
        [51, 34, 48, 43, 44, 75, 76, 79, 78, 80]
    } else {
        [45, 31, 43, 38, 39, 65, 66, 69, 68, 70]
    };
    let [
        class,
        instruction,
        first_instruction,
        line_table,
        first_line,
        bytes_length,
        bytes,
        text_length,
        text_state,
        ascii,
    ] = super::layout::debug_offsets(WORDS)?;
    // Two more words, for an encoded copy, precede characters that are not all ASCII.
    let characters = ascii + 16;
    Some(ObjectLayout {
        class,
        instruction,
        first_instruction,
        line_table,
        first_line,
        bytes_length,
        bytes,
        text_length,
        text_state,
        ascii,
        characters,
    })
}
