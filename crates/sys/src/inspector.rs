//! A process that examines files for another one: with the permissions of a user, and for a limited time.
//!
//! A file that belongs to a user may be a FIFO, a device, a link to anything, or on a file system whose answers the
//! user decides on. A process that must not wait, and must not lend its own permissions, therefore asks a copy of
//! itself, which can be killed. The copy reads no file that is not a regular one.
#![allow(unsafe_code, reason = "fork, and a copy that makes system calls only")]

use crate::descriptors::check;
use crate::processes::{exits_before, kill, wait_for_exit};
use crate::readiness::is_readable;
use crate::users::{groups_of, user_by_id};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send};
use rustix::net::{Shutdown, shutdown, socketpair};
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How many bytes of a file are read at most: CPython itself reads no longer `pyvenv.cfg`.
pub const MAX_CONTENT: usize = 32 << 10;
/// How long a path may be, with its NUL (Linux: PATH_MAX).
const MAX_PATH: usize = 4096;
/// The bytes of an answer before the content: an error number and a mode.
const HEAD: usize = 8;
/// How long a process that was killed may take to be gone. It takes longer only in an uninterruptible wait.
const KILL_TIMEOUT: Duration = Duration::from_millis(200);

const STATUS: u8 = b's';
const SEARCH: u8 = b'x';
const CONTENT: u8 = b'c';

/// The user and group without any rights (`/proc/sys/kernel/overflowuid`).
const OVERFLOW_ID: u32 = 65_534;

/// The user that a process becomes. Only root can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// The directory that becomes the root of all paths.
    pub chroot: Option<CString>,
}

impl Credentials {
    /// Those of a user. `groups` are the supplementary ones; `None`: what the group database says of the user.
    pub fn new(uid: u32, gid: u32, groups: Option<&[u32]>) -> Self {
        // Apache's own `User` and `Group` are -1 where no line sets them, which no process can become.
        let [uid, gid] = [uid, gid].map(|id| if id == u32::MAX { OVERFLOW_ID } else { id });
        let known = || user_by_id(uid).map(|user| groups_of(&user.name, gid));
        let groups = groups.map_or_else(|| known().unwrap_or_else(|| vec![gid]), <[u32]>::to_vec);
        Self { uid, gid, groups, chroot: None }
    }
}

/// A process that examines files. It ends with this value.
#[derive(Debug)]
pub struct Inspector {
    channel: OwnedFd,
    child: i32,
    deadline: Instant,
    timed_out: bool,
}

impl Inspector {
    /// Starts the process, as the user of `credentials`, or as this process' own. All its answers have to come
    /// within `limit`.
    ///
    /// # Errors
    /// Also where the process cannot become the user.
    pub fn start(credentials: Option<&Credentials>, limit: Duration) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (channel, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let (own, other) = (theirs.as_raw_fd(), channel.as_raw_fd());
        // SAFETY: `serve` makes system calls only, all of them async-signal-safe, on what was made before and on its
        // own stack; so it does not matter what other threads hold. It leaves without unwinding and without exit
        // functions.
        let child = check(unsafe {
            match libc::fork() {
                0 => serve(own, other, credentials),
                pid => pid,
            }
        })?;
        drop(theirs);
        let deadline = Instant::now() + limit;
        let mut inspector = Self { channel, child, deadline, timed_out: false };
        inspector.answer().map(|_| inspector)
    }

    /// The mode of the file at `path`, links followed.
    pub fn mode(&mut self, path: &Path) -> io::Result<u32> {
        Ok(self.ask(STATUS, path)?.0)
    }

    /// Whether there is a directory at `path`.
    pub fn is_directory(&mut self, path: &Path) -> bool {
        self.mode(path).is_ok_and(|mode| mode & libc::S_IFMT == libc::S_IFDIR)
    }

    /// Whether there is a regular file at `path`.
    pub fn is_file(&mut self, path: &Path) -> bool {
        self.mode(path).is_ok_and(|mode| mode & libc::S_IFMT == libc::S_IFREG)
    }

    /// Whether the directory at `path` may be entered.
    ///
    /// # Errors
    /// `PermissionDenied` where it may not.
    pub fn enter(&mut self, path: &Path) -> io::Result<()> {
        self.ask(SEARCH, path).map(drop)
    }

    /// Whether the regular file at `path` may be executed: by its mode, and on its file system.
    pub fn may_execute(&mut self, path: &Path) -> bool {
        self.is_file(path) && self.ask(SEARCH, path).is_ok()
    }

