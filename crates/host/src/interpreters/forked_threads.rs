//! `threading` in a process that an application forks from a thread that serves requests, up to Python 3.12. `threading`
//! knows such a thread as a `_DummyThread` once the application has asked for it (`logging` does with every record). In
//! the new process it is the main thread, for which `threading` waits at the end, and cannot, because a `_DummyThread`
//! has no lock for it: `multiprocessing` then ends with status 1 and without a word. From 3.13 on CPython itself makes
//! it a `_MainThread`, as is done here.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Result};

/// In Python, because it works on Python objects of `threading`.
const SOURCE: &str = r"
def after_fork():
    thread = threading._main_thread
    if type(thread) is threading._DummyThread:
        thread.__class__ = threading._MainThread
        thread._name = 'MainThread'
        thread._daemonic = False
        if thread._tstate_lock is None:
            thread._set_tstate_lock()

import os, threading
if hasattr(threading.Thread, '_set_tstate_lock'):
    os.register_at_fork(after_in_child=after_fork)
";

/// Has `threading` of an interpreter put right in processes that are forked from it. `threading` has been imported, so
/// that it does its own work first.
pub(super) fn name_main_threads_of_forks<'py>(py: Attached<'py>) -> Result<'py, ()> {
    if cfg!(Py_3_13) {
        return Ok(());
    }
    let names = py.dict()?;
    let builtins = py.import(c"builtins")?;
    names.set_item(&py.interned("__builtins__")?, &builtins)?;
    builtins.call_method(c"exec", [&py.str(SOURCE)?, &names]).map(drop)
}
