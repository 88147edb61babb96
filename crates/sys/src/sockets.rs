//! Unix sockets, and what travels over them.
#![forbid(unsafe_code)]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags,
    SocketType, sockopt,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// A path of a socket, with the NUL behind it, in bytes (`sun_path`).
const MAX_PATH: usize = 108;
/// More pieces than one `sendmsg` takes (`UIO_MAXIOV`).
const MAX_SLICES: usize = 1024;

/// The user at the other end of a Unix socket.
pub fn peer_uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(sockopt::socket_peercred(socket)?.uid.as_raw())
}

/// Whether the path of a socket does not fit into an address.
pub fn is_too_long(path: &Path) -> bool {
    path.as_os_str().len() >= MAX_PATH
}

/// A listening socket at `path` that only this user can connect to.
///
/// # Errors
/// Also where the path is too long for an address.
pub fn bind_private(path: &Path) -> io::Result<UnixListener> {
    bind_with_mode(path, 0o600)
}

/// A listening socket at `path` whose file has this mode, less the umask.
///
/// # Errors
/// As for [`bind_private`].
pub fn bind_with_mode(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if path.as_os_str().len() >= MAX_PATH {
        return Err(io::Error::other("the path of the socket is longer than 107 bytes"));
    }
    let socket =
        net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Linux gives the file the mode of the socket, less the umask: so the file never has another mode, and the
    // umask of the whole process needs no change.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode))?;
    net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    // What std asks for.
    net::listen(&socket, 4096)?;
    Ok(socket.into())
}

/// Sets the backlog of a socket that listens already.
pub fn set_backlog(socket: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    Ok(net::listen(socket, i32::try_from(backlog).unwrap_or(i32::MAX))?)
}

/// Sets the sizes of a socket's buffers in bytes, where they are given (`SO_SNDBUF`, `SO_RCVBUF`).
pub fn set_buffers(
    socket: BorrowedFd<'_>,
    send: Option<usize>,
    receive: Option<usize>,
) -> io::Result<()> {
    const MOST: usize = i32::MAX as usize;
    if let Some(size) = send {
        sockopt::set_socket_send_buffer_size(socket, size.min(MOST))?;
    }
    if let Some(size) = receive {
        sockopt::set_socket_recv_buffer_size(socket, size.min(MOST))?;
    }
    Ok(())
}

/// The size of a socket's send buffer in bytes, as the kernel counts them; 0 where it does not say.
pub fn send_buffer_size(socket: BorrowedFd<'_>) -> usize {
    sockopt::socket_send_buffer_size(socket).unwrap_or(0)
}

/// Sets how long each later read and write of a socket may take.
pub fn set_timeouts(socket: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, Some(limit))?;
    Ok(sockopt::set_socket_timeout(socket, sockopt::Timeout::Send, Some(limit))?)
}

