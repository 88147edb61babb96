//! Who answers a request: the thread that serves it, or the worker that cannot wait for that thread any
//! longer. Whoever takes the turn first does, and the other one is silent.
#![forbid(unsafe_code)]

use crate::posix;
use crate::worker::connection::Connection;
use fastcgi::{RecordType, encoder};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// A thread's turn: 0 when it is nobody's, else the connection, the id of its request, and whether the
/// Apache module asked.
#[derive(Default)]
pub(crate) struct Turn(AtomicU64);

/// Set whenever there is a turn at all.
const OPEN: u64 = 1 << 63;
const FROM_MODULE: u64 = 1 << 62;

impl Turn {
    /// A request begins.
    pub(crate) fn begin(&self, connection: &Connection, from_module: bool) {
        let descriptor = u64::from(connection.as_fd().as_raw_fd().unsigned_abs());
        let module = if from_module { FROM_MODULE } else { 0 };
        let turn = OPEN | module | descriptor << 16 | u64::from(connection.id());
        self.0.store(turn, Ordering::Release);
    }

    /// Takes the turn; `false` when it was gone.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(0, Ordering::AcqRel) != 0
    }

    /// Answers with `status` in the place of the thread, if that has not begun to. The connection stays
    /// open meanwhile: the thread needs the turn to let it go.
    pub(crate) fn give_up(&self, status: u16, log: &[u8]) {
        let turn = self.0.swap(0, Ordering::AcqRel);
        if turn == 0 {
            return;
        }
        let (id, descriptor) = (turn as u16, (turn >> 16) as u32);
        let mut answer = Vec::new();
        if turn & FROM_MODULE != 0 {
            encoder::append_log(&mut answer, id, fastcgi::LogLevel::ERR, log);
            answer.extend_from_slice(&encoder::end_answer(id, status.into()));
        } else {
            let head = format!("Status: {status}\r\nContent-Type: text/plain\r\n\r\n");
            encoder::append_stream(&mut answer, RecordType::STDOUT, id, head.as_bytes());
            answer.extend_from_slice(&encoder::end_answer(id, 0));
        }
        if let Ok(descriptor) = RawFd::try_from(descriptor) {
            // The thread may be stuck for ever: whoever writes another request to it learns that at once.
            posix::stop_reading(descriptor);
            // Nobody may be left to hear it.
            let _ = posix::send_to(descriptor, &mut [IoSlice::new(&answer)]);
        }
    }
}
