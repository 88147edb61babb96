//! When which link is to be looked at although nothing has happened at its descriptors. It must never know a link.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Times and keys. An entry that has become wrong is found when its time has come: its key's owner then says the right time.
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
}

impl Deadlines {
    pub(super) const fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    pub(super) fn add(&mut self, at: Instant, key: u64) {
        self.heap.push(Reverse((at, key)));
    }

    /// The earliest time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one key whose time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u64> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, key))| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn keys_come_when_their_time_has_come_the_earliest_first() {
        let (mut deadlines, now) = (Deadlines::new(), Instant::now());
        let later = |milliseconds| now + Duration::from_millis(milliseconds);
        deadlines.add(later(20), 1);
        deadlines.add(later(10), 2);
        deadlines.add(later(30), 3);
        assert_eq!(deadlines.next(), Some(later(10)));
        assert_eq!(deadlines.take_due(now), None);
        assert_eq!(deadlines.take_due(later(25)), Some(2));
        assert_eq!(deadlines.take_due(later(25)), Some(1));
        assert_eq!(deadlines.take_due(later(25)), None);
    }
}
