//! Descriptors that come into this process by their numbers, those that must not come, and by whom they are closed.
#![allow(
    unsafe_code,
    reason = "an inherited descriptor is a number until it is taken; SO_PASSRIGHTS; TIOCOUTQ; a descriptor that leaves its owner"
)]

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Takes over a descriptor that this program was started with, and keeps programs that this process starts from
/// having it.
///
/// # Errors
/// Where there is no such descriptor, where it is a standard one, and where it is close-on-exec: then it
/// cannot have come through the `exec` that began this program, and has an owner in this process.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::Error::other("it is a standard descriptor"));
    }
    // SAFETY: fcntl takes numbers, and only looks the descriptor up and marks it.
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::other("it was not inherited, or is taken already"));
    }
    // SAFETY: as for the call before.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: the descriptor is open and has no other owner in this program: what std opens is close-on-exec
    // from the start, and so is, from now on, what has been taken here.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// From now on `file` is the standard output and the standard error of this process.
pub fn replace_standard_output(file: BorrowedFd<'_>) -> io::Result<()> {
    rustix::stdio::dup2_stdout(file)?;
    Ok(rustix::stdio::dup2_stderr(file)?)
}

/// Writes what there is room for, with one call (write(2)).
pub fn write(file: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(file, bytes)?)
}

/// Reads and writes through this open file, whichever process has it, never wait from now on.
pub fn set_nonblocking(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(file, true)?)
}

/// Has the kernel refuse descriptors that are sent to this Unix socket (`SO_PASSRIGHTS`, from Linux 6.16 on): their
/// sender gets EPERM. Whether it does.
pub fn refuse_descriptors(socket: BorrowedFd<'_>) -> bool {
    // The number of all architectures but Alpha, PA-RISC and SPARC, which libc does not have yet.
    const SO_PASSRIGHTS: libc::c_int = 83;
    if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
        return false;
    }
    let off: libc::c_int = 0;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: setsockopt reads `length` bytes of `off`, which lives until it returns, and the descriptor is open
    // as long as it is borrowed.
    let set = unsafe {
        let number = socket.as_raw_fd();
        libc::setsockopt(number, libc::SOL_SOCKET, SO_PASSRIGHTS, (&raw const off).cast(), length)
    };
    set == 0
}

/// A descriptor that is given to `F` where it would be closed.
#[derive(Debug)]
pub struct ClosedBy<F: FnMut(OwnedFd)> {
    descriptor: ManuallyDrop<OwnedFd>,
    close: F,
}

impl<F: FnMut(OwnedFd)> ClosedBy<F> {
    /// The end of its owner gives `descriptor` to `close`.
    pub const fn new(descriptor: OwnedFd, close: F) -> Self {
        Self { descriptor: ManuallyDrop::new(descriptor), close }
    }
}

impl<F: FnMut(OwnedFd)> AsFd for ClosedBy<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl<F: FnMut(OwnedFd)> Drop for ClosedBy<F> {
    fn drop(&mut self) {
        // SAFETY: taken once, because drop runs once, and not used after it.
        (self.close)(unsafe { ManuallyDrop::take(&mut self.descriptor) });
    }
}

pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Whether the other end has yet to read some of what has been sent over this Unix socket; what cannot tell has.
pub fn is_unread(socket: BorrowedFd<'_>) -> bool {
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (unix(7), `SIOCOUTQ`) writes one `int` to the address, during the call alone; `count` outlives it.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    done < 0 || count > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, IntoRawFd};

    #[test]
    fn descriptor_is_taken_once_and_only_where_it_was_inherited() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(take_inherited(file.as_raw_fd()).is_err());
        let number = file.into_raw_fd();
        // SAFETY: takes numbers; the descriptor belongs to this test.
        unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
        let taken = take_inherited(number).unwrap();
        assert!(take_inherited(number).is_err());
        drop(taken);
        assert!(take_inherited(number).is_err());
        assert!(take_inherited(2).is_err());
    }
}
