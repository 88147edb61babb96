//! Another program in the place of this one.
#![allow(unsafe_code, reason = "fexecve, and the marks of what it hands over")]

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

/// What is run in the place of this process.
#[derive(Clone, Copy, Debug)]
pub enum Executable<'a> {
    /// A program that is open.
    Open(BorrowedFd<'a>),
    /// The file of this name.
    Named(&'a CStr),
}

/// Runs another program in the place of what this process runs, with these variables, the standard descriptors and
/// `inherited`, which keep their numbers. Returns only where that cannot be done.
pub fn execute(
    program: Executable<'_>,
    arguments: &[CString],
    variables: impl Iterator<Item = (OsString, OsString)>,
    inherited: impl Iterator<Item = RawFd>,
) -> io::Error {
    let variables = variables.filter_map(|(name, value)| {
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
    let (arguments, variables) = (arguments.as_ptr(), variables.as_ptr());
    // SAFETY: both are lists of strings that end with a NUL, and end with a null pointer; the strings are those
    // of `arguments` and `variables`, which outlive the call, as does a name.
    unsafe {
        match program {
            Executable::Open(file) => libc::fexecve(file.as_raw_fd(), arguments, variables),
            Executable::Named(name) => libc::execve(name.as_ptr(), arguments, variables),
        }
    };
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
