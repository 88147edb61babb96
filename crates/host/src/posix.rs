//! The POSIX calls of this crate that std does not offer.
#![allow(unsafe_code, reason = "the one POSIX file of this crate")]

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};

/// An open regular file that belongs to somebody else.
pub(crate) struct RegularFile<'a> {
    descriptor: BorrowedFd<'a>,
    size: u64,
}

impl RegularFile<'_> {
    /// The file behind a descriptor an application named; `None` if it is no regular file. What the
    /// application closes meanwhile is the application's fault and only makes a system call fail.
    pub(crate) fn of(descriptor: RawFd) -> Option<Self> {
        if descriptor < 0 {
            return None;
        }
        let mut status = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: `status` has room for what fstat writes, and is read only when it has written.
        let status = unsafe {
            if libc::fstat(descriptor, status.as_mut_ptr()) != 0 {
                return None;
            }
            status.assume_init()
        };
        if status.st_mode & libc::S_IFMT != libc::S_IFREG {
            return None;
        }
        // SAFETY: not -1, and just seen to be open.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        Some(Self { descriptor, size: u64::try_from(status.st_size).unwrap_or(0) })
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }
}

impl<'a> RegularFile<'a> {
    pub(crate) const fn descriptor(&self) -> BorrowedFd<'a> {
        self.descriptor
    }
}

/// What a thread or a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// CPU seconds in user mode.
    pub(crate) user: f64,
    /// CPU seconds in the kernel.
    pub(crate) system: f64,
    /// The most memory the process ever had, in bytes.
    pub(crate) most_resident: i64,
}

impl Usage {
    /// Of this process.
    pub(crate) fn process() -> Self {
        Self::of(libc::RUSAGE_SELF)
    }

    /// Of the calling thread.
    pub(crate) fn thread() -> Self {
        Self::of(libc::RUSAGE_THREAD)
    }

    fn of(who: libc::c_int) -> Self {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: there is room for what the call writes; all zeros is a valid value.
        let usage = unsafe {
            libc::getrusage(who, usage.as_mut_ptr());
            usage.assume_init()
        };
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        Self {
            user: seconds(usage.ru_utime),
            system: seconds(usage.ru_stime),
            // The kernel counts kilobytes.
            most_resident: usage.ru_maxrss * 1024,
        }
    }
}

/// The memory of this process that is resident now, in bytes.
pub(crate) fn resident() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: i64 = text.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    // SAFETY: asks for a number.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) }
}

/// The name of this machine, as far as it is text.
pub(crate) fn hostname() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: there is room for what is written, and one byte more, which stays NUL.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let length = name.iter().position(|&byte| byte == 0).unwrap_or(0);
    String::from_utf8_lossy(name.get(..length).unwrap_or_default()).into_owned()
}
