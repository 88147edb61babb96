//! Log lines of a manager, and those it has from its workers, on their way to Apache's side. The pipe to there is the
//! manager's standard error and never waits; what it has no room for waits here, up to a bound.
#![forbid(unsafe_code)]

use group_config::log_stream::{self, MAX_WRITE};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wsgi::Level;

/// The most bytes that wait.
const MAX_QUEUED: usize = 1 << 20;
/// How long to wait before the pipe is tried again.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// How long a manager that ends waits for room.
const LAST_WAIT: Duration = Duration::from_secs(1);

struct Queue {
    /// Whole records, as much in each as the pipe takes at once.
    blocks: VecDeque<Vec<u8>>,
    size: usize,
    /// Lines that have found no room.
    lost: u64,
}

/// A manager has one thread, and one log.
static QUEUE: Mutex<Queue> = Mutex::new(Queue { blocks: VecDeque::new(), size: 0, lost: 0 });

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends records, or has them wait.
pub(crate) fn push(records: &[u8]) {
    let mut queue = queue();
    queue.add(records);
    queue.send();
}

/// Has records wait until [`send`].
pub(crate) fn add(records: &[u8]) {
    queue().add(records);
}

/// Sends what waits, as far as there is room; whether something still waits.
pub(crate) fn send() -> bool {
    let mut queue = queue();
    queue.send();
    !queue.blocks.is_empty()
}

/// Whether records wait.
pub(crate) fn has_records() -> bool {
    !queue().blocks.is_empty()
}

/// Before the manager ends: waits a while for what still waits to be sent.
pub(crate) fn finish() {
    let deadline = Instant::now() + LAST_WAIT;
    while send() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !sys::is_writable(io::stderr().as_fd(), left) {
            return;
        }
    }
}

/// In a process that was forked from the manager: what waits is the manager's to send.
pub(crate) fn forget() {
    let mut queue = queue();
    queue.blocks.clear();
    queue.size = 0;
    queue.lost = 0;
}

impl Queue {
    fn add(&mut self, records: &[u8]) {
        for record in records.split_inclusive(|&byte| byte == b'\n') {
            if self.size + record.len() > MAX_QUEUED {
                self.lost += 1;
                continue;
            }
            self.size += record.len();
            match self.blocks.back_mut() {
                Some(block) if block.len() + record.len() <= MAX_WRITE => block.extend(record),
                _ => self.blocks.push_back(record.to_vec()),
            }
        }
    }

    fn send(&mut self) {
        loop {
            while let Some(block) = self.blocks.front() {
                match sys::write(io::stderr().as_fd(), block) {
                    Err(why) if why.kind() == io::ErrorKind::WouldBlock => return,
                    Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                    // A pipe takes such a block as a whole. Where nothing reads the pipe any more, the server is gone.
                    Ok(_) | Err(_) => {
                        self.size -= block.len();
                        self.blocks.pop_front();
                    }
                }
            }
            let lost = std::mem::take(&mut self.lost);
            if lost == 0 {
                return;
            }
            let mut notice = Vec::new();
            let text = format!("{lost} log lines lost: the server did not take them");
            log_stream::append_records(&mut notice, Level::Warning as u8, text.as_bytes());
            self.add(&notice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_wait_in_blocks_that_a_pipe_takes_as_a_whole_and_too_many_are_counted() {
        let mut queue = Queue { blocks: VecDeque::new(), size: 0, lost: 0 };
        let mut record = Vec::new();
        log_stream::append_records(&mut record, 3, &[b'x'; 1500]);
        for _ in 0..1000 {
            queue.add(&record);
        }
        let kept = MAX_QUEUED / record.len();
        assert_eq!(queue.lost, 1000 - kept as u64);
        assert_eq!(queue.size, kept * record.len());
        assert!(queue.blocks.iter().all(|block| block.len() <= MAX_WRITE));
        assert_eq!(queue.blocks.len(), kept.div_ceil(2));
    }
}
