//! Messages that have come and that the application has not received. It never knows frames.
#![forbid(unsafe_code)]

use host::Received;
use std::collections::VecDeque;

/// A queue of messages that is full at some number of messages or bytes: nothing more is read from the client then.
#[derive(Default)]
pub(super) struct Inbox {
    messages: VecDeque<Received>,
    bytes: usize,
}

/// Messages that wait at most, and bytes; one message may have more.
const MAX_MESSAGES: usize = 16;
const MAX_BYTES: usize = 64 * 1024;

impl Inbox {
    pub(super) fn has_room(&self) -> bool {
        self.messages.len() < MAX_MESSAGES && self.bytes < MAX_BYTES
    }

    pub(super) fn push(&mut self, message: Received) {
        self.bytes += length(&message);
        self.messages.push_back(message);
    }

    /// Puts back what [`Inbox::pop`] has given.
    pub(super) fn put_back(&mut self, message: Received) {
        self.bytes += length(&message);
        self.messages.push_front(message);
    }

    pub(super) fn pop(&mut self) -> Option<Received> {
        let message = self.messages.pop_front()?;
        self.bytes -= length(&message);
        if self.messages.is_empty() {
            // One that is idle costs no memory.
            self.messages = VecDeque::new();
        }
        Some(message)
    }
}

const fn length(message: &Received) -> usize {
    match message {
        Received::Text(text) => text.len(),
        Received::Bytes(bytes) => bytes.len(),
        Received::Nothing | Received::Ending | Received::Closed { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_is_full_by_number_or_by_size_and_takes_one_message_of_any_size() {
        let mut inbox = Inbox::default();
        for number in 0..MAX_MESSAGES {
            assert!(inbox.has_room(), "{number}");
            inbox.push(Received::Text(number.to_string()));
        }
        assert!(!inbox.has_room());
        assert_eq!(inbox.pop(), Some(Received::Text("0".to_owned())));
        assert!(inbox.has_room());
        while inbox.pop().is_some() {}
        inbox.push(Received::Bytes(vec![0; 10 * MAX_BYTES]));
        assert!(!inbox.has_room());
        inbox.pop();
        assert!(inbox.has_room() && inbox.pop().is_none());
    }
}
