//! The POSIX calls of this crate that std does not offer.
#![allow(unsafe_code, reason = "the one POSIX file of this crate")]

/// Whether this process may become any user.
pub(crate) fn is_root() -> bool {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The effective user and group of this process.
pub(crate) fn account() -> (u32, u32) {
    // SAFETY: cannot fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}
