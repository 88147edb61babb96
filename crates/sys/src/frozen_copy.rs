//! A copy of this process that stands still: code that reads memory which other threads change runs in it, and can at
//! worst end the copy.
//!
//! The copy has the calling thread only, shares the table of descriptors, so that it keeps no connection open, and is
//! waited for by this file alone: it sends no SIGCHLD, and `wait` without `__WALL` does not find it.
#![allow(unsafe_code, reason = "clone(2), memory that both processes have")]

use crate::descriptors::check;
use rustix::mm::{self, MapFlags, ProtFlags};
use std::io;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

/// What runs in the copy: it hands bytes on to the function that it is given.
type Reader<'a> = &'a dyn Fn(&mut dyn FnMut(&[u8]));

/// The first bytes of the shared memory: how many bytes follow.
const HEAD: usize = size_of::<usize>();
/// As much as a worker can report to its manager, in bytes.
const ROOM: usize = 96 << 10;
/// Far longer than a copy takes to read that much.
const LIMIT: Duration = Duration::from_secs(2);
/// How often the end of the copy is looked for.
const STEP: Duration = Duration::from_millis(1);

/// Has `read` run in a copy of this process that stands still, for at most two seconds, and gives at most 96 KiB of what
/// that hands on, and whether this is all that there is. A copy that crashes or does not end is no error: what it has
/// handed on until then is given.
///
/// # Errors
/// Where there can be no copy (clone(2)).
///
/// # Safety
/// `read` neither allocates nor waits for a lock, which another thread may have held when the copy was made; it calls
/// nothing that is not async-signal-safe, unless it may end the copy. It must not be relied on to return.
pub unsafe fn run_in_frozen_copy(read: Reader<'_>) -> io::Result<(Vec<u8>, bool)> {
    // SAFETY: the caller's promise is the same.
    unsafe { run(ROOM, LIMIT, read) }
}

/// # Safety
/// As for [`run_in_frozen_copy`].
unsafe fn run(room: usize, limit: Duration, read: Reader<'_>) -> io::Result<(Vec<u8>, bool)> {
    let memory = Shared::new(HEAD + room)?;
    // SAFETY: the sets are filled before they are used. No handler may run in the copy, and none needs to: a crash with
    // a blocked signal ends it. `clone` without CLONE_VM returns twice, as fork(2) does, with two copies of this stack;
    // what the second one does is `serve`. Its arguments behind the flags are 0 in the order of every architecture.
    let child = unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        let flags = libc::c_long::from(libc::CLONE_FILES);
        #[cfg(not(target_arch = "s390x"))]
        let child = libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize);
        #[cfg(target_arch = "s390x")]
        let child = libc::syscall(libc::SYS_clone, 0_usize, flags, 0_usize, 0_usize, 0_usize);
        if child == 0 {
            serve(&memory, read);
        }
        let child = check(i32::try_from(child).unwrap_or(-1));
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
        child?
    };
    let is_whole = wait(child, Instant::now() + limit) && !memory.is_full();
    Ok((memory.take(), is_whole))
}

/// The copy.
///
/// # Safety
/// Only in a process that was just made for it.
unsafe fn serve(memory: &Shared, read: Reader<'_>) -> ! {
    // SAFETY: system calls that take numbers. A core file of the copy would be one of a process that is well.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
    }
    read(&mut |bytes| memory.append(bytes));
    // SAFETY: leaves without unwinding and without exit functions.
    unsafe { libc::_exit(0) }
}

/// Waits for the end of a copy, and ends it at `deadline`; whether it has ended by itself and in order.
fn wait(child: i32, deadline: Instant) -> bool {
    let mut flags = libc::__WALL | libc::WNOHANG;
    loop {
        let mut status = 0;
        // SAFETY: takes numbers and the address of one that is written.
        match unsafe { libc::waitpid(child, &raw mut status, flags) } {
            0 if Instant::now() < deadline => std::thread::sleep(STEP),
            0 => {
                // SAFETY: takes numbers; the child has not been waited for, so that the number is still its own.
                unsafe { libc::kill(child, libc::SIGKILL) };
                flags = libc::__WALL;
            }
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            ended => return ended == child && libc::WIFEXITED(status),
        }
    }
}

/// Memory that this process has together with a copy.
struct Shared {
    memory: NonNull<u8>,
    length: usize,
}

