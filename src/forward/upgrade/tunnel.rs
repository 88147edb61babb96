//! The connection to a worker that has become a WebSocket. It must never know the client.
#![forbid(unsafe_code)]

use crate::forward::connection::Connection;
use crate::forward::connection_error::ConnectionError;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

/// A connection on which no request will come any more: raw bytes of one WebSocket. It is closed when this is dropped, and
/// the worker then knows that the client is gone.
pub(crate) struct Tunnel {
    connection: Box<Connection>,
}

impl Tunnel {
    pub(crate) const fn new(connection: Box<Connection>) -> Self {
        Self { connection }
    }

    /// Hands the client's socket to the worker, with the bytes that have been read from it.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub(super) fn pass_socket(&self, client: BorrowedFd<'_>, early: &[u8]) -> io::Result<()> {
        let mut pieces = [IoSlice::new(&[fastcgi::tunnel::SOCKET]), IoSlice::new(early)];
        sys::send_all(self.as_fd(), &mut pieces, Some(client))
    }

    /// Says that the bytes of the WebSocket come over this connection. To be called once, before the first of them.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub(crate) fn open(&self) -> io::Result<()> {
        let way = [fastcgi::tunnel::BYTES];
        sys::send_all(self.as_fd(), &mut [IoSlice::new(&way)], None)
    }

    /// Reads what has come from the worker; 0 at the end. To be called where there is something to read.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, ConnectionError> {
        self.connection.read_raw(into)
    }

    /// As [`Self::read`], without waiting; `None` where nothing has come.
    pub(crate) fn read_now(&mut self, into: &mut [u8]) -> Result<Option<usize>, ConnectionError> {
        match self.connection.read_raw_now(into) {
            Err(ConnectionError::Timeout) => Ok(None),
            read => read.map(Some),
        }
    }

    /// Sends as much as there is room for, without waiting; how many bytes.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match sys::send_now(self.as_fd(), &[IoSlice::new(bytes)]) {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(0),
            sent => sent,
        }
    }

    /// Nothing more comes from the client: the worker sends what it still has to say, and closes.
    pub(crate) fn end_input(&self) {
        sys::shutdown_write(self.as_fd());
    }
}

impl AsFd for Tunnel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
