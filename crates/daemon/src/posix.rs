//! The POSIX calls of this crate that std does not offer. It decides nothing.
#![allow(unsafe_code, reason = "the one POSIX file of this crate")]

mod sockets;

pub(crate) use sockets::*;

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

pub(crate) use libc::{
    EPOLLIN, EPOLLONESHOT, SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
    SIGXCPU,
};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes an inherited descriptor over and keeps programs started from here from having it.
pub(crate) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl only looks the number up; nothing else in this program has taken it, because the
    // caller asks once for each number it was told.
    unsafe {
        check(libc::fcntl(number, libc::F_GETFD))?;
        check(libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC))?;
        Ok(OwnedFd::from_raw_fd(number))
    }
}

/// Has the program that this process runs next inherit a descriptor.
pub(crate) fn let_programs_have(number: RawFd) -> io::Result<()> {
    // SAFETY: takes numbers.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }).map(drop)
}

/// A file in memory that holds `content`, ready to be read from its start.
pub(crate) fn memory_file(content: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: a static name; the descriptor is new and ours.
    let file = unsafe {
        let number = check(libc::memfd_create(c"wsgi-daemon".as_ptr(), libc::MFD_CLOEXEC))?;
        OwnedFd::from_raw_fd(number)
    };
    let mut file = File::from(file);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

/// Runs an open file in the place of what this process runs, with its environment. Comes back only if that
/// cannot be done.
pub(crate) fn execute(program: BorrowedFd<'_>, arguments: &[CString]) -> io::Error {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    });
    let variables: Vec<CString> = variables.collect();
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (arguments, variables) = (pointers(arguments), pointers(&variables));
    // SAFETY: both are lists of strings that end with a null, and live for the call.
    unsafe { libc::fexecve(program.as_raw_fd(), arguments.as_ptr(), variables.as_ptr()) };
    io::Error::last_os_error()
}

/// Whether other processes of the same user may look into this one, and the kernel may keep an image of it.
pub(crate) fn is_dumpable() -> bool {
    // SAFETY: takes a number.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) == 1 }
}

/// Says so.
pub(crate) fn set_dumpable(is: bool) {
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(is)) };
}

// --- signals --------------------------------------------------------------------------------------

/// Where the handler writes; -1 before there is a place.
static NOTICE: AtomicI32 = AtomicI32::new(-1);
/// Whose signals they are: not those of a process an application forked.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// A bit for each signal that came.
static CAME: AtomicU64 = AtomicU64::new(0);

/// Signals as something to poll.
pub(crate) struct Signals(OwnedFd);

extern "C" fn on_signal(number: libc::c_int) {
    // SAFETY: getpid, signal, raise and write are async-signal-safe; errno is put back.
    unsafe {
        if libc::getpid() != OWNER.load(Ordering::Relaxed) {
            libc::signal(number, libc::SIG_DFL);
            libc::raise(number);
            return;
        }
        let errno = *libc::__errno_location();
        CAME.fetch_or(1 << number, Ordering::SeqCst);
        let one = 1_u64.to_ne_bytes();
        libc::write(NOTICE.load(Ordering::Relaxed), one.as_ptr().cast(), one.len());
        *libc::__errno_location() = errno;
    }
}

impl Signals {
    /// From now on these signals are noted for this process instead of what they did before.
    pub(crate) fn watch(numbers: &[i32]) -> io::Result<Self> {
        // SAFETY: eventfd makes a new descriptor; `sigaction` is given a complete structure, and a
        // handler that keeps to async-signal-safe functions.
        unsafe {
            let event = check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?;
            let event = OwnedFd::from_raw_fd(event);
            CAME.store(0, Ordering::SeqCst);
            OWNER.store(libc::getpid(), Ordering::SeqCst);
            NOTICE.store(event.as_raw_fd(), Ordering::SeqCst);
            for &number in numbers {
                let mut action: libc::sigaction = std::mem::zeroed();
                let handler: extern "C" fn(libc::c_int) = on_signal;
                action.sa_sigaction = handler as libc::sighandler_t;
                action.sa_flags = libc::SA_RESTART;
                check(libc::sigaction(number, &raw const action, ptr::null_mut()))?;
            }
            Ok(Self(event))
        }
    }

