//! Processes: copies of this one, children, their end.
#![allow(unsafe_code, reason = "fork and _exit")]

use crate::descriptors::check;
use crate::threads::expect_one;
use rustix::io::Errno;
use rustix::process::{self, DumpableBehavior, Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// Makes a copy of this process; `None` in the copy.
///
/// # Errors
/// Also in a process of several threads: whatever the others have locked would stay locked in the copy.
pub fn fork() -> io::Result<Option<i32>> {
    expect_one()?;
    // SAFETY: there is one thread, so that the copy may do whatever this process may.
    let pid = check(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid))
}

/// Makes a copy of this process that has no parent for a moment, and then becomes a child of its nearest
/// ancestor that is a subreaper ([`become_subreaper`]). `None` in the copy, its pid here.
///
/// # Safety
/// The copy has the calling thread only. What other threads of this process have locked at that moment stays
/// locked there, and must not be needed by what the copy does.
pub unsafe fn fork_reparented() -> io::Result<Option<i32>> {
    let (mut answer, question) = io::pipe()?;
    // SAFETY: by the contract of this function the copy may go on. The process in between only makes system
    // calls.
    unsafe {
        let between = check(libc::fork())?;
        if between == 0 {
            let pid = libc::fork();
            if pid == 0 {
                return Ok(None);
            }
            let bytes = pid.to_ne_bytes();
            libc::write(question.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
            libc::_exit(0);
        }
        drop(question);
        let mut bytes = [0; 4];
        let read = io::Read::read_exact(&mut answer, &mut bytes);
        wait_for_exit(between);
        read?;
        match i32::from_ne_bytes(bytes) {
            -1 => Err(io::ErrorKind::OutOfMemory.into()),
            pid => Ok(Some(pid)),
        }
    }
}

/// Whether there is no process of this number any more, or only its exit status.
pub fn is_dead(pid: u32) -> bool {
    match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            // The name before it may contain anything.
            let state = stat.iter().rposition(|byte| *byte == b')').and_then(|at| stat.get(at + 2));
            matches!(state, Some(b'Z' | b'X'))
        }
        Err(why) => why.kind() == io::ErrorKind::NotFound,
    }
}

/// Makes this process the leader of a session and of a process group of its own: signals to the group that it leaves
/// do not reach it any more.
pub fn begin_session() {
    // It fails only where the process leads a group already.
    let _ = process::setsid();
}

/// Orphaned descendants become children of this process.
pub fn become_subreaper() {
    // Any pid stands for "yes".
    let _ = process::set_child_subreaper(Some(process::getpid()));
}

/// Has the kernel send this signal to this process when the one that forked it is gone.
pub fn set_death_signal(signal: i32) {
    let _ = process::set_parent_process_death_signal(Signal::from_named_raw(signal));
}

/// Whether other processes of the same user may look into this one, and the kernel may write an image of it.
pub fn is_dumpable() -> bool {
    process::dumpable_behavior().is_ok_and(|behaviour| behaviour == DumpableBehavior::Dumpable)
}

/// Sets what [`is_dumpable`] tells.
pub fn set_dumpable(is_dumpable: bool) {
    let behaviour =
        if is_dumpable { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
    let _ = process::set_dumpable_behavior(behaviour);
}

/// Sets the nice value of this process, from -20 to 19.
pub fn set_priority(nice: i32) -> io::Result<()> {
    Ok(process::setpriority_process(None, nice)?)
}

/// Ends this process at once: no destructor, no exit function.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: takes a number and does not return.
    unsafe { libc::_exit(status) }
}

fn pid(number: impl TryInto<i32>) -> Option<Pid> {
    Pid::from_raw(number.try_into().ok().filter(|number| *number > 0)?)
}

/// Sends a signal to one process; one that is gone has no need of it.
pub fn kill(process: impl TryInto<i32>, signal: i32) {
    if let (Some(pid), Some(signal)) = (pid(process), Signal::from_named_raw(signal)) {
        let _ = process::kill_process(pid, signal);
    }
}