/// Connects to the Unix socket at `path`; `WouldBlock` when its backlog is still full after `wait`. `prepare` gets
/// the socket before it is connected, and so before anything can come over it.
pub fn connect(
    path: &Path,
    wait: Duration,
    prepare: impl FnOnce(BorrowedFd<'_>),
) -> io::Result<UnixStream> {
    if path.as_os_str().len() >= MAX_PATH {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    let stream =
        net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let stream = UnixStream::from(stream);
    // Zero would mean for ever.
    stream.set_write_timeout(Some(wait.max(Duration::from_millis(1))))?;
    prepare(stream.as_fd());
    net::connect(&stream, &SocketAddrUnix::new(path)?)?;
    Ok(stream)
}

/// Sends some of the pieces, and waits for room first, up to the time limit of the socket.
pub fn send(stream: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut nothing = SendAncillaryBuffer::default();
    Ok(net::sendmsg(stream, pieces, &mut nothing, SendFlags::NOSIGNAL)?)
}

/// Sends as much as there is room for. Never waits.
pub fn send_now(stream: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(net::sendmsg(stream, pieces, &mut SendAncillaryBuffer::default(), flags)?)
}

fn send_with_descriptor(
    socket: BorrowedFd<'_>,
    pieces: &[IoSlice<'_>],
    descriptor: BorrowedFd<'_>,
    flags: SendFlags,
) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    net::sendmsg(socket, pieces, &mut control, flags)
}

/// Sends the pieces and a descriptor where there is room for all, as one message of a [`packet_pair`]. Never waits.
pub fn send_with_descriptor_now(
    socket: BorrowedFd<'_>,
    pieces: &[IoSlice<'_>],
    descriptor: BorrowedFd<'_>,
) -> io::Result<()> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    send_with_descriptor(socket, pieces, descriptor, flags)?;
    Ok(())
}

/// Both ends of a connection that keeps messages apart (`SOCK_SEQPACKET`).
pub fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends as many of the pieces as there is room for, the descriptor with the first byte; how many bytes. Never waits.
pub fn send_file_now(
    stream: BorrowedFd<'_>,
    pieces: &[IoSlice<'_>],
    file: BorrowedFd<'_>,
) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(send_with_descriptor(stream, pieces, file, flags)?)
}

/// Sends all of the pieces; `file` goes with the first byte.
pub fn send_all(
    socket: BorrowedFd<'_>,
    mut pieces: &mut [IoSlice<'_>],
    mut file: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let flags = SendFlags::NOSIGNAL;
    while pieces.iter().any(|piece| !piece.is_empty()) {
        let some = pieces.get(..MAX_SLICES).unwrap_or(pieces);
        let sent = match file {
            None => net::sendmsg(socket, some, &mut SendAncillaryBuffer::default(), flags),
            Some(file) => send_with_descriptor(socket, some, file, flags),
        };
        match sent {
            Ok(count) => {
                file = None;
                IoSlice::advance_slices(&mut pieces, count);
            }
            Err(Errno::INTR) => {}
            Err(why) => return Err(why.into()),
        }
    }
    Ok(())
}

/// From now on nothing can be written at the other end of this socket.
pub fn shutdown_read(socket: BorrowedFd<'_>) {
    // It only fails where the other end is gone.
    let _ = net::shutdown(socket, Shutdown::Read);
}

/// From now on nothing can be sent at this end of the socket; the other end finds the end of the stream.
pub fn shutdown_write(socket: BorrowedFd<'_>) {
    // It only fails where the other end is gone.
    let _ = net::shutdown(socket, Shutdown::Write);
}

/// Reads what is here, without waiting. 0 is the end of the stream.
pub fn receive_now(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    Ok(net::recv(socket, into, RecvFlags::DONTWAIT)?.0)
}

/// Reads what is here, and waits for it first, up to the time limit of the socket. 0 is the end of the stream.
pub fn receive_some(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    Ok(net::recv(socket, into, RecvFlags::empty())?.0)
}

/// Whether something is here to read; an end of file is an error.
pub fn has_input(socket: BorrowedFd<'_>) -> io::Result<bool> {
    match net::recv(socket, &mut [0; 1][..], RecvFlags::DONTWAIT | RecvFlags::PEEK) {
        Ok((0, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(true),
        Err(Errno::AGAIN) => Ok(false),
        Err(why) => Err(why.into()),
    }
}

/// Whether the other end is closed altogether, so that nothing there reads any more, or the connection has failed.
pub fn has_hung_up(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)) == Ok(1)
        && fds.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR))
}

/// Whether a process that has the listening socket has shut it down: then nothing can connect to it any more.
pub fn is_shut_down(listener: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(listener, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ended = PollFlags::RDHUP | PollFlags::HUP;
    poll(&mut fds, Some(&now)) == Ok(1) && fds.iter().any(|fd| fd.revents().intersects(ended))
}

/// Room for one descriptor, to the byte: the kernel opens as many in this process as there is room for, so
/// others that come along are not even opened.
#[repr(align(8))]
struct OneDescriptor([MaybeUninit<u8>; HEADER + size_of::<i32>()]);

/// Room for as many descriptors as can travel at once (`SCM_MAX_FD`).
#[repr(align(8))]
struct AllDescriptors([MaybeUninit<u8>; HEADER + 253 * size_of::<i32>()]);

/// The length of a `cmsghdr`.
const HEADER: usize = size_of::<usize>() + 2 * size_of::<i32>();

/// Reads bytes, and a descriptor that travels beside them (`SCM_RIGHTS`). 0 is the end of the stream.
///
/// # Errors
/// Also where several descriptors came with the bytes or one that cannot be opened here, and `WouldBlock` if not
/// `waits` and nothing is here.
pub fn receive_with_descriptor(
    stream: BorrowedFd<'_>,
    into: &mut [u8],
    waits: bool,
) -> io::Result<(usize, Option<OwnedFd>)> {
    let flags = if waits { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    let mut space = OneDescriptor([MaybeUninit::uninit(); _]);
    let mut file = None;
    let message = receive_message(stream, into, flags, &mut space.0, |one| file = Some(one))?;
    if message.truncated {
        return Err(io::Error::other(match file {
            Some(_) => "it sent more descriptors than files",
            None => "it sent a descriptor that cannot be opened here: too many open files",
        }));
    }
    Ok((message.count, file))
}

/// What [`receive`] has read.
#[derive(Debug)]
pub struct Received {
    /// How many bytes; 0 is the end of the stream.
    pub count: usize,
    /// All descriptors that travelled beside them.
    pub descriptors: Vec<OwnedFd>,
    /// Some descriptors could not be opened in this process: it has too many open files, or a security module
    /// forbids it.
    pub truncated: bool,
}

/// Reads bytes, and whatever descriptors travel beside them. No descriptor is closed: that may wait for as long as
/// the process likes that has sent it.
///
/// # Errors
/// Those of recvmsg(2); a time limit of the socket is `WouldBlock`.
pub fn receive(stream: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<Received> {
    receive_with(stream, into, RecvFlags::empty())
}

/// As [`receive`], without waiting.
///
/// # Errors
/// Those of recvmsg(2); `WouldBlock` where nothing has come.
pub fn receive_now_with_descriptors(
    stream: BorrowedFd<'_>,
    into: &mut [u8],
) -> io::Result<Received> {
    receive_with(stream, into, RecvFlags::DONTWAIT)
}

fn receive_with(stream: BorrowedFd<'_>, into: &mut [u8], flags: RecvFlags) -> io::Result<Received> {
    let mut space = AllDescriptors([MaybeUninit::uninit(); _]);
    let mut descriptors = Vec::new();
    let take = |one| descriptors.push(one);
    let message = receive_message(stream, into, flags, &mut space.0, take)?;
    Ok(Received { count: message.count, descriptors, truncated: message.truncated })
}

struct Message {
    count: usize,
    truncated: bool,
}

fn receive_message(
    stream: BorrowedFd<'_>,
    into: &mut [u8],
    flags: RecvFlags,
    space: &mut [MaybeUninit<u8>],
    mut take: impl FnMut(OwnedFd),
) -> io::Result<Message> {
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut *space);
        let part = &mut [IoSliceMut::new(into)];
        let flags = RecvFlags::CMSG_CLOEXEC | flags;
        let message = match net::recvmsg(stream, part, &mut control, flags) {
            Ok(message) => message,
            Err(Errno::INTR) => continue,
            Err(why) => return Err(why.into()),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                files.for_each(&mut take);
            }
        }
        let truncated = message.flags.contains(ReturnFlags::CTRUNC);
        return Ok(Message { count: message.bytes, truncated });
    }
}

/// Whether bytes are here that have not been read; what cannot tell has none.
pub fn has_unread(socket: BorrowedFd<'_>) -> bool {
    rustix::io::ioctl_fionread(socket).is_ok_and(|count| count > 0)
}

/// From now on nothing can be sent over this connection, from either end.
pub fn shut_down(socket: BorrowedFd<'_>) {
    // It only fails where the other end is gone.
    let _ = net::shutdown(socket, Shutdown::Both);
}

/// Has the close of a socket not wait until what has been sent over it has arrived. Does nothing to other files.
pub fn reset_linger(descriptor: BorrowedFd<'_>) {
    // Fails for what is no socket.
    let _ = sockopt::set_socket_linger(descriptor, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn descriptor_travels_with_the_first_byte_and_all_pieces_arrive() {
        let (here, there) = UnixStream::pair().unwrap();
        let file = crate::memory_file(b"content").unwrap();
        let mut pieces = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"c")];
        send_all(here.as_fd(), &mut pieces, Some(file.as_fd())).unwrap();
        let mut bytes = [0; 8];
        let (count, file) = receive_with_descriptor(there.as_fd(), &mut bytes, true).unwrap();
        assert_eq!(&bytes[..count], b"abc");
        let mut content = String::new();
        std::fs::File::from(file.unwrap()).read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        let nothing = receive_with_descriptor(there.as_fd(), &mut bytes, false).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(here);
        assert!(matches!(receive_with_descriptor(there.as_fd(), &mut bytes, true), Ok((0, None))));
    }

    #[test]
    fn second_descriptor_is_refused_and_not_left_open() {
        let (here, there) = UnixStream::pair().unwrap();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let files = [here.as_fd(), here.as_fd(), here.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&files));
        net::sendmsg(&here, &[IoSlice::new(b"x")], &mut control, SendFlags::NOSIGNAL).unwrap();
        let (tid, before) = (rustix::thread::gettid(), open());
        assert!(receive_with_descriptor(there.as_fd(), &mut [0; 8], true).is_err());
        // Other tests of this process may open files at the same time: a leak would show in each try.
        assert!((0..50).any(|_| open() <= before), "thread {tid:?}");
    }

    #[test]
    fn all_descriptors_are_received_where_there_is_room_for_all() {
        let (here, there) = UnixStream::pair().unwrap();
        let files = [here.as_fd(); 253];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&files));
        assert!(!has_unread(there.as_fd()));
        net::sendmsg(&here, &[IoSlice::new(b"x")], &mut control, SendFlags::NOSIGNAL).unwrap();
        assert!(has_unread(there.as_fd()));
        let received = receive(there.as_fd(), &mut [0; 8]).unwrap();
        assert_eq!((received.count, received.descriptors.len()), (1, 253));
        assert!(!received.truncated && !has_unread(there.as_fd()));
        shut_down(there.as_fd());
        assert!(send_now(here.as_fd(), &[IoSlice::new(b"x")]).is_err());
    }

    #[test]
    fn descriptors_are_refused_by_the_kernel_where_it_can() {
        let (here, there) = UnixStream::pair().unwrap();
        let refuses = crate::refuse_descriptors(there.as_fd());
        let byte = &[IoSlice::new(b"x")];
        let sent = send_with_descriptor(here.as_fd(), byte, here.as_fd(), SendFlags::NOSIGNAL);
        assert_eq!(sent.is_err(), refuses);
        assert!(send_now(here.as_fd(), &[IoSlice::new(b"x")]).is_ok());
    }

    #[test]
    fn listening_socket_that_was_shut_down_is_known() {
        for how in [net::Shutdown::Read, net::Shutdown::Both] {
            let folder = std::env::temp_dir();
            let path = folder.join(format!("sys-shut-down-{how:?}-{}", std::process::id()));
            let listener = bind_private(&path).unwrap();
            set_backlog(listener.as_fd(), 8).unwrap();
            let _pending = connect(&path, Duration::from_secs(1), |_| {}).unwrap();
            assert!(!is_shut_down(listener.as_fd()));
            net::shutdown(&listener, how).unwrap();
            assert!(is_shut_down(listener.as_fd()));
            assert!(connect(&path, Duration::from_secs(1), |_| {}).is_err());
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn private_socket_is_for_its_owner_alone_whatever_the_umask() {
        let folder = std::env::temp_dir().join(format!("sys-sockets-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let listener = bind_private(&path).unwrap();
        set_backlog(listener.as_fd(), 1).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(connect(&path, Duration::from_millis(10), |_| ()).is_ok());
        let full = (0..3).find_map(|_| connect(&path, Duration::from_millis(10), |_| ()).err());
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(full.is_none_or(|why| why.kind() == io::ErrorKind::WouldBlock));
        assert!(bind_private(Path::new(&"x".repeat(108))).is_err());
    }
}
