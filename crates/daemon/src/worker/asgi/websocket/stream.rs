//! What the bytes of a WebSocket travel over. It never knows what they say.
#![forbid(unsafe_code)]

use crate::worker::connection::Socket;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use sys::CloseOnFork;

/// A stream on which nothing waits.
pub(super) struct Stream {
    kind: Kind,
    /// The other end sends nothing more.
    has_ended: bool,
    /// Bytes have come since [`Stream::take_received`].
    has_received: bool,
    /// Bytes have been taken since [`Stream::take_sent`].
    has_sent: bool,
    /// Bytes that are still read before others have their turn.
    turn: usize,
}

/// Bytes that are read before others have their turn. The reader of frames reads on until a message is complete, of however
/// many fragments; so many bytes of empty ones take it a few milliseconds.
const TURN: usize = 128 * 1024;

enum Kind {
    /// The connection to Apache's child, which carries the bytes on.
    Tunnel(Arc<Socket>),
    /// The client's own socket.
    Client(Client),
}

struct Client {
    // Before the socket, because fields are dropped in this order: a number that is marked has to be open.
    _close_on_fork: CloseOnFork,
    socket: OwnedFd,
}

impl Stream {
    pub(super) const fn tunnel(socket: Arc<Socket>) -> Self {
        Self::new(Kind::Tunnel(socket))
    }

    pub(super) fn client(socket: OwnedFd) -> Self {
        let mark = CloseOnFork::new(socket.as_fd());
        Self::new(Kind::Client(Client { _close_on_fork: mark, socket }))
    }

    const fn new(kind: Kind) -> Self {
        Self { kind, has_ended: false, has_received: false, has_sent: false, turn: TURN }
    }

    /// Begins a turn, in which so much is read as is permitted; what is beyond that seems not to have come.
    pub(super) const fn begin_turn(&mut self) {
        self.turn = TURN;
    }

    /// Whether the end has been read of what the other end sends.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether the other end neither reads nor sends any more; what it has sent before may be here still.
    pub(super) fn is_gone(&self) -> bool {
        sys::has_hung_up(self.as_fd())
    }

    /// Whether bytes have come since the last call.
    pub(super) const fn take_received(&mut self) -> bool {
        std::mem::replace(&mut self.has_received, false)
    }

    /// Whether bytes have been taken since the last call.
    pub(super) const fn take_sent(&mut self) -> bool {
        std::mem::replace(&mut self.has_sent, false)
    }

    /// Whether Apache's child carries the bytes.
    pub(super) const fn is_tunnel(&self) -> bool {
        matches!(self.kind, Kind::Tunnel(_))
    }

    /// Sends nothing more: the other end sees the end once it has read what was sent.
    pub(super) fn end_output(&self) {
        sys::shutdown_write(self.as_fd());
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Tunnel(socket) => socket.as_fd(),
            Kind::Client(client) => client.socket.as_fd(),
        }
    }
}

/// The end is not an end for the reader of frames, which could then send nothing more: see [`Stream::has_ended`].
impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.has_ended || self.turn == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match sys::receive_now(self.as_fd(), into) {
            Ok(0) if !into.is_empty() => {
                self.has_ended = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
            read => {
                self.has_received |= read.is_ok();
                self.turn = self.turn.saturating_sub(*read.as_ref().unwrap_or(&0));
                read
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = sys::send_now(self.as_fd(), &[IoSlice::new(bytes)])?;
        self.has_sent |= count > 0;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Another process may have the same socket for a moment still: the other end is to see the end at once.
impl Drop for Stream {
    fn drop(&mut self) {
        // A process that the application has forked has no part in it.
        if !sys::in_forked_child() {
            sys::shut_down(self.as_fd());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn turn_ends_after_so_many_bytes_and_the_next_one_goes_on() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut stream = Stream::client(here.into());
        let mut bytes = vec![0; 16 * 1024];
        let mut read_turn = |stream: &mut Stream| {
            let mut total = 0;
            loop {
                there.write_all(&bytes[..1024]).unwrap();
                match stream.read(&mut bytes) {
                    Ok(count) => total += count,
                    Err(why) => return (total, why.kind()),
                }
            }
        };
        let would_block = io::ErrorKind::WouldBlock;
        assert_eq!(read_turn(&mut stream), (TURN, would_block));
        assert_eq!(read_turn(&mut stream), (0, would_block));
        stream.begin_turn();
        let (total, kind) = read_turn(&mut stream);
        assert!(total >= TURN && kind == would_block && !stream.has_ended());
    }

    #[test]
    fn end_is_known_and_what_is_kept_can_still_be_sent() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut stream = Stream::client(here.into());
        let mut byte = [0; 4];
        let would_block = |stream: &mut Stream, byte: &mut [u8]| {
            stream.read(byte).unwrap_err().kind() == io::ErrorKind::WouldBlock
        };
        assert!(would_block(&mut stream, &mut byte) && !stream.has_ended());
        assert!(!stream.take_received() && !stream.take_sent() && !stream.is_gone());
        there.write_all(b"ab").unwrap();
        there.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut byte).unwrap(), 2);
        assert!(stream.take_received() && !stream.take_received() && !stream.has_ended());
        assert!(would_block(&mut stream, &mut byte) && stream.has_ended());
        assert_eq!(stream.write(b"x").unwrap(), 1);
        assert!(stream.take_sent() && !stream.take_sent() && !stream.take_received());
        drop(stream);
        let mut all = Vec::new();
        there.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"x");
    }
}
