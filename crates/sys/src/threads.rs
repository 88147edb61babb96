//! Whether the calling thread is the only one of its process. Some calls of the C library are sound only then;
//! their wrappers ask here first, so that they need no promise of their callers. No thread can come up between
//! question and call, because only the calling thread could start one.
#![allow(unsafe_code, reason = "unshare(2) with the one flag that only asks")]

use std::io;

/// An error where this process has other threads.
///
/// The kernel is asked: `unshare(CLONE_THREAD)` changes nothing and fails with `EINVAL` in a process of several
/// threads (unshare(2)). Where a container's filter of system calls forbids it, /proc is asked instead. Where
/// /proc is absent too (`chroot=` in such a container) it cannot be told, and the design of the callers is all
/// there is: manager, template and a worker before it serves start no thread (docs/safety.md).
pub(crate) fn expect_one() -> io::Result<()> {
    // SAFETY: takes a number. The flag has no effect in a process of one thread, and none where it fails.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(());
    }
    let refused = io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL);
    let several = if refused {
        true
    } else {
        std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1)
    };
    if several { Err(io::Error::other("this process has several threads")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_with_several_threads_is_refused() {
        // The test harness itself runs this test on a thread beside the main one.
        let why = std::thread::scope(|scope| scope.spawn(expect_one).join()).unwrap();
        assert_eq!(why.unwrap_err().to_string(), "this process has several threads");
    }
}
