//! Signals as something to wait for.
#![allow(unsafe_code, reason = "a signal handler")]

use crate::descriptors::check;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

pub use libc::{
    SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGXCPU,
    SIGXFSZ,
};

/// The descriptor that the handler writes to; -1 before there is one.
static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);
/// The process whose signals are noted: none that an application forked.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// A bit for each signal that has come.
static PENDING: AtomicU64 = AtomicU64::new(0);

/// The signals of this process as a descriptor that can be waited for.
#[derive(Debug)]
pub struct Signals(OwnedFd);

extern "C" fn on_signal(number: libc::c_int) {
    // SAFETY: getpid, signal, raise and write are async-signal-safe, and errno is put back. The number written
    // to is that of an eventfd that `Signals` owns; after its end the write goes to whatever has the number,
    // which is why a process has one `Signals` for its life.
    unsafe {
        if libc::getpid() != OWNER.load(Ordering::Relaxed) {
            libc::signal(number, libc::SIG_DFL);
            libc::raise(number);
            return;
        }
        let errno = *libc::__errno_location();
        PENDING.fetch_or(1 << number, Ordering::SeqCst);
        let one = 1_u64.to_ne_bytes();
        libc::write(SIGNAL_PIPE.load(Ordering::Relaxed), one.as_ptr().cast(), one.len());
        *libc::__errno_location() = errno;
    }
}

impl Signals {
    /// From now on these signals are noted for this process instead of what they did before.
    pub fn watch(numbers: &[i32]) -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        PENDING.store(0, Ordering::SeqCst);
        OWNER.store(std::process::id().cast_signed(), Ordering::SeqCst);
        SIGNAL_PIPE.store(event.as_raw_fd(), Ordering::SeqCst);
        let signals = Self(event);
        for &number in numbers {
            // SAFETY: all zeros is a valid sigaction, which is completed before it is used; the handler is a
            // function of this program that keeps to async-signal-safe calls.
            check(unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let handler: extern "C" fn(libc::c_int) = on_signal;
                action.sa_sigaction = handler as libc::sighandler_t;
                action.sa_flags = libc::SA_RESTART;
                libc::sigaction(number, &raw const action, std::ptr::null_mut())
            })?;
        }
        Ok(signals)
    }

    /// Which of the signals have come since the last call.
    pub fn take(&self, numbers: &[i32]) -> Vec<i32> {
        // Empties the eventfd; where it is empty already there is nothing to wait for.
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
        let pending = PENDING.swap(0, Ordering::SeqCst);
        numbers.iter().copied().filter(|number| pending & (1 << number) != 0).collect()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // The number may be another file's next.
        let _ = SIGNAL_PIPE.compare_exchange(
            self.0.as_raw_fd(),
            -1,
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

extern "C" fn on_disregarded(number: libc::c_int) {
    // SAFETY: getpid, signal and raise are async-signal-safe.
    unsafe {
        if libc::getpid() != OWNER.load(Ordering::Relaxed) {
            libc::signal(number, libc::SIG_DFL);
            libc::raise(number);
        }
    }
}

/// From now on this signal does nothing to this process. In processes that it forks, and in programs that it starts, the
/// signal does what it does by default, unlike one that is ignored.
pub fn disregard_signal(number: i32) {
    OWNER.store(std::process::id().cast_signed(), Ordering::SeqCst);
    let handler: extern "C" fn(libc::c_int) = on_disregarded;
    // SAFETY: the handler is a function of this program that keeps to async-signal-safe calls; a wrong number only fails.
    // `signal` of the C library restarts system calls.
    unsafe { libc::signal(number, handler as libc::sighandler_t) };
}

/// From now on no signal arrives in the calling thread, but for those that it raises by a fault of its own.
pub fn block_signals() {
    const OWN: [i32; 8] = [
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGSEGV,
        libc::SIGPIPE,
        libc::SIGSYS,
    ];
    // SAFETY: all zeros is a set of signals, which sigfillset initialises before the others use it; they take numbers.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut signals);
        for number in OWN {
            libc::sigdelset(&raw mut signals, number);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
    }
}

/// From now on this signal does nothing; programs that Python starts have it by default all the same.
pub fn ignore_signal(number: i32) {
    // SAFETY: SIG_IGN is a valid disposition of every signal number, and a wrong number only fails.
    unsafe { libc::signal(number, libc::SIG_IGN) };
}

/// From now on this signal does what it does by default.
pub fn reset_signal(number: i32) {
    // SAFETY: SIG_DFL is a valid disposition of every signal number, and a wrong number only fails.
    unsafe { libc::signal(number, libc::SIG_DFL) };
}
