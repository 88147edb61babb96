//! Numbers of thread states, up to Python 3.11. CPython counts them in each interpreter from 1, but `asyncio` remembers
//! by that number alone, for all interpreters, in which thread an event loop runs. A thread in another application's
//! interpreter would be taken for it: Django refuses its database there, and every loop to be started. So thread states
//! that this crate makes have numbers of their own. Threads that applications start keep CPython's.

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
