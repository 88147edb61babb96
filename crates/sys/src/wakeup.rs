//! A descriptor that one thread waits for and others make readable (`eventfd`), a signal handler among them.
#![allow(unsafe_code, reason = "a signal handler")]

use crate::descriptors::check;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Wakes a thread that waits for it.
#[derive(Debug)]
pub struct Wakeup(OwnedFd);

impl Wakeup {
    /// One that is not readable.
    ///
    /// # Errors
    /// Those of eventfd(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Makes the descriptor readable.
    pub fn wake(&self) {
        // Fails only where it is readable already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes the descriptor unreadable until the next [`Wakeup::wake`].
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }

    /// From now on this signal, where it comes from another process, wakes the thread and does nothing else; whether it
    /// has come is told by [`has_signal_come`]. Blocking calls of the thread that gets it fail with `EINTR`, wherever it
    /// comes from. The descriptor is to last as long as the process.
    ///
    /// # Errors
    /// Those of sigaction(2).
    pub fn wake_on_signal(&'static self, number: i32) -> io::Result<()> {
        WAKEUP.store(self.0.as_raw_fd(), Ordering::SeqCst);
        OWNER.store(std::process::id().cast_signed(), Ordering::SeqCst);
        // SAFETY: all zeros is a valid sigaction, which is completed before it is used; the handler is a function of this
        // program that keeps to async-signal-safe calls.
        check(unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                on_signal;
            action.sa_sigaction = handler as libc::sighandler_t;
            // Without SA_RESTART, as APR sets its handlers: httpd signals its own process to end a read of its main thread.
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(number, &raw const action, std::ptr::null_mut())
        })
        .map(drop)
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The descriptor that the handler writes to.
static WAKEUP: AtomicI32 = AtomicI32::new(-1);
/// The process that the handler is for: none that it forks.
static OWNER: AtomicI32 = AtomicI32::new(0);
static HAS_COME: AtomicBool = AtomicBool::new(false);

/// Whether the signal of [`Wakeup::wake_on_signal`] has come from another process.
pub fn has_signal_come() -> bool {
    HAS_COME.load(Ordering::SeqCst)
}

extern "C" fn on_signal(
    number: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: getpid, signal, raise and write are async-signal-safe, and errno is put back; the kernel gives a siginfo to a
    // handler that is set with SA_SIGINFO. The descriptor lasts as long as the process (`wake_on_signal`).
    unsafe {
        let own = libc::getpid();
        if own != OWNER.load(Ordering::Relaxed) {
            libc::signal(number, libc::SIG_DFL);
            libc::raise(number);
            return;
        }
        // httpd's own threads signal their process when a graceful end begins.
        if (*info).si_pid() == own {
            return;
        }
        HAS_COME.store(true, Ordering::SeqCst);
        let errno = *libc::__errno_location();
        let one = 1_u64.to_ne_bytes();
        libc::write(WAKEUP.load(Ordering::Relaxed), one.as_ptr().cast(), one.len());
        *libc::__errno_location() = errno;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::is_readable;
    use std::time::Duration;

    #[test]
    fn wakeup_is_readable_from_the_first_call_until_it_is_cleared() {
        let wakeup = Wakeup::new().unwrap();
        assert!(!is_readable(wakeup.as_fd(), Duration::ZERO));
        wakeup.wake();
        wakeup.wake();
        assert!(is_readable(wakeup.as_fd(), Duration::ZERO));
        wakeup.clear();
        assert!(!is_readable(wakeup.as_fd(), Duration::ZERO));
        wakeup.clear();
    }

    /// One for all tests: the process has one handler's descriptor.
    fn for_signals() -> &'static Wakeup {
        static WAKEUP: std::sync::OnceLock<Wakeup> = std::sync::OnceLock::new();
        WAKEUP.get_or_init(|| Wakeup::new().unwrap())
    }

    #[test]
    fn signal_of_the_own_process_ends_a_blocking_read_of_the_thread_that_gets_it() {
        let wakeup = for_signals();
        wakeup.wake_on_signal(libc::SIGURG).unwrap();
        let (pipe, write_end) = std::io::pipe().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            // SAFETY: the own thread's name for pthread_kill, which is called while this thread runs.
            sender.send(unsafe { libc::pthread_self() }).unwrap();
            rustix::io::read(&pipe, &mut [0_u8; 1])
        });
        let thread = receiver.recv().unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while !reader.is_finished() && std::time::Instant::now() < until {
            // SAFETY: the thread has not been joined, and the signal has a handler.
            assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGURG) }, 0);
            std::thread::sleep(Duration::from_millis(10));
        }
        // A read that has been restarted ends with the pipe.
        drop(write_end);
        assert_eq!(reader.join().unwrap(), Err(rustix::io::Errno::INTR));
    }

    #[test]
    fn signal_of_another_process_wakes_the_thread_and_one_of_its_own_does_not() {
        let wakeup = for_signals();
        wakeup.wake_on_signal(libc::SIGUSR2).unwrap();
        let own = std::process::id().cast_signed();
        // SAFETY: a signal to this process, which has a handler for it.
        assert_eq!(unsafe { libc::kill(own, libc::SIGUSR2) }, 0);
        assert!(!is_readable(wakeup.as_fd(), Duration::from_millis(50)) && !has_signal_come());
        let sent = std::process::Command::new("kill").args(["-USR2", &own.to_string()]).status();
        assert!(sent.unwrap().success());
        assert!(is_readable(wakeup.as_fd(), Duration::from_secs(10)) && has_signal_come());
    }
}
