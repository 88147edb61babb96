//! Numbers of thread states, up to Python 3.11. CPython counts them in each interpreter from 1, but `asyncio` remembers
//! by that number alone, for all interpreters, in which thread an event loop runs. A thread in another application's
//! interpreter would be taken for it: Django refuses its database there, and every loop to be started. So thread states
//! that this crate makes have numbers of their own, and each sub-interpreter counts the threads that its application
//! starts from a number of its own.

use pyo3_ffi as ffi;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the number stands in the structure, which the bindings do not have, in bytes. Proved each time.
const OFFSET: usize = if cfg!(Py_3_11) { 240 } else { 256 };
/// Beyond what CPython's own counters reach.
const FIRST: i64 = 1 << 40;
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Gives another number to a state that has just been made and is not in use yet. Where the place of the number cannot
/// be proved, everything stays as CPython has it.
pub(super) fn make_unique(state: NonNull<ffi::PyThreadState>) {
    if cfg!(not(target_pointer_width = "64")) {
        return;
    }
    let new = FIRST + i64::from(NEXT.fetch_add(1, Ordering::Relaxed));
    // SAFETY: the caller has just been given the state by CPython and has not shared it, so no other thread reads or
    // deletes it before this function returns. In 3.10 and 3.11 the structure goes on beyond the offset, which is
    // aligned for a number. A number that was another field's is written back before anything reads that field.
    unsafe {
        let place = state.as_ptr().cast::<u8>().add(OFFSET).cast::<i64>();
        let old = ffi::PyThreadState_GetID(state.as_ptr());
        if place.read() != old {
            return;
        }
        place.write(new);
        if ffi::PyThreadState_GetID(state.as_ptr()) != new {
            place.write(old);
        }
    }
}

/// Beyond what [`make_unique`] gives, and the distance between what two interpreters begin with.
const FIRST_OF_INTERPRETER: i64 = 1 << 41;
static NEXT_INTERPRETER: AtomicU32 = AtomicU32::new(0);
/// How much of the structure of an interpreter is looked through for its counter, in bytes. It is more than 100 KB long.
const SEARCHED: usize = 16 * 1024;

/// Has a sub-interpreter that has just been made, and whose first state `first` is current, count its thread states from
/// a number of its own. The counter is the one place that two new states count up; where there is none, or more than
/// one, everything stays as CPython has it.
pub(super) fn begin_apart(first: NonNull<ffi::PyThreadState>) {
    if cfg!(not(target_pointer_width = "64")) {
        return;
    }
    let number = NEXT_INTERPRETER.fetch_add(1, Ordering::Relaxed);
    let start = FIRST_OF_INTERPRETER + (i64::from(number) << 32);
    // SAFETY: the thread is attached to the interpreter by its only state, so no other thread knows the interpreter, and
    // it is not ended before this returns. All that is read lies in its structure, which is aligned for pointers. The two
    // states that are made are in no use, cleared while attached, and deleted once.
    unsafe {
        let interpreter = ffi::PyThreadState_GetInterpreter(first.as_ptr());
        let words = interpreter.cast::<i64>();
        let matching = |places: &mut dyn Iterator<Item = usize>, value: i64| -> Vec<usize> {
            places.filter(|&place| words.add(place).read_volatile() == value).collect()
        };
        let count = ffi::PyThreadState_GetID(first.as_ptr());
        let mut places = matching(&mut (0..SEARCHED / size_of::<i64>()), count);
        for _ in 0..2 {
            let state = ffi::PyThreadState_New(interpreter);
            if state.is_null() {
                return;
            }
            places = matching(&mut places.into_iter(), ffi::PyThreadState_GetID(state));
            ffi::PyThreadState_Clear(state);
            ffi::PyThreadState_Delete(state);
        }
        if let [place] = *places {
            words.add(place).write(start);
        }
    }
}
