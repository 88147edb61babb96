//! What the connection of a request had no room for: bytes, and files between them. It never waits, and knows neither
//! the request nor what the bytes mean.
#![forbid(unsafe_code)]

use crate::log::Log;
use crate::worker::asgi::kept_file::KeptFile;
use crate::worker::connection::Connection;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use wsgi::Level;

/// Bytes and files in the order in which they are to be sent.
#[derive(Default)]
pub(super) struct SendQueue {
    /// To be sent from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    /// Files that come behind it, in this order.
    files: VecDeque<KeptFile>,
}

/// The most pieces of one system call.
const MAX_PIECES: usize = 512;
/// The most pieces of files of one turn.
const MAX_FILE_PIECES: usize = 16;

impl SendQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.unsent.len() && self.files.is_empty()
    }

    /// The bytes in memory that wait.
    pub(super) fn kept_bytes(&self) -> usize {
        let behind: usize = self.files.iter().map(|file| file.behind.len()).sum();
        self.unsent.len() - self.sent + behind
    }

    /// Sends pieces behind what is kept, and keeps what there is no room for.
    ///
    /// # Errors
    /// When the connection takes nothing more.
    pub(super) fn send(
        &mut self,
        connection: &Connection,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<()> {
        let mut taken = 0;
        if self.is_empty() {
            self.clear_bytes();
            taken = connection.send_now(pieces.get(..MAX_PIECES).unwrap_or(pieces))?;
        }
        let kept = self.files.back_mut().map_or(&mut self.unsent, |file| &mut file.behind);
        for piece in pieces {
            let skipped = taken.min(piece.len());
            taken -= skipped;
            kept.extend_from_slice(piece.get(skipped..).unwrap_or_default());
        }
        Ok(())
    }

    /// Adds a file, which [`SendQueue::send_kept`] sends.
    pub(super) fn push_file(&mut self, file: KeptFile) {
        self.files.push_back(file);
    }

    /// Sends what is kept, but no more of files than a turn permits, as other requests wait.
    ///
    /// # Errors
    /// When the connection takes nothing more, or a file cannot be read to its end, which is logged.
    pub(super) fn send_kept(&mut self, connection: &Connection, log: &Log) -> io::Result<()> {
        let id = connection.id();
        let mut pieces = MAX_FILE_PIECES;
        while self.send_unsent(connection)? && pieces > 0 {
            pieces -= 1;
            let Some(file) = self.files.front_mut() else { return Ok(()) };
            let has_more = match file.record(id) {
                None => file.read(id, &mut self.unsent).inspect_err(|why| {
                    let line = format!("a file of a response cannot be read to its end: {why}");
                    log.write(Level::Error, line.as_bytes());
                })?,
                Some(record) => match connection.send_file_now(&record, file.as_fd())? {
                    0 => return Ok(()),
                    count => {
                        self.unsent.extend_from_slice(record.get(count..).unwrap_or_default());
                        false
                    }
                },
            };
            if !has_more && let Some(file) = self.files.pop_front() {
                self.unsent.extend_from_slice(&file.behind);
            }
        }
        Ok(())
    }

    /// Takes the bytes that come before the next file.
    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        let bytes = self.unsent.split_off(self.sent);
        self.clear_bytes();
        bytes
    }

    /// Sends the bytes that come before the next file; whether all have been sent.
    fn send_unsent(&mut self, connection: &Connection) -> io::Result<bool> {
        while let Some(rest @ [_, ..]) = self.unsent.get(self.sent..) {
            let count = connection.send_now(&[IoSlice::new(rest)])?;
            if count == 0 {
                return Ok(false);
            }
            self.sent += count;
        }
        self.clear_bytes();
        Ok(true)
    }

    fn clear_bytes(&mut self) {
        self.unsent.clear();
        self.sent = 0;
    }
}
