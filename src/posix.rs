//! The POSIX calls of this crate that std does not offer.
#![allow(unsafe_code, reason = "the one POSIX file of this crate")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Whether this process may become any user.
pub(crate) fn is_root() -> bool {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The effective user and group of this process.
pub(crate) fn account() -> (u32, u32) {
    // SAFETY: cannot fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// The name of a user, or `uid N` for one without a name.
pub(crate) fn user_name(uid: u32) -> String {
    let mut record = MaybeUninit::<libc::passwd>::uninit();
    let mut found = std::ptr::null_mut();
    let mut buffer = [0_u8; 4096];
    // SAFETY: the strings of the record stand in `buffer`, whose length is given; `found` is null unless
    // the record has been filled.
    let name = unsafe {
        libc::getpwuid_r(
            uid,
            record.as_mut_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &raw mut found,
        );
        found.as_ref().map(|record| CStr::from_ptr(record.pw_name))
    };
    name.map_or_else(|| format!("uid {uid}"), |name| name.to_string_lossy().into_owned())
}

/// Waits until something can be read, the end of the stream included; `false` when `limit` ran off.
pub(crate) fn is_readable(stream: BorrowedFd<'_>, limit: Duration) -> bool {
    let mut poll = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let limit = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one pollfd, which lives for the call.
    unsafe { libc::poll(&raw mut poll, 1, limit) == 1 }
}

/// Reads bytes, and a descriptor that travels beside them (`SCM_RIGHTS`). 0 is the end of the stream.
pub(crate) fn receive(
    stream: BorrowedFd<'_>,
    into: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    // Room for one descriptor, aligned as a cmsghdr has to be.
    let mut control = [0_u64; 4];
    let mut part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: an all-zero msghdr is a valid one.
    let mut message = unsafe { std::mem::zeroed::<libc::msghdr>() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    loop {
        // SAFETY: the message points at buffers that live for the call. The control data is walked with
        // the macros made for it, and each descriptor in it has become ours.
        unsafe {
            let count = libc::recvmsg(stream.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
            if count < 0 {
                let why = io::Error::last_os_error();
                if why.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(why);
            }
            let mut file = None;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            if let Some(found) = header.as_ref()
                && found.cmsg_level == libc::SOL_SOCKET
                && found.cmsg_type == libc::SCM_RIGHTS
            {
                let descriptor = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
                file = Some(OwnedFd::from_raw_fd(descriptor));
            }
            return Ok((usize::try_from(count).unwrap_or(0), file));
        }
    }
}

/// Counters that all processes forked from this one share.
pub(crate) struct SharedCounters {
    memory: NonNull<AtomicU32>,
    count: usize,
}

// SAFETY: atomics in memory that stays mapped as long as the value lives.
unsafe impl Send for SharedCounters {}
// SAFETY: as above.
unsafe impl Sync for SharedCounters {}

impl SharedCounters {
    /// `count` counters, at least one, all 0.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let count = count.max(1);
        // SAFETY: a new anonymous mapping, page-aligned and zeroed.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * size_of::<AtomicU32>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory, count })
    }

    /// The counter at `index`; the last one for any beyond it.
    pub(crate) fn get(&self, index: usize) -> &AtomicU32 {
        let index = index.min(self.count - 1);
        // SAFETY: inside the mapping.
        unsafe { self.memory.add(index).as_ref() }
    }
}

impl Drop for SharedCounters {
    fn drop(&mut self) {
        // SAFETY: our own mapping, to which nothing refers any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.count * size_of::<AtomicU32>()) };
    }
}

/// A listening socket at `path` that only `owner` can connect to. Called while there is one thread.
pub(crate) fn listen(path: &Path, backlog: u32, owner: Option<u32>) -> io::Result<UnixListener> {
    if path.as_os_str().len() >= 108 {
        return Err(io::Error::other("the path of the socket is longer than 107 bytes"));
    }
    // SAFETY: cannot fail; put back below.
    let mask = unsafe { libc::umask(0o177) };
    let bound = UnixListener::bind(path);
    // SAFETY: as above.
    unsafe { libc::umask(mask) };
    let listener = bound?;
    // SAFETY: an open socket; a second listen changes its backlog.
    unsafe { libc::listen(listener.as_raw_fd(), i32::try_from(backlog).unwrap_or(i32::MAX)) };
    if let Some(owner) = owner {
        std::os::unix::fs::chown(path, Some(owner), None)?;
    }
    Ok(listener)
}

/// A file in memory that holds `content`, ready to be read from its start.
pub(crate) fn memory_file(content: &[u8]) -> io::Result<OwnedFd> {
    use std::io::{Seek, Write};
    // SAFETY: a static name; the descriptor is new and ours.
    let file = unsafe {
        let descriptor = libc::memfd_create(c"mod_wsgi".as_ptr(), libc::MFD_CLOEXEC);
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(descriptor)
    };
    let mut file = std::fs::File::from(file);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

/// Starts `program` with these arguments and environment, nothing else inherited but `descriptors`,
/// which keep their numbers, and the standard ones. It waits `delay` before it becomes the program.
/// Called while there is one thread.
pub(crate) fn spawn(
    program: &Path,
    arguments: &[&str],
    environment: &[(String, String)],
    descriptors: &[RawFd],
    delay: Duration,
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
        envp.push(text(format!("{name}={value}").as_bytes())?);
    }
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|item| item.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv_raw, envp_raw) = (pointers(&argv), pointers(&envp));
    let pause = libc::timespec {
        tv_sec: i64::try_from(delay.as_secs()).unwrap_or(0),
        tv_nsec: delay.subsec_nanos().into(),
    };
    // SAFETY: there is one thread, and between fork and exec the child only makes system calls: no lock
    // and no allocator is touched. Everything it points at was made before.
    unsafe {
        match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // Apache's handlers do not survive the exec, but a blocked or ignored signal would.
                let mut none = MaybeUninit::<libc::sigset_t>::uninit();
                libc::sigemptyset(none.as_mut_ptr());
                libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
                for signal in 1..32 {
                    if signal != libc::SIGPIPE {
                        libc::signal(signal, libc::SIG_DFL);
                    }
                }
                libc::setsid();
                libc::nanosleep(&raw const pause, std::ptr::null_mut());
                // Everything beyond the standard descriptors closes at the exec, but for ours.
                libc::syscall(libc::SYS_close_range, 3, u32::MAX, 4);
                for &descriptor in descriptors {
                    libc::fcntl(descriptor, libc::F_SETFD, 0);
                }
                libc::execve(path.as_ptr(), argv_raw.as_ptr(), envp_raw.as_ptr());
                libc::_exit(127)
            }
            pid => Ok(u32::try_from(pid).unwrap_or(0)),
        }
    }
}

/// Sends a signal; a process that is gone has no need of it.
pub(crate) fn signal(pid: u32, signal: i32) {
    if let Ok(pid) = i32::try_from(pid)
        && pid > 1
    {
        // SAFETY: a system call on numbers.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Whether a process of this id exists.
pub(crate) fn exists(pid: u32) -> bool {
    // SAFETY: signal 0 only asks.
    i32::try_from(pid).is_ok_and(|pid| unsafe { libc::kill(pid, 0) } == 0)
}

/// The file that `address`, a function of this module, was loaded from.
pub(crate) fn file_of(address: *const ()) -> Option<PathBuf> {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: filled when the answer is not 0; the name is a static string of the loader.
    unsafe {
        if libc::dladdr(address.cast(), info.as_mut_ptr()) == 0 {
            return None;
        }
        let name = CStr::from_ptr(info.assume_init().dli_fname);
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes())))
    }
}
