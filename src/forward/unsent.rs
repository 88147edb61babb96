//! Bytes for a worker that its socket has no room for yet. This file must never know what they are.
#![forbid(unsafe_code)]

use std::io::IoSlice;

/// Bytes of one of the two buffers at most. What malloc(3) has mapped for a longer one (128 KB), and freed, makes it keep
/// more in each arena from then on.
const PART: usize = 120 * 1024;

/// Bytes in two buffers, of which some have been sent.
#[derive(Default)]
pub(super) struct Unsent {
    first: Vec<u8>,
    second: Vec<u8>,
    /// How many have been sent.
    sent: usize,
}

impl Unsent {
    pub(super) const fn is_empty(&self) -> bool {
        self.sent == self.first.len() + self.second.len()
    }

    /// Adds what `pieces` hold.
    pub(super) fn extend(&mut self, pieces: &[IoSlice<'_>]) {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        // The second buffer has something only where the first one is full.
        let room = if self.second.is_empty() { PART.saturating_sub(self.first.len()) } else { 0 };
        self.first.reserve_exact(length.min(room));
        self.second.reserve_exact(length.saturating_sub(room));
        let mut left = room;
        for piece in pieces {
            let (one, other) = piece.split_at(left.min(piece.len()));
            self.first.extend_from_slice(one);
            self.second.extend_from_slice(other);
            left -= one.len();
        }
    }

    /// The bytes that have not been sent.
    pub(super) fn rest(&self) -> [&[u8]; 2] {
        let first = self.first.get(self.sent..).unwrap_or_default();
        let second = self.second.get(self.sent.saturating_sub(self.first.len())..);
        [first, second.unwrap_or_default()]
    }

    /// Records that `count` more bytes have been sent.
    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.is_empty() {
            self.first.clear();
            self.second.clear();
            self.sent = 0;
        }
    }

    /// Gives memory back beyond `capacity` bytes.
    pub(super) fn shrink_to(&mut self, capacity: usize) {
        self.first.shrink_to(capacity);
        self.second.shrink_to(capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_are_sent_in_their_order_and_no_buffer_is_long() {
        let all: Vec<u8> = (0..=250).cycle().take(PART + 70_000).collect();
        let mut unsent = Unsent::default();
        assert!(unsent.is_empty());
        let (one, two) = all.split_at(50_000);
        for _ in 0..2 {
            unsent.extend(&[IoSlice::new(one)]);
            unsent.extend(&[IoSlice::new(&[]), IoSlice::new(two)]);
            assert!(unsent.first.capacity() <= PART && unsent.second.capacity() < PART);
            let mut sent = Vec::new();
            for count in [1, 49_999, 60_000, PART - 109_999, 69_000, 0] {
                let rest = unsent.rest().concat();
                assert!(!unsent.is_empty());
                sent.extend_from_slice(&rest[..count]);
                unsent.advance(count);
            }
            let rest = unsent.rest().concat();
            sent.extend_from_slice(&rest);
            unsent.advance(rest.len());
            assert!(sent == all && unsent.is_empty());
        }
        unsent.shrink_to(10);
        assert!(unsent.first.capacity() <= 10);
    }
}