    /// Which of the signals came since the last call.
    pub(crate) fn take(&self, numbers: &[i32]) -> Vec<i32> {
        let mut count = [0_u8; 8];
        // SAFETY: `count` has the eight bytes an eventfd gives.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        let came = CAME.swap(0, Ordering::SeqCst);
        numbers.iter().copied().filter(|number| came & (1 << number) != 0).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// From now on this signal does nothing; programs that Python starts have it by default all the same.
pub(crate) fn ignore(number: i32) {
    // SAFETY: SIG_IGN is always a valid disposition.
    unsafe { libc::signal(number, libc::SIG_IGN) };
}

/// Gives a signal back what it does by default.
pub(crate) fn unwatch(number: i32) {
    // SAFETY: SIG_DFL is always a valid disposition.
    unsafe { libc::signal(number, libc::SIG_DFL) };
}

// --- processes ------------------------------------------------------------------------------------

/// From now on `act` runs in every process that is forked from this one, whoever forks it (pthread_atfork(3)).
/// It must keep to what is async-signal-safe.
pub(crate) fn at_fork(act: extern "C" fn()) -> io::Result<()> {
    // SAFETY: `act` is never unloaded; what it does is its own affair, and safe Rust.
    match unsafe { libc::pthread_atfork(None, None, Some(act)) } {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

/// In a process forked from a thread of its parent's: has `descriptor` mean what `other` means. Whoever owns
/// it finds that when it uses it.
pub(crate) fn replace_inherited(descriptor: RawFd, other: RawFd) {
    // SAFETY: takes numbers. Where there is no `other` it fails, and the descriptor stays what it is.
    unsafe { libc::dup3(other, descriptor, libc::O_CLOEXEC) };
}

/// What the stack of a thread may be by the system's limits, in bytes (`RLIMIT_STACK`).
pub(crate) fn stack_size() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is there for the call to fill.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) } == 0;
    let known = known && limit.rlim_cur != libc::RLIM_INFINITY;
    // What Linux has by default, and C programs take for unlimited.
    if known { usize::try_from(limit.rlim_cur).unwrap_or(8 << 20) } else { 8 << 20 }
}

/// Makes a copy of this process; `None` in the copy.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: only the manager calls it, which has one thread, so that the copy may do anything.
    let pid = check(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid))
}

/// Makes a copy of this process that is nobody's child for a moment, and then that of the nearest ancestor
/// that [`adopt_orphans`]. `None` in the copy, its pid here.
pub(crate) fn fork_away() -> io::Result<Option<i32>> {
    let (mut answer, question) = io::pipe()?;
    // SAFETY: the caller has one thread, or (CPython around it) none that matters in the copy. The process
    // in between only makes system calls.
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
        let told = io::Read::read_exact(&mut answer, &mut bytes);
        libc::waitpid(between, ptr::null_mut(), 0);
        told?;
        match i32::from_ne_bytes(bytes) {
            -1 => Err(io::ErrorKind::OutOfMemory.into()),
            pid => Ok(Some(pid)),
        }
    }
}

/// Orphaned descendants become children of this process.
pub(crate) fn adopt_orphans() {
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong) };
}

/// Has the kernel send this signal when the process that forked us is gone.
pub(crate) fn die_with_parent(signal: i32) {
    // SAFETY: takes a number.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) };
}

/// Leaves at once: no destructor, no exit function.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(status) }
}

/// Sends a signal to one process.
pub(crate) fn kill(pid: i32, signal: i32) {
    if pid > 0 {
        // SAFETY: takes numbers; a process that is gone only makes it fail.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Waits until a child has ended.
pub(crate) fn wait_for(pid: i32) {
    // SAFETY: nothing is written. A signal is no reason to leave a zombie behind.
    while unsafe { libc::waitpid(pid, ptr::null_mut(), 0) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

/// A child that has ended, and how.
pub(crate) fn reap() -> Option<(i32, ExitStatus)> {
    let mut status = 0;
    // SAFETY: `status` has room for what waitpid writes.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then(|| (pid, ExitStatus::from_raw(status)))
}

/// Waits until one of the descriptors is readable or closed; says which are.
pub(crate) fn wait_readable(
    descriptors: &[BorrowedFd<'_>],
    timeout: Option<Duration>,
) -> Vec<bool> {
    let entry =
        |fd: &BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut entries: Vec<_> = descriptors.iter().map(entry).collect();
    let millis = timeout.map_or(-1, |timeout| {
        i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
    });
    // SAFETY: pointer and length are those of one vector.
    let count = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, millis) };
    entries.iter().map(|entry| count > 0 && entry.revents != 0).collect()
}

// --- identity -------------------------------------------------------------------------------------

/// A user of this system.
pub(crate) struct User {
    pub(crate) name: CString,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: CString,
}

fn user(
    ask: impl FnOnce(*mut libc::passwd, *mut libc::c_char, usize, *mut *mut libc::passwd),
) -> Option<User> {
    let mut record = MaybeUninit::<libc::passwd>::uninit();
    let mut found: *mut libc::passwd = ptr::null_mut();
    let mut buffer = vec![0_u8; 16 * 1024];
    ask(record.as_mut_ptr(), buffer.as_mut_ptr().cast(), buffer.len(), &raw mut found);
    // SAFETY: `found` is null, or the record has been filled and its strings stand in `buffer`.
    unsafe {
        found.as_ref().map(|record| User {
            name: CStr::from_ptr(record.pw_name).to_owned(),
            uid: record.pw_uid,
            gid: record.pw_gid,
            home: CStr::from_ptr(record.pw_dir).to_owned(),
        })
    }
}

/// The user of this number.
pub(crate) fn user_of(uid: u32) -> Option<User> {
    user(|record, buffer, length, found| {
        // SAFETY: the pointers are those of `user`, whose buffer has this length.
        unsafe { libc::getpwuid_r(uid, record, buffer, length, found) };
    })
}

/// The user of this name.
pub(crate) fn user_named(name: &CStr) -> Option<User> {
    user(|record, buffer, length, found| {
        // SAFETY: as above, and `name` ends with a NUL.
        unsafe { libc::getpwnam_r(name.as_ptr(), record, buffer, length, found) };
    })
}

/// The number of the group of this name.
pub(crate) fn group_named(name: &CStr) -> Option<u32> {
    // SAFETY: single-threaded here; the record is read before anything else asks the database.
    unsafe { libc::getgrnam(name.as_ptr()).as_ref().map(|record| record.gr_gid) }
}

/// Every group of a user.
pub(crate) fn groups_of(user: &CStr, primary: u32) -> Vec<u32> {
    let mut groups = vec![0; 65_536];
    let mut count = groups.len() as libc::c_int;
    // SAFETY: `count` says how many fit, and comes back as how many there are.
    unsafe { libc::getgrouplist(user.as_ptr(), primary, groups.as_mut_ptr(), &raw mut count) };
    groups.truncate(usize::try_from(count).unwrap_or(0));
    groups
}

/// The effective user.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() }
}

/// Sets the primary group.
pub(crate) fn set_gid(gid: u32) -> io::Result<()> {
    // SAFETY: takes a number.
    check(unsafe { libc::setgid(gid) }).map(drop)
}

/// Sets the supplementary groups.
pub(crate) fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: pointer and length are those of one slice.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) }).map(drop)
}

