//! The POSIX calls of this crate that std does not offer.
#![allow(unsafe_code, reason = "the one POSIX file of this crate")]

use std::ffi::{CStr, CString, OsString};
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

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

/// Whether a user could enter a directory, all in all: with further groups, access lists and what else the
/// kernel looks at. A process of ours becomes that user and asks. Called as root, while there is one thread.
pub(crate) fn may_enter(directory: &Path, uid: u32, gid: u32, groups: Option<&[u32]>) -> bool {
    let Ok(path) = CString::new(directory.as_os_str().as_bytes()) else { return false };
    let name = CString::new(user_name(uid)).unwrap_or_default();
    // SAFETY: there is one thread, so the child may do what this process may. It leaves without unwinding
    // and without running what is to be run at this process' end. The strings live for the calls.
    unsafe {
        match libc::fork() {
            -1 => false,
            0 => {
                let grouped = match groups {
                    Some(groups) => libc::setgroups(groups.len(), groups.as_ptr()),
                    None => libc::initgroups(name.as_ptr(), gid),
                };
                let entered = grouped == 0
                    && libc::setgid(gid) == 0
                    && libc::setuid(uid) == 0
                    && libc::access(path.as_ptr(), libc::X_OK) == 0;
                libc::_exit(i32::from(!entered))
            }
            child => {
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0) == child && status == 0
            }
        }
    }
}

/// Waits until something can be read, the end of the stream included; `false` when `limit` ran off.
pub(crate) fn is_readable(stream: BorrowedFd<'_>, limit: Duration) -> bool {
    let mut poll = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut deadline = None;
    let mut left = limit;
    loop {
        let milliseconds = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one pollfd, which lives for the call.
        let count = unsafe { libc::poll(&raw mut poll, 1, milliseconds) };
        if count >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return count == 1;
        }
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
        left = deadline.saturating_duration_since(Instant::now());
    }
}

/// What [`wait_for`] has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    /// The stream can be read, its end included.
    pub(crate) input: bool,
    /// The stream takes more.
    pub(crate) room: bool,
    /// The other one can be read.
    pub(crate) other: bool,
}

/// Waits until `stream` can be read, or written if `for_room`, or `other` be read.
pub(crate) fn wait_for(
    stream: BorrowedFd<'_>,
    for_room: bool,
    other: Option<BorrowedFd<'_>>,
    limit: Duration,
) -> Ready {
    let events = libc::POLLIN | if for_room { libc::POLLOUT } else { 0 };
    // A negative number is passed over.
    let other = other.map_or(-1, |other| other.as_raw_fd());
    let mut polls = [
        libc::pollfd { fd: stream.as_raw_fd(), events, revents: 0 },
        libc::pollfd { fd: other, events: libc::POLLIN, revents: 0 },
    ];
    let limit = i32::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    // SAFETY: two pollfds, which live for the call.
    if unsafe { libc::poll(polls.as_mut_ptr(), 2, limit) } <= 0 {
        return Ready::default();
    }
    let [stream, other] = polls.map(|poll| poll.revents);
    Ready {
        input: stream & !libc::POLLOUT != 0,
        room: stream & libc::POLLOUT != 0,
        other: other != 0,
    }
}

/// Sends as much as there is room for. Never waits.
pub(crate) fn send_now(stream: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: an all-zero msghdr is a valid one. An IoSlice is an iovec, and none is written to.
    let sent = unsafe {
        let mut message = std::mem::zeroed::<libc::msghdr>();
        message.msg_iov = pieces.as_ptr().cast_mut().cast();
        message.msg_iovlen = pieces.len() as _;
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        libc::sendmsg(stream.as_raw_fd(), &raw const message, flags)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Reads bytes, and a descriptor that travels beside them (`SCM_RIGHTS`). 0 is the end of the stream.
pub(crate) fn receive(
    stream: BorrowedFd<'_>,
    into: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    // Room for one descriptor, aligned as a cmsghdr has to be. Others that come along are not even opened
    // here: the kernel installs as many as `msg_controllen` has room for, to the byte.
    let mut control = [0_u64; 4];
    let mut part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: an all-zero msghdr is a valid one.
    let mut message = unsafe { std::mem::zeroed::<libc::msghdr>() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: pure arithmetic.
    message.msg_controllen = unsafe { libc::CMSG_LEN(size_of::<RawFd>() as u32) } as _;
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
            if message.msg_flags & libc::MSG_CTRUNC != 0 {
                return Err(io::Error::other("it sent more descriptors than files"));
            }
            return Ok((usize::try_from(count).unwrap_or(0), file));
        }
    }
}

/// The length of a regular file that can be read; `None` where it is something else, which might block or have
/// no length.
pub(crate) fn readable_length(file: BorrowedFd<'_>) -> Option<u64> {
    // SAFETY: an all-zero stat is a valid one, and both functions only look at an open descriptor.
    unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        let mode = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
        let readable = mode >= 0
            && mode & libc::O_PATH == 0
            && matches!(mode & libc::O_ACCMODE, libc::O_RDONLY | libc::O_RDWR);
        (readable
            && libc::fstat(file.as_raw_fd(), &raw mut status) == 0
            && status.st_mode & libc::S_IFMT == libc::S_IFREG)
            .then(|| u64::try_from(status.st_size).unwrap_or(0))
    }
}

