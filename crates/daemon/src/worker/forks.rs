//! Processes that an application forks (`os.fork`, `multiprocessing`). They have what the worker had open; as
//! long as one of them has a connection, the worker's end does not show at the other side. So in their place a
//! socket stands there whose other end is gone: the numbers stay taken, because the process may still use them,
//! and must not find another file of its own. Programs that are started never have them.
#![forbid(unsafe_code)]

use crate::posix;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

/// A bit for each descriptor that is not for them. What comes from 65536 on they keep.
static KEPT_BACK: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];
/// This process is one of them.
static FORKED: AtomicBool = AtomicBool::new(false);
/// The number of what stands in the place of descriptors that are kept back.
static DEAD: AtomicI32 = AtomicI32::new(-1);

/// From now on descriptors that are [kept back](KeptBack) are not in processes that are forked from this one.
pub(crate) fn watch() -> io::Result<()> {
    let (dead, _) = UnixStream::pair()?;
    DEAD.store(dead.into_raw_fd(), Ordering::Relaxed);
    posix::at_fork(in_child)
}

/// Whether an application has forked this process, which therefore is no worker, whatever it returns from.
pub(crate) fn is_one() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Runs between `fork` and whatever the new process does first: no memory, no locks.
extern "C" fn in_child() {
    FORKED.store(true, Ordering::Relaxed);
    for (index, word) in (0..).zip(&KEPT_BACK) {
        // Once: the number may be another file's when this process forks again.
        let mut bits = word.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let number = index * 64 + bits.trailing_zeros() as RawFd;
            posix::replace_inherited(number, DEAD.load(Ordering::Relaxed));
            bits &= bits - 1;
        }
    }
}

/// Keeps a descriptor back as long as it lives; to be dropped before the descriptor is closed.
pub(crate) struct KeptBack(usize);

impl KeptBack {
    pub(crate) fn new(descriptor: BorrowedFd<'_>) -> Self {
        let kept = Self(descriptor.as_raw_fd().unsigned_abs() as usize);
        kept.with_word(|word, bit| word.fetch_or(bit, Ordering::Relaxed));
        kept
    }

    fn with_word(&self, act: impl FnOnce(&AtomicU64, u64) -> u64) {
        if let Some(word) = KEPT_BACK.get(self.0 / 64) {
            act(word, 1 << (self.0 % 64));
        }
    }
}

impl Drop for KeptBack {
    fn drop(&mut self) {
        self.with_word(|word, bit| word.fetch_and(!bit, Ordering::Relaxed));
    }
}
