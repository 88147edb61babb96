//! Idle connections of web servers on their way from a worker that stops to the next one.
//!
//! A web server other than the Apache module does not send a request again when its kept connection is closed in that
//! moment, so a group that such web servers use closes none of them while there is a worker that can go on with them. All
//! workers of the group have both ends of one socket pair, on which the descriptors travel; the manager only makes
//! it. What no worker has taken ends with the group.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::CloseOnFork;

/// Both ends of the queue.
pub(crate) struct ConnectionQueue {
    sender: OwnedFd,
    receiver: OwnedFd,
}

/// The queue in a worker.
pub(crate) struct WorkerQueue {
    // Before the queue, because fields are dropped in this order: a number that is marked has to be open.
    _close_on_fork: [CloseOnFork; 2],
    queue: ConnectionQueue,
}

impl ConnectionQueue {
    pub(crate) fn new() -> io::Result<Self> {
        let (sender, receiver) = sys::packet_pair()?;
        Ok(Self { sender, receiver })
    }

    /// The same queue, in the worker that uses it.
    pub(crate) fn into_worker(self) -> WorkerQueue {
        let mark = |end: &OwnedFd| CloseOnFork::new(end.as_fd());
        WorkerQueue { _close_on_fork: [mark(&self.sender), mark(&self.receiver)], queue: self }
    }
}

impl WorkerQueue {
    /// Gives a connection to the next worker; whether there was room for it. The caller must not use it any more, nor
    /// shut it down.
    pub(crate) fn push(&self, connection: BorrowedFd<'_>) -> bool {
        let byte = [IoSlice::new(&[0])];
        sys::send_with_descriptor_now(self.queue.sender.as_fd(), &byte, connection).is_ok()
    }

    /// Takes a connection that another worker has given.
    ///
    /// # Errors
    /// `WouldBlock` where there is none, and what recvmsg(2) says where the descriptor cannot be opened here.
    pub(crate) fn pop(&self) -> io::Result<OwnedFd> {
        let receiver = self.queue.receiver.as_fd();
        match sys::receive_with_descriptor(receiver, &mut [0; 1], false)? {
            (_, Some(connection)) => Ok(connection),
            // A process of the same user has sent something else.
            (_, None) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Readable while a connection is there to be taken.
impl AsFd for WorkerQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.receiver.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn connection_is_whole_at_the_other_end_of_the_queue() {
        let queue = ConnectionQueue::new().unwrap().into_worker();
        assert_eq!(queue.pop().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let (mut here, there) = UnixStream::pair().unwrap();
        assert!(queue.push(there.as_fd()));
        drop(there);
        here.write_all(b"request").unwrap();
        let mut taken = UnixStream::from(queue.pop().unwrap());
        let mut bytes = [0; 7];
        taken.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"request");
        assert_eq!(queue.pop().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn full_queue_takes_no_more_and_does_not_wait() {
        let queue = ConnectionQueue::new().unwrap().into_worker();
        let (_here, there) = UnixStream::pair().unwrap();
        let taken = (0..1_000_000).take_while(|_| queue.push(there.as_fd())).count();
        assert!((16..1_000_000).contains(&taken), "{taken}");
        assert!(queue.pop().is_ok());
    }
}
