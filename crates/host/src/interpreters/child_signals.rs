//! Programs and processes that applications start in Apache's own processes find the signals of a fresh program: in
//! Apache's threads all signals are blocked, and its handlers are those of a server.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Result};
use crate::posix;

/// What is done in each interpreter.
const SOURCE: &str = include_str!("child_signals.py");

/// Has programs that the interpreter starts begin without blocked signals. `main`: the main interpreter, on the main
/// thread; then it is seen to processes that are forked as well.
pub(crate) fn release_signals(py: Attached<'_>, main: bool) -> Result<'_, ()> {
    if main {
        release_in_forks(py)?;
    }
    let names = py.dict()?;
    py.import(c"builtins")?.call_method(c"exec", [&py.str(SOURCE)?, &names])?;
    Ok(())
}

/// Handlers of Python go on in a forked process, those of httpd do not: Python's is learnt from a signal that nothing uses.
fn release_in_forks(py: Attached<'_>) -> Result<'_, ()> {
    let signal = py.import(c"signal")?;
    let (number, handler) =
        (signal.attribute(c"SIGURG")?, signal.attribute(c"default_int_handler")?);
    signal.call_method(c"signal", [&number, &handler])?;
    let known = posix::handler_of(libc::SIGURG);
    signal.call_method(c"signal", [&number, &signal.attribute(c"SIG_DFL")?])?;
    posix::release_signals_in_forks(known);
    Ok(())
}
