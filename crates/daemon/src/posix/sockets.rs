//! Sockets, and what travels over them.
#![allow(unsafe_code, reason = "part of the one POSIX room of this crate")]

use super::check;
use std::io::{self, IoSlice};
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The user at the other end of a Unix socket.
pub(crate) fn peer_uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `length` is the size of what `peer` points to.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    })?;
    Ok(peer.uid)
}

/// Sets the backlog of a socket that listens already.
pub(crate) fn listen(socket: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    // SAFETY: takes numbers.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) }).map(drop)
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

/// Reads what is here, without waiting, and a descriptor that travels beside it (`SCM_RIGHTS`).
pub(crate) fn receive_file(
    socket: BorrowedFd<'_>,
    into: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    // Room for one descriptor, aligned as a cmsghdr has to be. Others that come along are not even opened
    // here: the kernel installs as many as `msg_controllen` has room for, to the byte.
    let mut control = [0_u64; 4];
    let mut part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: an all-zero msghdr is a valid one. It points at buffers that live for the call. The control
    // data is walked with the macros made for it, and each descriptor in it has become ours.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
        let count = libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags);
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let file = header.as_ref().filter(|found| {
            found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_RIGHTS
        });
        let file = file.map(|_| libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned());
        Ok((count, file.map(|file| OwnedFd::from_raw_fd(file))))
    }
}

/// From now on `file` is the standard error of this process.
pub(crate) fn set_standard_error(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes numbers.
    check(unsafe { libc::dup2(file.as_raw_fd(), libc::STDERR_FILENO) }).map(drop)
}

/// From now on nothing can be written at the other end of this socket.
pub(crate) fn stop_reading(socket: RawFd) {
    // SAFETY: takes numbers; it only fails where the other end is gone.
    unsafe { libc::shutdown(socket, libc::SHUT_RD) };
}

/// Reads what is here, without waiting.
pub(crate) fn receive_now(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    receive(socket, into, libc::MSG_DONTWAIT)
}

/// Whether something is here to read; an end of file is an error.
pub(crate) fn has_input(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut byte = [0];
    match receive(socket, &mut byte, libc::MSG_DONTWAIT | libc::MSG_PEEK) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(true),
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(why) => Err(why),
    }
}

/// Whether the other end is closed altogether, so that nobody there reads any more.
pub(crate) fn has_hung_up(socket: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one pollfd, which lives for the call; with no time to wait.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 && poll.revents & libc::POLLHUP != 0 }
}

fn receive(socket: BorrowedFd<'_>, into: &mut [u8], flags: i32) -> io::Result<usize> {
    // SAFETY: pointer and length are those of one slice.
    let count =
        unsafe { libc::recv(socket.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Sends all of the pieces; `file` goes with the first byte.
pub(crate) fn send_all(
    socket: BorrowedFd<'_>,
    mut pieces: &mut [IoSlice<'_>],
    mut file: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    #[repr(C, align(8))]
    struct Control([u8; 32]);
    /// More than one sendmsg takes.
    const MOST: usize = 1024;
    while pieces.iter().any(|piece| !piece.is_empty()) {
        let mut control = Control([0; 32]);
        // SAFETY: every field of `msghdr` may be zero. `IoSlice` has the layout of `iovec` on Unix.
        // `control` has room for one header and one descriptor (24 bytes with its padding), is aligned
        // as a header must be, and lives until sendmsg has returned.
        let count = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = pieces.as_mut_ptr().cast();
            message.msg_iovlen = pieces.len().min(MOST);
            if let Some(file) = file {
                message.msg_control = control.0.as_mut_ptr().cast();
                message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as usize;
                let header = libc::CMSG_FIRSTHDR(&raw const message);
                (*header).cmsg_level = libc::SOL_SOCKET;
                (*header).cmsg_type = libc::SCM_RIGHTS;
                (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as usize;
                libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(file.as_raw_fd());
            }
            libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
        };
        match usize::try_from(count) {
            Ok(count) => {
                file = None;
                IoSlice::advance_slices(&mut pieces, count);
            }
            Err(_) => {
                let why = io::Error::last_os_error();
                if why.kind() != io::ErrorKind::Interrupted {
                    return Err(why);
                }
            }
        }
    }
    Ok(())
}

/// Sends all of the pieces to a socket that another thread owns, and does not close before it has been told
/// to by way of the caller.
pub(crate) fn send_to(socket: RawFd, pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    // SAFETY: open for the time of the call, by the caller's promise.
    send_all(unsafe { BorrowedFd::borrow_raw(socket) }, pieces, None)
}

/// An epoll instance: what several threads wait on, one of them woken for each event, the one that
/// came to wait last first.
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: makes a new descriptor.
        unsafe { Ok(Self(OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?))) }
    }

    /// Watches a descriptor under a token of the caller's.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, events: i32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    /// Watches once more what was watched for one event.
    pub(crate) fn rearm(&self, fd: BorrowedFd<'_>, events: i32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    /// Watches no more.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        // It may not have been added; then there is nothing to do.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    /// The token of the next event.
    pub(crate) fn wait(&self) -> io::Result<u64> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: room for the one event that is asked for.
        check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, -1) })?;
        Ok(event.u64)
    }

    fn control(&self, what: i32, fd: BorrowedFd<'_>, events: i32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: `event` is complete; both descriptors are open.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, fd.as_raw_fd(), &raw mut event) })
            .map(drop)
    }
}
