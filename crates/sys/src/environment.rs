//! What the C library keeps for the whole process: environment variables, the locale, the time zone.
#![allow(unsafe_code, reason = "setenv, setlocale and localtime_r")]

use crate::threads::expect_one;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;

/// Sets an environment variable.
///
/// # Errors
/// In a process of several threads, where another one could be reading the environment; where the name or the value
/// cannot be one.
pub fn set_variable(name: &OsStr, value: &OsStr) -> io::Result<()> {
    expect_one()?;
    let (name_bytes, value_bytes) = (name.as_bytes(), value.as_bytes());
    if name_bytes.is_empty()
        || name_bytes.contains(&b'=')
        || [name_bytes, value_bytes].concat().contains(&0)
    {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: no other thread can read the environment at the same time, because there is none.
    unsafe { std::env::set_var(name, value) };
    Ok(())
}

/// Removes an environment variable.
///
/// # Errors
/// As those of [`set_variable`].
pub fn unset_variable(name: &OsStr) -> io::Result<()> {
    expect_one()?;
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.contains(&b'=') || bytes.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: no other thread can read the environment at the same time, because there is none.
    unsafe { std::env::remove_var(name) };
    Ok(())
}

/// Makes `LC_ALL` of the environment the locale of this process.
///
/// # Errors
/// Where the system does not have that locale, and in a process of several threads.
pub fn set_locale() -> io::Result<()> {
    expect_one()?;
    // SAFETY: a static string with a NUL. There is no other thread that could use the locale or the string
    // that the call returns, which is only compared with null.
    let known = unsafe { !libc::setlocale(libc::LC_ALL, c"".as_ptr()).is_null() };
    if known { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Makes `name` the locale of text (`LC_CTYPE`) of this process; an empty name is that which the environment names. The
/// result is its name.
///
/// # Errors
/// `NotFound` where the system does not have that locale; another one in a process of several threads.
pub fn set_text_locale(name: &CStr) -> io::Result<Vec<u8>> {
    expect_one()?;
    // SAFETY: a string with a NUL. There is no other thread that could use the locale, or replace the string that the call
    // returns, which is null or has a NUL, and is copied at once.
    unsafe {
        let known = libc::setlocale(libc::LC_CTYPE, name.as_ptr());
        if known.is_null() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(CStr::from_ptr(known).to_bytes().to_vec())
    }
}

/// Sets the permission bits that new files of this process do not get; gives those before.
pub fn set_umask(mask: u32) -> u32 {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask)).as_raw_mode()
}

/// A moment, in seconds since 1970, in the local time zone.
pub fn local_time(seconds: i64) -> libc::tm {
    // SAFETY: every field of `tm` may be zero, and localtime_r writes to it alone. The environment, where it
    // looks for `TZ`, changes only in a process of one thread ([`set_variable`]).
    unsafe {
        let mut time: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const seconds, &raw mut time);
        time
    }
}
