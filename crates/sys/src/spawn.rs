//! Another program in a process of its own.
#![allow(unsafe_code, reason = "fork and exec")]

use crate::execute::pointers;
use crate::limits::restore_descriptor_limit;
use crate::processes::wait_for_exit;
use std::ffi::{CString, OsString};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What says "restart" or "leave", to httpd and to its daemons; by default they kill, or are lost.
const RESTART_SIGNALS: [i32; 4] = [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH];

/// What the child needs for its `exec`, made before the fork.
struct Plan<'a> {
    path: CString,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    descriptors: &'a [RawFd],
    /// `/dev/null`.
    input: RawFd,
    output: RawFd,
    /// Closed by the `exec`; a number in it says why there was none.
    failure: RawFd,
}

/// Starts `program` with these arguments and environment, nothing else inherited but `descriptors`, which keep
/// their numbers; standard input is empty, and `output` is standard output and standard error. It leads a session of its own, and
/// ignores the signals of a restart until it says what they are to do. Other threads of this process do not
/// matter: the child only makes system calls before its `exec`.
///
/// # Errors
/// Also where the program cannot be run.
pub fn spawn(
    program: &Path,
    arguments: &[&str],
    environment: &[(OsString, OsString)],
    descriptors: &[RawFd],
    output: BorrowedFd<'_>,
) -> io::Result<u32> {
    let text =
        |bytes: &[u8]| CString::new(bytes).map_err(|_| io::Error::other("a NUL in an argument"));
    let path = text(program.as_os_str().as_bytes())?;
    let mut argv = vec![path.clone()];
    for argument in arguments {
        argv.push(text(argument.as_bytes())?);
    }
    let mut envp = Vec::new();
    for (name, value) in environment {
        envp.push(text(&[name.as_bytes(), b"=", value.as_bytes()].concat())?);
    }
    let input = std::fs::File::open("/dev/null")?;
    let (mut failure, writer) = io::pipe()?;
    let plan = Plan {
        path,
        arguments: pointers(&argv),
        environment: pointers(&envp),
        descriptors,
        input: input.as_raw_fd(),
        output: output.as_raw_fd(),
        failure: writer.as_raw_fd(),
    };
    // SAFETY: between fork and exec the child only makes system calls (`run`): no lock and no allocator is
    // touched, so that it does not matter what other threads hold. All it reads was made before.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        // SAFETY: this is the child of a fork; `argv` and `envp`, which the plan points to, are still there.
        0 => unsafe { run(&plan) },
        pid => pid,
    };
    drop(writer);
    let mut why = [0; size_of::<i32>()];
    match failure.read_exact(&mut why) {
        Err(_) => Ok(pid.unsigned_abs()),
        Ok(()) => {
            wait_for_exit(pid);
            Err(io::Error::from_raw_os_error(i32::from_ne_bytes(why)))
        }
    }
}

/// In the child: prepares the process and runs the program.
///
/// # Safety
/// Only in a process that was just forked for it, which it ends or replaces; the strings that the plan points to
/// are still there.
unsafe fn run(plan: &Plan<'_>) -> ! {
    // SAFETY: all calls are async-signal-safe and take numbers, or pointers to what lives in this frame and in
    // the plan. Descriptors that lose their marks here are those of this process alone.
    unsafe {
        // Apache's handlers do not survive the exec, but a blocked or ignored signal would. Those that restarts
        // send are ignored on purpose: the program is not yet there to hear them.
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
        for signal in 1..32 {
            if RESTART_SIGNALS.contains(&signal) {
                libc::signal(signal, libc::SIG_IGN);
            } else if signal != libc::SIGPIPE {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        libc::setsid();
        restore_descriptor_limit();
        libc::dup2(plan.input, libc::STDIN_FILENO);
        libc::dup2(plan.output, libc::STDOUT_FILENO);
        libc::dup2(plan.output, libc::STDERR_FILENO);
        // Everything beyond the standard descriptors closes at the exec, but for those named.
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        for &descriptor in plan.descriptors {
            libc::fcntl(descriptor, libc::F_SETFD, 0);
        }
        libc::execve(plan.path.as_ptr(), plan.arguments.as_ptr(), plan.environment.as_ptr());
        let why = *libc::__errno_location();
        libc::write(plan.failure, (&raw const why).cast(), size_of::<i32>());
        libc::_exit(127)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn program_runs_with_its_arguments_and_environment_and_no_other_descriptor() {
        let (mut output, writer) = io::pipe().unwrap();
        let environment = [("NAME".into(), "value".into())];
        let script = "echo $1 $NAME; ls /proc/self/fd; ls -l /proc/self/fd/0 | sed 's/.*-> //' >&2";
        let arguments = ["-c", script, "sh", "argument"];
        let shell = Path::new("/bin/sh");
        let pid = spawn(shell, &arguments, &environment, &[], writer.as_fd()).unwrap();
        drop(writer);
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        wait_for_exit(pid.cast_signed());
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            ["argument value", "0", "1", "2", "3", "/dev/null"],
            "3 is of ls itself"
        );
    }

    #[test]
    fn program_that_cannot_be_run_is_an_error() {
        let why = {
            let (_, output) = io::pipe().unwrap();
            spawn(Path::new("/nowhere/program"), &[], &[], &[], output.as_fd()).unwrap_err()
        };
        assert_eq!(why.kind(), io::ErrorKind::NotFound);
    }
}