impl Shared {
    fn new(length: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice, that touches no memory of this program.
        let memory =
            unsafe { mm::mmap_anonymous(ptr::null_mut(), length, access, MapFlags::SHARED) }?;
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory, length })
    }

    /// How many bytes are in it. One more than there is room for says that some have not found room.
    fn used(&self) -> usize {
        // SAFETY: the mapping is longer than the head, and aligned to a page. This process reads it when the copy, which
        // alone writes it, has ended.
        unsafe { self.memory.cast::<usize>().as_ptr().read_volatile() }
    }

    fn is_full(&self) -> bool {
        self.used() > self.length - HEAD
    }

    /// Appends what finds room; in the copy.
    fn append(&self, bytes: &[u8]) {
        let (used, room) = (self.used(), self.length - HEAD);
        let count = bytes.len().min(room.saturating_sub(used));
        let lost = usize::from(count < bytes.len());
        // SAFETY: `used` and `count` together are within the mapping behind its head. The length is written behind the
        // bytes, so that a crash leaves no length without its bytes.
        unsafe {
            if count > 0 {
                let to = self.memory.as_ptr().add(HEAD + used);
                ptr::copy_nonoverlapping(bytes.as_ptr(), to, count);
            }
            let used = self.memory.cast::<usize>().as_ptr();
            used.write_volatile((used.read_volatile() + count + lost).min(room + 1));
        }
    }

    /// The bytes; in this process, once the copy has ended.
    fn take(self) -> Vec<u8> {
        let count = self.used().min(self.length - HEAD);
        // SAFETY: within the mapping, behind its head; nothing writes there any more.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(HEAD), count).to_vec() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, of which no reference is left. It only fails for other addresses.
        let _ = unsafe { mm::munmap(self.memory.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    const LONG: Duration = Duration::from_secs(20);

    fn frozen(room: usize, limit: Duration, read: Reader<'_>) -> (Vec<u8>, bool) {
        // SAFETY: what the tests read with allocates nothing and takes no lock.
        unsafe { run(room, limit, read) }.unwrap()
    }

    #[test]
    fn output_comes_whole_or_up_to_its_room() {
        let (bytes, is_whole) = frozen(64, LONG, &|out| {
            out(b"one ");
            out(b"two");
        });
        assert!(bytes == b"one two" && is_whole);
        let (bytes, is_whole) = frozen(7, LONG, &|out| {
            out(b"one ");
            out(b"two");
        });
        assert!(bytes == b"one two" && is_whole);
        let (bytes, is_whole) = frozen(6, LONG, &|out| {
            out(b"one ");
            out(b"two");
            out(b"three");
        });
        assert!(bytes == b"one tw" && !is_whole);
        assert!(frozen(0, LONG, &|_| {}).0.is_empty());
    }

    #[test]
    fn copy_that_crashes_or_hangs_ends_alone_and_leaves_what_it_has_read() {
        let (bytes, is_whole) = frozen(64, LONG, &|out| {
            out(b"before");
            // SAFETY: it is to crash.
            unsafe { ptr::null::<u8>().wrapping_add(8).read_volatile() };
            out(b"after");
        });
        assert!(bytes == b"before" && !is_whole);
        let began = Instant::now();
        let (bytes, is_whole) = frozen(64, Duration::from_millis(100), &|out| {
            out(b"before");
            loop {
                std::hint::spin_loop();
            }
        });
        assert!(bytes == b"before" && !is_whole);
        assert!(began.elapsed() < LONG);
    }

    #[test]
    fn copy_sees_memory_as_it_is_and_changes_none_of_this_process() {
        static WORD: AtomicU64 = AtomicU64::new(7);
        let (bytes, is_whole) = frozen(64, LONG, &|out| {
            out(&WORD.load(Ordering::Relaxed).to_ne_bytes());
            WORD.store(8, Ordering::Relaxed);
        });
        assert!(bytes == 7_u64.to_ne_bytes() && is_whole);
        assert_eq!(WORD.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn copy_is_no_child_that_other_code_of_this_process_waits_for() {
        let (bytes, is_whole) = frozen(64, LONG, &|out| {
            // SAFETY: takes nothing.
            let own = unsafe { libc::getpid() };
            out(&own.to_ne_bytes());
        });
        assert!(is_whole);
        let child = i32::from_ne_bytes(bytes.try_into().unwrap());
        assert_ne!(child.unsigned_abs(), std::process::id());
        assert!(!crate::is_alive(child.unsigned_abs()), "it has not been waited for");
        assert_eq!(crate::processes::wait_for_exit_status(child), None);
    }
}
