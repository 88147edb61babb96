//! Where CPython keeps what a thread executes: the offsets of a few fields, in bytes. From 3.13 on CPython tells them
//! itself, for debuggers (`_PyRuntime.debug_offsets`); before that they are written down here, and are the same in all
//! releases of a minor version. They are followed in a frozen copy, where a mistake ends the copy, and by calls of the kernel
//! for which a mistake is an error.

/// The offsets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// In a thread state: the frame that is being executed, or (3.11, 3.12) where that is noted.
    pub(super) current_frame: usize,
    /// In a thread state: its thread's number in Python (`threading.get_ident()`).
    pub(super) ident: usize,
    /// In a thread state: its thread's number for the kernel. 3.10 does not note it.
    pub(super) native_id: Option<usize>,
    /// In a frame: its caller's.
    pub(super) previous: usize,
    /// In a frame: its code object.
    pub(super) code: usize,
    /// In a frame: what it belongs to.
    pub(super) owner: usize,
    /// In a code object: the name of its file.
    pub(super) file: usize,
    /// In a code object: its name, with those of the classes and functions around it where Python knows them.
    pub(super) name: usize,
    /// 3.11: in a frame, the last instruction; in a code object, the first one.
    #[cfg(all(Py_3_11, not(Py_3_12)))]
    pub(super) instructions: (usize, usize),
    /// 3.11, 3.12: where the frame is noted that is being executed.
    #[cfg(all(Py_3_11, not(Py_3_13)))]
    pub(super) frame_of_c: usize,
}

/// That of this Python; `None` where it is not known.
pub(super) fn layout() -> Option<Layout> {
    if cfg!(not(target_pointer_width = "64")) {
        return None;
    }
    of_this_version()
}

#[cfg(not(Py_3_11))]
#[allow(clippy::unnecessary_wraps, reason = "other versions may not know it")]
const fn of_this_version() -> Option<Layout> {
    Some(Layout {
        current_frame: 24,
        ident: 176,
        native_id: None,
        previous: 24,
        code: 32,
        owner: 0,
        file: 104,
        name: 112,
    })
}

#[cfg(all(Py_3_11, not(Py_3_12)))]
#[allow(clippy::unnecessary_wraps, reason = "other versions may not know it")]
const fn of_this_version() -> Option<Layout> {
    Some(Layout {
        current_frame: 56,
        ident: 152,
        native_id: Some(160),
        previous: 48,
        code: 32,
        owner: 69,
        file: 112,
        name: 128,
        instructions: (56, 184),
        frame_of_c: 8,
    })
}

#[cfg(all(Py_3_12, not(Py_3_13)))]
#[allow(clippy::unnecessary_wraps, reason = "other versions may not know it")]
const fn of_this_version() -> Option<Layout> {
    Some(Layout {
        current_frame: 56,
        ident: 136,
        native_id: Some(144),
        previous: 8,
        code: 0,
        owner: 70,
        file: 112,
        name: 128,
        frame_of_c: 0,
    })
}

#[cfg(Py_3_13)]
fn of_this_version() -> Option<Layout> {
    /// Which of the words are the offsets of a thread state's frame, ident and native id, and of a frame's caller, code
    /// and owner, and a code object's file and qualified name.
    const WORDS: [usize; 8] = if cfg!(Py_3_14) {
        [26, 27, 28, 32, 33, 36, 40, 42]
    } else {
        [23, 24, 25, 29, 30, 33, 35, 37]
    };
    let [current_frame, ident, native_id, previous, code, owner, file, name] =
        debug_offsets(WORDS)?;
    let native_id = Some(native_id);
    Some(Layout { current_frame, ident, native_id, previous, code, owner, file, name })
}

/// Words of what CPython tells debuggers: a mark, its version, and then offsets, each 8 bytes. Other numbers than those
/// of small structures are those of a version that has been changed since.
#[cfg(Py_3_13)]
pub(super) fn debug_offsets<const N: usize>(words: [usize; N]) -> Option<[usize; N]> {
    const LARGEST: usize = 4096;
    // SAFETY: CPython's own structure, which begins with at least 71 words of constants, 81 from 3.14 on, that never
    // change; larger members follow.
    let all = unsafe { (&raw const _PyRuntime).read() };
    let [mark, version, ..] = all;
    let minor = if cfg!(Py_3_14) { 14 } else { 13 };
    if mark.to_ne_bytes() != *b"xdebugpy" || version >> 16 != 0x0300 | minor {
        return None;
    }
    let mut offsets = [0; N];
    for (offset, word) in offsets.iter_mut().zip(words) {
        *offset = usize::try_from(*all.get(word)?).ok().filter(|it| *it < LARGEST)?;
    }
    Some(offsets)
}

#[cfg(Py_3_13)]
unsafe extern "C" {
    static _PyRuntime: [u64; 81];
}