/// Becomes a user, with no way back.
pub(crate) fn set_uid(uid: u32) -> io::Result<()> {
    // SAFETY: takes a number.
    check(unsafe { libc::setuid(uid) }).map(drop)
}

/// Sets the nice value of this process.
pub(crate) fn set_priority(nice: i32) -> io::Result<()> {
    // SAFETY: takes numbers; 0 is this process.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// Sets the umask; the one before.
pub(crate) fn set_umask(mask: u32) -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::umask(mask) }
}

/// Sets an environment variable.
pub(crate) fn set_variable(name: &str, value: &OsStr) {
    // SAFETY: the manager, which has one thread, is the only caller.
    unsafe { std::env::set_var(name, value) };
}

/// Takes `LC_ALL` of the environment into force; whether the system knows it.
pub(crate) fn set_locale() -> bool {
    // SAFETY: one thread; the result is only compared with null.
    unsafe { !libc::setlocale(libc::LC_ALL, c"".as_ptr()).is_null() }
}

/// What `RLIMIT_…` a limit is.
pub(crate) enum Resource {
    Cpu,
    Data,
    AddressSpace,
}

/// Sets a resource limit of this process.
pub(crate) fn set_limit(resource: &Resource, soft: u64, hard: u64) -> io::Result<()> {
    let resource = match resource {
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::AddressSpace => libc::RLIMIT_AS,
    };
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` is complete.
    check(unsafe { libc::setrlimit(resource, &raw const limit) }).map(drop)
}

/// The name of this process in `top`.
pub(crate) fn set_process_name(name: &CStr) {
    // SAFETY: `name` ends with a NUL; the kernel copies 15 bytes at most.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// A moment in the local time zone.
pub(crate) fn local_time(seconds: i64) -> libc::tm {
    // SAFETY: every field of `tm` may be zero; localtime_r fills it.
    unsafe {
        let mut broken: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const seconds, &raw mut broken);
        broken
    }
}

/// Words of memory that this process shares with those it forks, and with whoever gave `file`.
pub(crate) fn share_memory(
    file: Option<&OwnedFd>,
    words: usize,
) -> io::Result<&'static [AtomicU64]> {
    let length = words * size_of::<u64>();
    if let Some(file) = file {
        let there = File::from(file.try_clone()?).metadata()?.len();
        if there < length as u64 {
            return Err(io::Error::other("the memory for the scoreboard is too small"));
        }
    }
    let (flags, number) = match file {
        Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
        None => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1),
    };
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of this length that is never unmapped, of a file that is long enough and
    // cannot be cut (its giver has sealed it); page aligned, and any bits are an AtomicU64. All who share
    // it use it as such.
    unsafe {
        let start = libc::mmap(ptr::null_mut(), length, protection, flags, number, 0);
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(std::slice::from_raw_parts(start.cast::<AtomicU64>(), words))
    }
}
