//! The crate as an extension module: loaded into a CPython that its own program has started, it takes the process over.
//! Which program that is, and with which command line, is not known here.

use super::open_code;
use super::thread_state::ThreadState;
use pyo3_ffi as ffi;
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;
use std::panic::catch_unwind;
use std::sync::OnceLock;

/// What the function `run(descriptor)` of the module does: with the Python that it was called in, detached, and the
/// descriptor. It ends the process: Python's own program never goes on.
pub type EntryPoint = fn(RunningPython, RawFd) -> !;

/// A CPython that its own program has started: the main interpreter, which the main thread has left detached.
pub struct RunningPython(ThreadState);

impl RunningPython {
    /// The state of the main thread.
    pub(super) fn into_state(self) -> ThreadState {
        self.0
    }
}

static ENTRY_POINT: OnceLock<EntryPoint> = OnceLock::new();
/// As that of Rust's own programs.
const EXIT_STATUS_OF_A_PANIC: c_int = 101;

/// A structure of CPython that it writes to.
struct Definition<T>(UnsafeCell<T>);

// SAFETY: only CPython writes to it, under its own locks, and only its address is used here.
unsafe impl<T> Sync for Definition<T> {}

static METHODS: Definition<[ffi::PyMethodDef; 2]> = Definition(UnsafeCell::new([
    ffi::PyMethodDef {
        ml_name: c"run".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: run },
        ml_flags: ffi::METH_O,
        ml_doc: std::ptr::null(),
    },
    ffi::PyMethodDef::zeroed(),
]));

static MODULE: Definition<ffi::PyModuleDef> = Definition(UnsafeCell::new(ffi::PyModuleDef {
    m_base: ffi::PyModuleDef_HEAD_INIT,
    m_name: c"wsgi_host".as_ptr(),
    m_doc: std::ptr::null(),
    m_size: 0,
    m_methods: METHODS.0.get().cast(),
    m_slots: std::ptr::null_mut(),
    m_traverse: None,
    m_clear: None,
    m_free: None,
}));

/// The definition of the module for `PyInit_…`, whose function `run` is `entry_point`. CPython has called that function,
/// attached, and makes the module of what is returned.
pub fn module_definition(entry_point: EntryPoint) -> *mut c_void {
    // A second call has the same one.
    let _ = ENTRY_POINT.set(entry_point);
    // SAFETY: the definition is static, as CPython demands, and nothing else writes to it.
    unsafe { ffi::PyModuleDef_Init(MODULE.0.get()).cast() }
}

/// `run(descriptor)`.
unsafe extern "C" fn run(_: *mut ffi::PyObject, number: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls this function attached, with an object that it keeps during the call.
    let number = unsafe { ffi::PyLong_AsLong(number) };
    let (Ok(number), Some(entry_point)) = (RawFd::try_from(number), ENTRY_POINT.get()) else {
        return std::ptr::null_mut();
    };
    #[allow(clippy::disallowed_methods, reason = "nothing of this crate is above it")]
    let entered = catch_unwind(|| {
        open_code::install();
        // SAFETY: attached by the state of the main thread, which CPython's program owns and never uses again, because
        // the entry point ends the process.
        let state = unsafe { ThreadState::detach_current() };
        state.map(|state| entry_point(RunningPython(state), number))
    });
    // A panic has been logged. Python must not go on, least of all detached.
    drop(entered);
    // SAFETY: ends the process, which nothing can outlive.
    unsafe { libc::_exit(EXIT_STATUS_OF_A_PANIC) }
}
