//! The system calls of this crate that std does not offer.
#![allow(unsafe_code, reason = "the one POSIX file of this crate")]

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A regular file that this crate has opened by duplicating a descriptor.
pub(crate) struct RegularFile {
    descriptor: OwnedFd,
    size: u64,
}

impl RegularFile {
    /// A duplicate of the descriptor that an application named; `None` if it is no regular file, if its size says nothing
    /// of what reading it gives, or if there is no descriptor left. The application may close the number at any moment, and the process may open another file
    /// under it: so the duplicate is examined, which no other code closes.
    pub(crate) fn duplicate(descriptor: RawFd) -> Option<Self> {
        if descriptor < 0 {
            return None;
        }
        // SAFETY: F_DUPFD_CLOEXEC takes any number, and fails with EBADF for one that is not open. The result is a new
        // descriptor that only this function knows, or -1.
        let descriptor = unsafe {
            let duplicate = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0);
            if duplicate < 0 {
                return None;
            }
            OwnedFd::from_raw_fd(duplicate)
        };
        let mut status = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: `status` has room for what fstat writes, and is read only when it has written; the descriptor is
        // open as long as `descriptor` lives.
        let status = unsafe {
            if libc::fstat(descriptor.as_raw_fd(), status.as_mut_ptr()) != 0 {
                return None;
            }
            status.assume_init()
        };
        // Files of /proc have no size, and those of /sys a size of one page, but no blocks.
        if status.st_mode & libc::S_IFMT != libc::S_IFREG
            || status.st_size == 0
            || status.st_blocks == 0
        {
            return None;
        }
        Some(Self { descriptor, size: u64::try_from(status.st_size).unwrap_or(0) })
    }

    /// In bytes.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Moves the position, which the duplicate shares with the descriptor of the application; where it is then, in bytes.
    pub(crate) fn seek(&self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        use std::io::Seek;
        std::fs::File::from(self.descriptor.try_clone()?).seek(to)
    }

    /// The duplicate, open as long as `self` lives.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// CPU time and memory that a thread or a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// CPU seconds in user mode.
    pub(crate) user: f64,
    /// CPU seconds in the kernel.
    pub(crate) system: f64,
    /// The peak resident memory of the process, in bytes.
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
        // SAFETY: `usage` has room for the structure that getrusage writes; where it fails the zeros are a valid value.
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
    // SAFETY: sysconf has no precondition, and writes nothing.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) }
}

/// The name of this machine, as far as it is text.
pub(crate) fn hostname() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: gethostname writes at most the length it is given, which leaves the last byte NUL.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let length = name.iter().position(|&byte| byte == 0).unwrap_or(0);
    String::from_utf8_lossy(name.get(..length).unwrap_or_default()).into_owned()
}

/// The handler of Python, which processes that an application forks keep; 0 before it is known.
static PYTHON_HANDLER: AtomicUsize = AtomicUsize::new(0);

/// Signals that Python itself ignores, and those of faults, which are left to whatever reports faults.
const LEFT_ALONE: [libc::c_int; 11] = [
    libc::SIGPIPE,
    libc::SIGXFSZ,
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGSYS,
];

/// The handler of a signal, as a number.
pub(crate) fn handler_of(number: libc::c_int) -> usize {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: sigaction only writes to `action`, which is read if it has; it is async-signal-safe.
    unsafe {
        if libc::sigaction(number, std::ptr::null(), action.as_mut_ptr()) != 0 {
            return libc::SIG_DFL;
        }
        action.assume_init().sa_sigaction
    }
}

extern "C" fn on_ignored(_: libc::c_int) {}

/// From now on processes that are forked here have no signal blocked, and no handler but those of Python, which is
/// `python`. A signal that httpd ignores gets a handler that does nothing: that is not inherited by programs. To be called
/// before there are other threads.
pub(crate) fn release_signals_in_forks(python: usize) {
    PYTHON_HANDLER.store(python, Ordering::SeqCst);
    for number in (1..32).filter(|number| !LEFT_ALONE.contains(number)) {
        if handler_of(number) == libc::SIG_IGN {
            let handler: extern "C" fn(libc::c_int) = on_ignored;
            // SAFETY: the handler is a function of this library, which is never unloaded, and does nothing. It restarts
            // system calls.
            unsafe { libc::signal(number, handler as libc::sighandler_t) };
        }
    }
    // SAFETY: the function stays as long as the process, because the library is never unloaded, and it only makes
    // async-signal-safe calls. Without memory for it processes keep the signals of httpd.
    unsafe {
        libc::pthread_atfork(Some(hold_signals), Some(restore_signals), Some(release_signals));
    }
}

thread_local! {
    /// The signals that the thread had blocked before it began to fork.
    static BLOCKED: Cell<Option<libc::sigset_t>> = const { Cell::new(None) };
}

/// Before a fork: no signal may arrive in the new process while it still has the handlers of httpd.
extern "C" fn hold_signals() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises what pthread_sigmask then reads, and that initialises `before`, which is read where
    // it has not failed.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        let set = libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        BLOCKED.set((set == 0).then(|| before.assume_init()));
    }
}

/// After it, in the process that has forked.
extern "C" fn restore_signals() {
    if let Some(before) = BLOCKED.take() {
        // SAFETY: the mask is one that the kernel has given.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut())
        };
    }
}

/// After it, in the new process.
extern "C" fn release_signals() {
    let python = PYTHON_HANDLER.load(Ordering::SeqCst);
    for number in (1..32).filter(|number| !LEFT_ALONE.contains(number)) {
        let handler = handler_of(number);
        if ![libc::SIG_DFL, libc::SIG_IGN, python].contains(&handler) {
            // SAFETY: SIG_DFL is valid for every signal, and `signal` is async-signal-safe. This is the only thread of a
            // process that has just been forked.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
    }
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises what pthread_sigmask then reads; both are async-signal-safe.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_duplicate_stays_the_file_that_was_examined() {
        let path = std::env::temp_dir().join(format!("regular-file-{}", std::process::id()));
        std::fs::File::create(&path).unwrap().write_all(b"content").unwrap();
        let named = std::fs::File::open(&path).unwrap();
        let number = named.as_raw_fd();
        let file = RegularFile::duplicate(number).unwrap();
        // The application closes its descriptor, and the number becomes another file.
        drop(named);
        let other = std::fs::File::open("/dev/zero").unwrap();
        assert_eq!(other.as_raw_fd(), number, "the lowest free number is taken");
        let mut text = String::new();
        let duplicate = file.descriptor().try_clone_to_owned().unwrap();
        std::fs::File::from(duplicate).take(7).read_to_string(&mut text).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((file.size(), text.as_str()), (7, "content"));
    }

    #[test]
    fn only_regular_files_whose_size_is_known_are_duplicated() {
        let made_up = std::fs::File::open("/proc/self/status").unwrap();
        assert!(RegularFile::duplicate(made_up.as_raw_fd()).is_none());
        let device = std::fs::File::open("/dev/zero").unwrap();
        assert!(RegularFile::duplicate(device.as_raw_fd()).is_none());
        assert!(RegularFile::duplicate(-1).is_none());
        assert!(RegularFile::duplicate(1 << 20).is_none());
    }
}
