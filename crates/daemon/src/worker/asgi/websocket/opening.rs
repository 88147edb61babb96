//! Between the application's word and the first frame: the 101 goes out, and Apache says which way the bytes come
//! (`fastcgi::tunnel`). It never knows a frame.
#![forbid(unsafe_code)]

use fastcgi::tunnel;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// How far that is.
#[derive(Default)]
pub(super) struct Opening {
    /// FastCGI records that the connection has not taken, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    way: Way,
    /// Bytes of the WebSocket that have come already.
    early: Vec<u8>,
}

#[derive(Default)]
enum Way {
    /// Apache has not sent its 101 yet, or has not said so.
    #[default]
    Unknown,
    /// The connection carries the bytes.
    Tunnel,
    /// The client's socket does, once the connection has ended.
    Client(OwnedFd),
}

/// What carries the WebSocket, and the first bytes of it.
pub(super) struct Opened {
    /// The client's socket; `None`: the connection itself.
    pub(super) client: Option<OwnedFd>,
    pub(super) early: Vec<u8>,
}

/// The most bytes of one read.
const READ: usize = 16 * 1024;

impl Opening {
    /// `unsent`: what is left of the response that says 101.
    pub(super) fn new(unsent: Vec<u8>) -> Self {
        Self { unsent, ..Self::default() }
    }

    pub(super) const fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Goes on as far as can be without waiting; `None`: not there yet.
    ///
    /// # Errors
    /// When the client has not got its 101, or Apache has broken the rules.
    pub(super) fn advance(&mut self, connection: BorrowedFd<'_>) -> io::Result<Option<Opened>> {
        while let Some(rest @ [_, ..]) = self.unsent.get(self.sent..) {
            match sys::send_now(connection, &[io::IoSlice::new(rest)]) {
                Ok(count) => self.sent += count,
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(why) => return Err(why),
            }
        }
        loop {
            let mut bytes = [0; READ];
            let (count, descriptor) =
                match sys::receive_with_descriptor(connection, &mut bytes, false) {
                    Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                    received => received?,
                };
            let bytes = bytes.get(..count).unwrap_or_default();
            if let Some(opened) = self.take(bytes, descriptor)? {
                return Ok(Some(opened));
            }
        }
    }

    /// Takes what one read has given.
    fn take(&mut self, bytes: &[u8], descriptor: Option<OwnedFd>) -> io::Result<Option<Opened>> {
        let is_end = bytes.is_empty();
        let mut bytes = bytes;
        match (&self.way, bytes.split_first(), descriptor) {
            (Way::Unknown, Some((&tunnel::BYTES, rest)), None) => {
                self.way = Way::Tunnel;
                bytes = rest;
            }
            (Way::Unknown, Some((&tunnel::SOCKET, rest)), Some(client)) => {
                self.way = Way::Client(client);
                bytes = rest;
            }
            (Way::Unknown, None, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (Way::Tunnel | Way::Client(_), _, None) => {}
            _ => return Err(io::Error::other("Apache has not said how the bytes come")),
        }
        self.early.extend_from_slice(bytes);
        let early = |it: &mut Self| std::mem::take(&mut it.early);
        match std::mem::take(&mut self.way) {
            Way::Tunnel => Ok(Some(Opened { client: None, early: early(self) })),
            Way::Client(client) if is_end => {
                Ok(Some(Opened { client: Some(client), early: early(self) }))
            }
            way => {
                self.way = way;
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{IoSlice, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn bytes_behind_the_first_are_those_of_the_websocket() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut opening = Opening::new(b"records".to_vec());
        assert!(opening.has_unsent());
        assert!(opening.advance(here.as_fd()).unwrap().is_none());
        assert!(!opening.has_unsent());
        there.write_all(b"Bframe").unwrap();
        let opened = opening.advance(here.as_fd()).unwrap().unwrap();
        assert!(opened.client.is_none());
        assert_eq!(opened.early, b"frame");
    }

    #[test]
    fn the_client_s_socket_comes_with_all_that_was_read_from_it() {
        let (here, there) = UnixStream::pair().unwrap();
        let (client, _other) = UnixStream::pair().unwrap();
        let mut opening = Opening::default();
        let mut pieces = [IoSlice::new(b"S"), IoSlice::new(b"ear")];
        sys::send_all(there.as_fd(), &mut pieces, Some(client.as_fd())).unwrap();
        assert!(opening.advance(here.as_fd()).unwrap().is_none());
        (&there).write_all(b"ly").unwrap();
        drop(there);
        let opened = opening.advance(here.as_fd()).unwrap().unwrap();
        assert!(opened.client.is_some());
        assert_eq!(opened.early, b"early");
    }

    #[test]
    fn anything_else_is_no_way() {
        for sent in [&b""[..], b"S", b"xy"] {
            let (here, mut there) = UnixStream::pair().unwrap();
            there.write_all(sent).unwrap();
            drop(there);
            assert!(Opening::default().advance(here.as_fd()).is_err(), "{sent:?}");
        }
    }
}
