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

/// The name of a user, or `uid N` for one without a name.
pub(crate) fn user_name(uid: u32) -> String {
    let mut record = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut found = std::ptr::null_mut();
    let mut buffer = [0_u8; 4096];
    // SAFETY: the strings of the record stand in `buffer`, whose length is given; `found` is null unless
    // the record has been filled.
    let name = unsafe {
        libc::getpwuid_r(
            uid,
            record.as_mut_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &raw mut found,
        );
        found.as_ref().map(|record| std::ffi::CStr::from_ptr(record.pw_name))
    };
    name.map_or_else(|| format!("uid {uid}"), |name| name.to_string_lossy().into_owned())
}