/// Sends a byte and, beside it, a descriptor (`SCM_RIGHTS`). Never waits.
pub(crate) fn send_descriptor(stream: BorrowedFd<'_>, descriptor: RawFd) -> io::Result<()> {
    let mut control = [0_u64; 4];
    let mut byte = 0_u8;
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: an all-zero msghdr is a valid one. It points at buffers that live for the call; `control`
    // has room for one header with one descriptor, and is aligned as it has to be.
    let sent = unsafe {
        let mut message = std::mem::zeroed::<libc::msghdr>();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(descriptor);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        libc::sendmsg(stream.as_raw_fd(), &raw const message, flags)
    };
    if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the backlog of a socket of [`listen`].
pub(crate) fn set_backlog(listener: &UnixListener, backlog: u32) -> io::Result<()> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    // SAFETY: a system call on an open socket.
    if unsafe { libc::listen(listener.as_raw_fd(), backlog) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives a file to a user. It may have been opened with `O_PATH`, and its name plays no part.
pub(crate) fn give(file: BorrowedFd<'_>, owner: u32) -> io::Result<()> {
    let nobody = libc::gid_t::MAX;
    // SAFETY: a static name, which is empty: the descriptor itself is meant (AT_EMPTY_PATH).
    let given = unsafe {
        libc::fchownat(file.as_raw_fd(), c"".as_ptr(), owner, nobody, libc::AT_EMPTY_PATH)
    };
    if given == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Words of memory that all processes forked from this one share.
pub(crate) struct SharedWords {
    memory: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: atomics in memory that stays mapped as long as the value lives.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// `count` words, all 0, for nobody else.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        Self::map(count, libc::MAP_ANONYMOUS, -1)
    }

    /// The same, and a file by which another program can map them. Its size is sealed: nobody can take
    /// away memory that we rely on.
    pub(crate) fn with_file(count: usize) -> io::Result<(Self, OwnedFd)> {
        let length =
            libc::off_t::try_from(count * size_of::<AtomicU64>()).map_err(io::Error::other)?;
        // SAFETY: a static name; the descriptor is new and ours.
        let file = unsafe {
            let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
            let descriptor = libc::memfd_create(c"mod_wsgi".as_ptr(), flags);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(descriptor)
        };
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: system calls on a descriptor of ours and numbers.
        let sealed = unsafe {
            libc::ftruncate(file.as_raw_fd(), length) == 0
                && libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) == 0
        };
        if !sealed {
            return Err(io::Error::last_os_error());
        }
        Ok((Self::map(count, 0, file.as_raw_fd())?, file))
    }

    fn map(count: usize, flags: i32, file: RawFd) -> io::Result<Self> {
        // SAFETY: a new mapping, page-aligned and zeroed, of nothing or of a file of this length.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * size_of::<AtomicU64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | flags,
                file,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory, count })
    }
}

impl std::ops::Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has this many words, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: our own mapping, to which nothing refers any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
    }
}

