//! `apr_status_t`, and what its values mean.

use crate::bindings::{
    APR_EGENERAL, APR_EINVAL, apr_status_t, apr_strerror, shim_status_is_again, shim_status_is_eof,
    shim_status_is_reset, shim_status_is_timeup,
};
use std::ffi::CStr;
use std::fmt;

/// What an APR function returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) apr_status_t);

impl Status {
    pub(crate) const fn is_success(self) -> bool {
        self.0 == 0
    }

    /// A time-out has expired.
    pub(crate) fn is_timeout(self) -> bool {
        // SAFETY: a pure function of a number, without a pointer.
        unsafe { shim_status_is_timeup(self.0) != 0 }
    }

    /// Nothing has arrived yet, and the call was not to wait.
    pub(crate) fn is_again(self) -> bool {
        // SAFETY: a pure function of a number, without a pointer.
        unsafe { shim_status_is_again(self.0) != 0 }
    }

    /// Something is wrong with what was given, not with the system: a filter's word for data that it cannot
    /// decode, or will not.
    pub(crate) fn is_refusal(self) -> bool {
        [APR_EGENERAL, APR_EINVAL].into_iter().any(|code| i64::from(self.0) == i64::from(code))
    }

    /// The other side closed the connection.
    pub(crate) fn is_disconnect(self) -> bool {
        // SAFETY: a pure function of a number, without a pointer.
        unsafe { shim_status_is_eof(self.0) != 0 || shim_status_is_reset(self.0) != 0 }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; 256];
        // SAFETY: APR writes at most the given length, NUL included.
        unsafe { apr_strerror(self.0, text.as_mut_ptr().cast(), text.len()) };
        let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
        f.write_str(&text.to_string_lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn a_status_knows_what_it_means() {
        assert!(Status(0).is_success());
        assert!(Status(libc::ECONNRESET).is_disconnect());
        assert!(Status(libc::EPIPE).is_disconnect());
        assert!(!Status(libc::EACCES).is_disconnect());
        assert!(Status(libc::EINVAL).is_refusal() && Status(20014).is_refusal());
        assert!(!Status(libc::EIO).is_refusal() && !Status(libc::ENOMEM).is_refusal());
        assert_eq!(Status(libc::EACCES).to_string(), "Permission denied");
    }
}
