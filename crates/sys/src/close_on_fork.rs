//! Processes that an application forks (`os.fork`, `multiprocessing`). They inherit the worker's descriptors; as
//! long as one of them has a connection open, the web server does not see that the worker has exited. So in each of
//! them a socket whose other end is closed takes the place of every connection: the numbers stay in use, because
//! the process may still use them, and must not find another file of its own there. Programs that are executed
//! inherit none of them anyway (`FD_CLOEXEC`).
#![allow(unsafe_code, reason = "pthread_atfork, and dup3 onto descriptors of other owners")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

/// A bit for each descriptor that forked processes are not to have. Descriptors from 65536 on they keep.
static CLOSE_ON_FORK: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];
/// An application has forked this process.
static FORKED: AtomicBool = AtomicBool::new(false);
/// The descriptor of the socket that takes the place of the others.
static CLOSED_SOCKET: AtomicI32 = AtomicI32::new(-1);

/// From now on descriptors that are marked with [`CloseOnFork`] are not inherited by processes that are forked from
/// this one.
pub fn close_marked_on_fork() -> io::Result<()> {
    let (socket, _) = UnixStream::pair()?;
    CLOSED_SOCKET.store(socket.into_raw_fd(), Ordering::Relaxed);
    // SAFETY: `in_child` is a function of this program, which is never unloaded, and keeps to what is
    // async-signal-safe: atomics and one system call.
    match unsafe { libc::pthread_atfork(None, None, Some(in_child)) } {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

/// Whether an application has forked this process: it is then no worker, although it may return from the
/// application.
pub fn in_forked_child() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Runs in the new process before `fork` returns there. Only what is async-signal-safe is allowed: no allocation, no
/// locks.
extern "C" fn in_child() {
    FORKED.store(true, Ordering::Relaxed);
    for (index, word) in (0..).zip(&CLOSE_ON_FORK) {
        // The bits are cleared: a number may be another file's when this process forks in turn.
        let mut bits = word.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let number = index * 64 + bits.trailing_zeros() as RawFd;
            // SAFETY: takes numbers. The descriptor is open, because its mark goes before it is closed, and stays
            // open: its owner in this process, if that uses it at all, finds a connection that has ended.
            unsafe { libc::dup3(CLOSED_SOCKET.load(Ordering::Relaxed), number, libc::O_CLOEXEC) };
            bits &= bits - 1;
        }
    }
}

/// Marks a descriptor that forked processes are not to have, as long as this lives; to be dropped before the
/// descriptor is closed.
#[derive(Debug)]
pub struct CloseOnFork(usize);

impl CloseOnFork {
    /// Marks it.
    pub fn new(descriptor: BorrowedFd<'_>) -> Self {
        let mark = Self(descriptor.as_raw_fd().unsigned_abs() as usize);
        mark.with_word(|word, bit| word.fetch_or(bit, Ordering::Relaxed));
        mark
    }

    fn with_word(&self, act: impl FnOnce(&AtomicU64, u64) -> u64) {
        if let Some(word) = CLOSE_ON_FORK.get(self.0 / 64) {
            act(word, 1 << (self.0 % 64));
        }
    }
}

impl Drop for CloseOnFork {
    fn drop(&mut self) {
        self.with_word(|word, bit| word.fetch_and(!bit, Ordering::Relaxed));
    }
}
