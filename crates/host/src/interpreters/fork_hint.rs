//! A line in the log before an application forks from a sub-interpreter by `os.fork()`, as `multiprocessing` does:
//! CPython ends the new process at once, with a message about its own inside. What a line of the log looks like is not
//! known here.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Object, Result};
use crate::failure::MAIN_INTERPRETER_ONLY;

/// In Python, because `os.register_at_fork` calls it. It says so once: an application may fork often.
const SOURCE: &str = r"
def before_fork():
    if lines:
        log.write(lines.pop())

import posix
posix.register_at_fork(before=before_fork)
";

/// Has a sub-interpreter tell `log`, a file object, what becomes of its forks. An interpreter with a lock of its own
/// refuses them by itself, before this is called.
pub(super) fn tell_of_forks<'py>(py: Attached<'py>, log: &Object<'py>) -> Result<'py, ()> {
    let line = format!(
        "WSGI0255: an application forks in a sub-interpreter, and CPython ends the new process at once. Hint: a fork \
         by Python {MAIN_INTERPRETER_ONLY}\n"
    );
    let lines = py.list()?;
    lines.append(&py.str(&line)?)?;
    let names = py.dict()?;
    let builtins = py.import(c"builtins")?;
    names.set_item(&py.interned("__builtins__")?, &builtins)?;
    names.set_item(&py.interned("lines")?, &lines)?;
    names.set_item(&py.interned("log")?, log)?;
    builtins.call_method(c"exec", [&py.str(SOURCE)?, &names]).map(drop)
}
