//! Another program in the place of this one.
#![allow(unsafe_code, reason = "fexecve, and the marks of what it hands over")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

/// Runs an open file in the place of what this process runs, with its environment, the standard descriptors and
/// `inherited`, which keep their numbers. Returns only where that cannot be done.
pub fn execute(
    program: BorrowedFd<'_>,
    arguments: &[CString],
    inherited: impl Iterator<Item = RawFd>,
) -> io::Error {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    });
    let variables: Vec<CString> = variables.collect();
    let (arguments, variables) = (pointers(arguments), pointers(&variables));
    let inherited: Vec<RawFd> = inherited.collect();
    for &number in &inherited {
        // SAFETY: takes numbers. Only the mark changes, and it is put back below.
        if unsafe { libc::fcntl(number, libc::F_SETFD, 0) } != 0 {
            return io::Error::last_os_error();
        }
    }
    // SAFETY: both are lists of strings that end with a NUL, and end with a null pointer; the strings are those
    // of `arguments` and `variables`, which outlive the call.
    unsafe { libc::fexecve(program.as_raw_fd(), arguments.as_ptr(), variables.as_ptr()) };
    let why = io::Error::last_os_error();
    for number in inherited {
        // SAFETY: as above. The mark says that the descriptor has an owner here (see `take_inherited`).
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    why
}

/// The addresses of the strings and a null pointer, as `exec` wants them. They are good as long as the strings.
pub(crate) fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}