/// Connects to the Unix socket at `path`; `WouldBlock` when its backlog is still full after `wait`.
pub(crate) fn connect(path: &Path, wait: Duration) -> io::Result<UnixStream> {
    // SAFETY: makes a new descriptor, which is ours.
    let stream = unsafe {
        let descriptor = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        UnixStream::from_raw_fd(descriptor)
    };
    // Zero would mean for ever.
    stream.set_write_timeout(Some(wait.max(Duration::from_millis(1))))?;
    // SAFETY: any bytes are a sockaddr_un.
    let mut address = unsafe { std::mem::zeroed::<libc::sockaddr_un>() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let path = path.as_os_str().as_bytes();
    if path.len() >= address.sun_path.len() {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    address.sun_path.iter_mut().zip(path).for_each(|(to, from)| *to = *from as libc::c_char);
    // SAFETY: a complete address, of the length given.
    let connected = unsafe {
        let length = size_of_val(&address) as libc::socklen_t;
        libc::connect(stream.as_raw_fd(), (&raw const address).cast(), length)
    };
    if connected == 0 { Ok(stream) } else { Err(io::Error::last_os_error()) }
}

/// Sets the sizes of a socket's buffers in bytes, where they are given (`SO_SNDBUF`, `SO_RCVBUF`).
pub(crate) fn set_buffers(
    socket: BorrowedFd<'_>,
    send: Option<usize>,
    receive: Option<usize>,
) -> io::Result<()> {
    for (name, size) in [(libc::SO_SNDBUF, send), (libc::SO_RCVBUF, receive)] {
        let Some(size) = size.map(|size| i32::try_from(size).unwrap_or(i32::MAX)) else { continue };
        // SAFETY: the length is that of the number pointed to.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                name,
                (&raw const size).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A listening socket at `path` that only this user can connect to. Called while there is one thread.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    if path.as_os_str().len() >= 108 {
        return Err(io::Error::other("the path of the socket is longer than 107 bytes"));
    }
    // SAFETY: cannot fail; put back below.
    let mask = unsafe { libc::umask(0o177) };
    let bound = UnixListener::bind(path);
    // SAFETY: as above.
    unsafe { libc::umask(mask) };
    bound
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

/// How many descriptors this process may have (`ulimit -n`) where it has changed that: what it was before.
static BEFORE: OnceLock<libc::rlimit> = OnceLock::new();

fn descriptor_limit() -> Option<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a structure of ours, which is written.
    (unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0).then_some(limit)
}

/// Sees to it that this process can open `more` descriptors, as far as the hard limit lets it. Those it starts
/// have the limit that was there before, if they [`restore_descriptor_limit`] or are of [`spawn`].
pub(crate) fn make_room_for_descriptors(more: usize) {
    let Some(before) = descriptor_limit() else { return };
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let wanted = libc::rlim_t::try_from(open + more).unwrap_or(libc::RLIM_INFINITY);
    if before.rlim_cur < wanted.min(before.rlim_max) {
        BEFORE.get_or_init(|| before);
        let limit = libc::rlimit { rlim_cur: wanted.min(before.rlim_max), ..before };
        // SAFETY: a complete structure. Where it fails the limit stays, and what is opened may fail.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

/// In a child of a process that has made room for descriptors.
pub(crate) fn restore_descriptor_limit() {
    if let Some(before) = BEFORE.get() {
        // SAFETY: a complete structure; a lower limit is always allowed.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, before) };
    }
}

/// What says "restart" or "leave", to httpd and to its daemons; by default they kill, or are lost.
const RESTARTS: [i32; 4] = [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH];

/// Starts `program` with these arguments and environment, nothing else inherited but `descriptors`,
/// which keep their numbers, and the standard ones, with `errors` as standard error. It ignores the signals
/// of a restart until it says what they are to do. Called while there is one thread. A program that cannot be
/// run is an error.
pub(crate) fn spawn(
    program: &Path,
    arguments: &[&str],
    environment: &[(OsString, OsString)],
    descriptors: &[RawFd],
    errors: Option<RawFd>,
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
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|item| item.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv_raw, envp_raw) = (pointers(&argv), pointers(&envp));
    // Closed by the exec; a number in it says why there was none.
    let (mut news, teller) = io::pipe()?;
    // SAFETY: there is one thread, and between fork and exec the child only makes system calls: no lock
    // and no allocator is touched. Everything it points at was made before.
    unsafe {
        match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // Apache's handlers do not survive the exec, but a blocked or ignored signal would. Those
                // that restarts send do so on purpose: the program is not yet there to hear them.
                let mut none = MaybeUninit::<libc::sigset_t>::uninit();
                libc::sigemptyset(none.as_mut_ptr());
                libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
                for signal in 1..32 {
                    if RESTARTS.contains(&signal) {
                        libc::signal(signal, libc::SIG_IGN);
                    } else if signal != libc::SIGPIPE {
                        libc::signal(signal, libc::SIG_DFL);
                    }
                }
                libc::setsid();
                restore_descriptor_limit();
                if let Some(errors) = errors {
                    libc::dup2(errors, libc::STDERR_FILENO);
                }
                // Everything beyond the standard descriptors closes at the exec, but for ours.
                libc::syscall(libc::SYS_close_range, 3, u32::MAX, 4);
                for &descriptor in descriptors {
                    libc::fcntl(descriptor, libc::F_SETFD, 0);
                }
                libc::execve(path.as_ptr(), argv_raw.as_ptr(), envp_raw.as_ptr());
                let why = *libc::__errno_location();
                libc::write(teller.as_raw_fd(), (&raw const why).cast(), size_of::<i32>());
                libc::_exit(127)
            }
            pid => {
                drop(teller);
                let mut why = [0; size_of::<i32>()];
                match news.read_exact(&mut why) {
                    Err(_) => Ok(u32::try_from(pid).unwrap_or(0)),
                    Ok(()) => {
                        libc::waitpid(pid, std::ptr::null_mut(), 0);
                        Err(io::Error::from_raw_os_error(i32::from_ne_bytes(why)))
                    }
                }
            }
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

/// Waits for the end of a child of this process; `false` if it has not come when `patience` runs out.
pub(crate) fn ends(pid: u32, patience: Instant) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return true };
    loop {
        // SAFETY: nobody wants to know how it ended.
        let ended = unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
        // Where it is no child of ours any more somebody else has waited for it.
        if ended != 0 {
            return true;
        }
        if Instant::now() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Kills the processes of a session that [`spawn`] has begun, and its leader.
pub(crate) fn end_session(leader: u32) {
    if let Ok(leader) = i32::try_from(leader)
        && leader > 1
    {
        // SAFETY: a system call on numbers; each leader of ours leads a process group as well.
        unsafe { libc::kill(-leader, libc::SIGKILL) };
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