/// Kills the processes of a session that [`spawn`](crate::spawn) has begun, and its leader.
pub fn kill_session(leader: u32) {
    // Each leader of a session leads a process group as well. 1 would mean every process there is.
    if let Some(leader) = pid(leader).filter(|leader| !leader.is_init()) {
        let _ = process::kill_process_group(leader, Signal::KILL);
    }
}

/// Whether a process of this id exists, whichever user's.
pub fn is_alive(process: u32) -> bool {
    // EPERM is what another user's process answers.
    let exists = |pid| matches!(process::test_kill_process(pid), Ok(()) | Err(Errno::PERM));
    pid(process).is_some_and(exists)
}

/// Waits until a child has ended.
pub fn wait_for_exit(child: i32) {
    wait_for_exit_status(child);
}

/// Waits until a child has ended; how it did, or `None` where it is no child of this process.
pub(crate) fn wait_for_exit_status(child: i32) -> Option<ExitStatus> {
    let pid = pid(child)?;
    loop {
        match process::waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Some(ExitStatus::from_raw(status.as_raw())),
            // A signal is no reason to leave a zombie behind.
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// Waits for the end of a child of this process; `false` if it has not come by `deadline`.
pub fn exits_before(child: u32, deadline: Instant) -> bool {
    let Some(pid) = pid(child) else { return true };
    // Where it is no child any more, other code of this process has waited for it.
    while let Ok(None) = process::waitpid(Some(pid), WaitOptions::NOHANG) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Whether a child of this process has ended and can be waited for, which is left to other code of this process; `false`
/// also where there is no such child.
pub fn has_exited(child: u32) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let ended = |pid| matches!(process::waitid(WaitId::Pid(pid), look), Ok(Some(_)));
    pid(child).is_some_and(ended)
}

/// A child that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// Its process id.
    pub pid: i32,
    /// How it has ended.
    pub status: ExitStatus,
    /// The processor time that it and the children that it has waited for have used.
    pub cpu: Duration,
}

/// A child that has ended; `None` where no more have.
pub fn reap() -> Option<Reaped> {
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: wait4(2) writes an integer and one `rusage` to the pointers, which are those of local variables that
    // outlive the call.
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    // SAFETY: all fields are integers, which the zeros of its construction are valid values of where wait4 has written
    // nothing.
    let usage = unsafe { usage.assume_init() };
    let of = |time: libc::timeval| {
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
        seconds + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    let cpu = of(usage.ru_utime) + of(usage.ru_stime);
    (pid > 0).then(|| Reaped { pid, status: ExitStatus::from_raw(status), cpu })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fork_is_refused_in_a_process_with_several_threads() {
        // The test runs on a thread beside the main one.
        assert_eq!(fork().unwrap_err().to_string(), "this process has several threads");
    }

    #[test]
    fn the_end_of_a_child_is_seen_and_left_to_be_waited_for() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert!(!has_exited(child.id()) && !is_dead(child.id()));
        drop(child.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(20);
        while !has_exited(child.id()) {
            assert!(Instant::now() < deadline, "the child has not ended");
            std::thread::yield_now();
        }
        assert!(has_exited(child.id()), "a look has taken it");
        assert!(is_dead(child.id()));
        assert!(child.wait().unwrap().success());
        assert!(!has_exited(child.id()) && !has_exited(1) && is_dead(child.id()));
    }

    #[test]
    fn process_id_that_is_none_is_never_signalled() {
        for number in [0_i64, -1, i64::from(u32::MAX), i64::MAX] {
            assert!(pid(number).is_none(), "{number}");
        }
        assert!(is_alive(std::process::id()));
        // Another user's, unless root runs this.
        assert!(is_alive(1));
        assert!(!is_alive(u32::MAX));
    }
}
