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
