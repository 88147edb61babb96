//! What one request of an event loop has received and sent, and how long its application has waited for that.
#![forbid(unsafe_code)]

use crate::observe::io_counters::IoCounters;
use std::time::Instant;

/// The counters of one request. Bytes and messages are always counted, time where it is measured.
#[derive(Default)]
pub(super) struct Traffic {
    pub(super) io: IoCounters,
    /// The HTTP status that the client gets; 0 before that is known.
    pub(super) status: u16,
    /// Since when `receive` waits for a piece of the body.
    receiving: Option<Instant>,
    /// Since when `send` waits for room.
    sending: Option<Instant>,
}

impl Traffic {
    /// `receive` has nothing to give yet.
    pub(super) fn wait_for_input(&mut self) {
        if self.io.timed && self.receiving.is_none() {
            self.receiving = Some(Instant::now());
        }
    }

    /// `receive` gives a piece of the body.
    pub(super) fn received(&mut self, bytes: usize) {
        self.io.input.add(bytes);
        if let Some(since) = self.receiving.take() {
            self.io.input.time += since.elapsed();
        }
    }

    /// `receive` gives no piece of the body, however long it has waited.
    pub(super) const fn end_input(&mut self) {
        self.receiving = None;
    }

    /// A piece of the response is sent.
    pub(super) fn begin_output(&mut self, bytes: u64) {
        self.io.output.bytes += bytes;
        self.io.output.calls += 1;
        if self.io.timed {
            self.sending.get_or_insert_with(Instant::now);
        }
    }

    /// All that was sent has been handed on, or never will be.
    pub(super) fn end_output(&mut self) {
        if let Some(since) = self.sending.take() {
            self.io.output.time += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_is_that_from_the_first_wait_to_the_message() {
        let mut traffic = Traffic::default();
        traffic.wait_for_input();
        traffic.received(3);
        assert_eq!((traffic.io.input.bytes, traffic.io.input.time), (3, Duration::ZERO));
        traffic.io.timed = true;
        traffic.wait_for_input();
        std::thread::sleep(Duration::from_millis(2));
        traffic.wait_for_input();
        traffic.received(4);
        let waited = traffic.io.input.time;
        assert!(waited >= Duration::from_millis(2));
        traffic.wait_for_input();
        traffic.end_input();
        traffic.received(0);
        assert_eq!(traffic.io.input.time, waited);
        traffic.begin_output(5);
        traffic.end_output();
        traffic.end_output();
        assert_eq!((traffic.io.output.calls, traffic.io.output.bytes), (1, 5));
        assert!(traffic.io.output.time > Duration::ZERO);
    }
}