    /// The content of the regular file at `path`, of at most [`MAX_CONTENT`] bytes.
    ///
    /// # Errors
    /// `FileTooLarge`, `InvalidInput` where it is no regular file, and those of the system.
    pub fn content(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let (mode, content) = self.ask(CONTENT, path)?;
        if mode & libc::S_IFMT != libc::S_IFREG {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        if content.len() > MAX_CONTENT {
            let limit = format!("it is longer than {MAX_CONTENT} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, limit));
        }
        Ok(content)
    }

    /// Whether there is a regular file of any length at `path` that may be read.
    pub fn may_read(&mut self, path: &Path) -> bool {
        match self.content(path) {
            Ok(_) => true,
            Err(why) => why.kind() == io::ErrorKind::FileTooLarge,
        }
    }

    fn ask(&mut self, what: u8, path: &Path) -> io::Result<(u32, Vec<u8>)> {
        let path = path.as_os_str().as_bytes();
        if path.len() >= MAX_PATH {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        if path.contains(&0) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let question = [&[what], path, &[0]].concat();
        if self.timed_out {
            return Err(io::ErrorKind::TimedOut.into());
        }
        send(&self.channel, &question, SendFlags::NOSIGNAL)?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<(u32, Vec<u8>)> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if !is_readable(self.channel.as_fd(), left) {
            self.timed_out = true;
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut answer = vec![0; HEAD + MAX_CONTENT + 1];
        let (_, length) = recv(&self.channel, answer.as_mut_slice(), RecvFlags::DONTWAIT)?;
        answer.truncate(length);
        let word = |at: usize| answer.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let (Some(error), Some(mode)) = (word(0), word(4)) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        match i32::try_from(error) {
            Ok(0) => Ok((mode, answer.split_off(HEAD))),
            error => Err(io::Error::from_raw_os_error(error.unwrap_or(libc::EIO))),
        }
    }
}

impl Drop for Inspector {
    fn drop(&mut self) {
        // It is not waited for before it is killed: its user may have stopped it.
        let _ = shutdown(&self.channel, Shutdown::Both);
        kill(self.child, libc::SIGKILL);
        if self.timed_out {
            exits_before(self.child.unsigned_abs(), Instant::now() + KILL_TIMEOUT);
        } else {
            wait_for_exit(self.child);
        }
    }
}

/// The process: becomes the user, and answers until the other end is closed.
///
/// # Safety
/// Only in a process that was just forked for it.
unsafe fn serve(channel: RawFd, other: RawFd, credentials: Option<&Credentials>) -> ! {
    let mut answer = [0_u8; HEAD + MAX_CONTENT + 1];
    let mut question = [0_u8; MAX_PATH + 2];
    // SAFETY: all calls are async-signal-safe and take numbers, or pointers to arrays of this frame with their
    // lengths. A question ends with a NUL, and so does what is left of the array behind it.
    unsafe {
        libc::close(other);
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
        let error = credentials.map_or(0, |it| become_user(it));
        // The memory is that of the process that asks: its user has no business there.
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
        let mut length = put(&mut answer, error, 0, 0);
        loop {
            let sent = libc::send(channel, answer.as_ptr().cast(), length, libc::MSG_NOSIGNAL);
            if sent < 0 || error != 0 {
                libc::_exit(0);
            }
            question.fill(0);
            let room = question.len() - 1;
            let received = libc::recv(channel, question.as_mut_ptr().cast(), room, 0);
            if received < 2 {
                libc::_exit(0);
            }
            let path = question.as_ptr().add(1).cast();
            length = match question[0] {
                SEARCH => {
                    let failed = libc::access(path, libc::X_OK) != 0;
                    let error = if failed { *libc::__errno_location() } else { 0 };
                    put(&mut answer, error, 0, 0)
                }
                kind => examine(path, kind == CONTENT, &mut answer),
            };
        }
    }
}

/// The error number of becoming the user; 0 where the process has.
///
/// # Safety
/// Only in a process that was just forked for it.
unsafe fn become_user(credentials: &Credentials) -> i32 {
    let Credentials { uid, gid, groups, chroot } = credentials;
    // SAFETY: async-signal-safe calls that take numbers, strings that end with a NUL, and a slice with its length.
    unsafe {
        let done = chroot
            .as_ref()
            .is_none_or(|root| libc::chroot(root.as_ptr()) == 0 && libc::chdir(c"/".as_ptr()) == 0)
            && libc::setgroups(groups.len(), groups.as_ptr()) == 0
            && libc::setgid(*gid) == 0
            && libc::setuid(*uid) == 0;
        if done { 0 } else { *libc::__errno_location() }
    }
}

/// Writes the mode of a file, and its content if that is wanted, into `answer`; its length.
///
/// # Safety
/// `path` ends with a NUL. Async-signal-safe.
unsafe fn examine(path: *const libc::c_char, read: bool, answer: &mut [u8]) -> usize {
    // SAFETY: the calls take the path, numbers, a structure of this frame, and what is left of a slice with its
    // length. The structure is read only where the call has filled it.
    unsafe {
        let mut status = MaybeUninit::<libc::stat>::uninit();
        if libc::stat(path, status.as_mut_ptr()) != 0 {
            return put(answer, *libc::__errno_location(), 0, 0);
        }
        let mode = status.assume_init_ref().st_mode;
        // Opening a device may have an effect.
        if !read || mode & libc::S_IFMT != libc::S_IFREG {
            return put(answer, 0, mode, 0);
        }
        let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
        let file = libc::open(path, flags);
        if file < 0 || libc::fstat(file, status.as_mut_ptr()) != 0 {
            return put(answer, *libc::__errno_location(), 0, 0);
        }
        // It may be another file by now.
        let mode = status.assume_init_ref().st_mode;
        let is_regular = mode & libc::S_IFMT == libc::S_IFREG;
        let (length, error) = if is_regular { read_all(file, answer) } else { (0, 0) };
        libc::close(file);
        put(answer, error, mode, length)
    }
}

/// Reads a file behind the head of `answer` until that is full; how many bytes, and an error number.
///
/// # Safety
/// Async-signal-safe.
unsafe fn read_all(file: RawFd, answer: &mut [u8]) -> (usize, i32) {
    let mut length = 0;
    loop {
        let room = match answer.get_mut(HEAD + length..) {
            Some(room) if !room.is_empty() => room,
            _ => return (length, 0),
        };
        // SAFETY: takes a number and what is left of a slice with its length.
        match unsafe { libc::read(file, room.as_mut_ptr().cast(), room.len()) } {
            0 => return (length, 0),
            count @ 1.. => length += count.unsigned_abs(),
            // SAFETY: the error number of this thread.
            _ => return (length, unsafe { *libc::__errno_location() }),
        }
    }
}

/// Writes the head of an answer with `length` bytes of content; the length of the whole.
fn put(answer: &mut [u8], error: i32, mode: u32, length: usize) -> usize {
    let head = error.to_ne_bytes().into_iter().chain(mode.to_ne_bytes());
    answer.iter_mut().zip(head).for_each(|(byte, new)| *byte = new);
    HEAD + length
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn scratch(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("inspector-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn regular_file_is_read_and_anything_else_is_not_waited_for() {
        let folder = scratch("kinds");
        let limit = Duration::from_secs(10);
        let mut inspector = Inspector::start(None, limit).unwrap();
        let began = Instant::now();
        fs::write(folder.join("file"), "content").unwrap();
        assert_eq!(inspector.content(&folder.join("file")).unwrap(), b"content");
        assert!(inspector.is_file(&folder.join("file")) && inspector.is_directory(&folder));
        let fifo = CString::new(folder.join("fifo").as_os_str().as_bytes()).unwrap();
        // SAFETY: the path ends with a NUL.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        for path in [folder.join("fifo"), folder.clone(), "/dev/zero".into()] {
            let why = inspector.content(&path).unwrap_err();
            assert_eq!(why.to_string(), "it is not a regular file", "{}", path.display());
        }
        let sparse = fs::File::create(folder.join("sparse")).unwrap();
        sparse.set_len(MAX_CONTENT as u64).unwrap();
        assert_eq!(inspector.content(&folder.join("sparse")).unwrap().len(), MAX_CONTENT);
        sparse.set_len(MAX_CONTENT as u64 + 1).unwrap();
        assert!(inspector.may_read(&folder.join("sparse")) && !inspector.may_read(&folder));
        sparse.set_len(3 << 30).unwrap();
        let why = inspector.content(&folder.join("sparse")).unwrap_err();
        assert_eq!(why.to_string(), "it is longer than 32768 bytes");
        let why = inspector.content(&folder.join("none")).unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::NotFound);
        let long = folder.join("a/".repeat(MAX_PATH));
        assert_eq!(inspector.enter(&long).unwrap_err().raw_os_error(), Some(libc::ENAMETOOLONG));
        assert!(inspector.enter(&folder).is_ok());
        assert!(began.elapsed() < limit);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn process_that_does_not_answer_is_killed() {
        let mut inspector = Inspector::start(None, Duration::from_millis(100)).unwrap();
        kill(inspector.child, libc::SIGSTOP);
        let why = inspector.mode(Path::new("/")).unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::TimedOut);
        let child = inspector.child.unsigned_abs();
        drop(inspector);
        assert!(!crate::is_alive(child));
    }

    #[test]
    fn file_of_another_user_is_closed() {
        if !crate::is_root() {
            eprintln!("skipped: only root can become another user");
            return;
        }
        let folder = scratch("closed");
        fs::write(folder.join("file"), "content").unwrap();
        let closed = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
        fs::set_permissions(&folder, closed).unwrap();
        let nobody = Credentials::new(65_534, 65_534, None);
        let mut inspector = Inspector::start(Some(&nobody), Duration::from_secs(10)).unwrap();
        for why in [
            inspector.enter(&folder).unwrap_err(),
            inspector.content(&folder.join("file")).unwrap_err(),
        ] {
            assert_eq!(why.kind(), io::ErrorKind::PermissionDenied);
        }
        let chroot = CString::new(folder.as_os_str().as_bytes()).ok();
        let inside = Credentials { uid: 0, gid: 0, chroot, ..nobody };
        let mut inspector = Inspector::start(Some(&inside), Duration::from_secs(10)).unwrap();
        assert_eq!(inspector.content(Path::new("/file")).unwrap(), b"content");
        fs::remove_dir_all(folder).unwrap();
    }
}
