//! When which link is to be looked at although nothing has happened at its descriptors. It must never know a link.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::time::Instant;

/// Times and keys. A key whose owner has moved it has the time that was set last only: with one more entry for each move, the
/// streams of a child that are silent and send an event in turn would fill its memory.
pub(super) struct Deadlines {
    entries: BTreeSet<(Instant, u64)>,
}

impl Deadlines {
    pub(super) const fn new() -> Self {
        Self { entries: BTreeSet::new() }
    }

    /// Sets the time of a key that has had the time `before`.
    pub(super) fn set(&mut self, key: u64, before: Option<Instant>, at: Instant) {
        self.remove(key, before);
        self.entries.insert((at, key));
    }

    /// Forgets a key that has the time `at`.
    pub(super) fn remove(&mut self, key: u64, at: Option<Instant>) {
        if let Some(at) = at {
            self.entries.remove(&(at, key));
        }
    }

    /// The earliest time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.first().map(|(at, _)| *at)
    }

    /// Takes one key whose time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u64> {
        if self.next()? > now {
            return None;
        }
        self.entries.pop_first().map(|(_, key)| key)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
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
        deadlines.set(1, None, later(20));
        deadlines.set(2, None, later(10));
        deadlines.set(3, None, later(30));
        assert_eq!(deadlines.next(), Some(later(10)));
        assert_eq!(deadlines.take_due(now), None);
        assert_eq!(deadlines.take_due(later(25)), Some(2));
        assert_eq!(deadlines.take_due(later(25)), Some(1));
        assert_eq!(deadlines.take_due(later(25)), None);
    }

    #[test]
    fn key_has_one_time_and_none_once_it_is_removed() {
        let (mut deadlines, now) = (Deadlines::new(), Instant::now());
        let later = now + Duration::from_secs(1);
        deadlines.set(1, None, later);
        deadlines.set(1, Some(later), now);
        assert_eq!((deadlines.len(), deadlines.next()), (1, Some(now)));
        deadlines.remove(1, Some(now));
        assert_eq!(deadlines.take_due(later), None);
    }
}
