//! Variables that many requests have in common, in one block of bytes: whoever meets the block again
//! knows what is in it without looking at each of them.

use crate::Key;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the configuration decides about a request, and the connection: everything that is the same for
/// most requests of an application. Two blocks with the same bytes say the same.
#[derive(Debug, Default)]
pub struct Steady {
    /// For each variable its key's number, the value's length in four bytes, and the value.
    bytes: Vec<u8>,
    /// One bit for each key.
    keys: u64,
    place: AtomicUsize,
}

const _: () = assert!(Key::ALL.len() <= 64, "a bit for each key");
const LENGTH: usize = size_of::<u32>();

impl Steady {
    /// A block of nothing.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), keys: 0, place: AtomicUsize::new(0) }
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.keys = 0;
    }

    /// Says what another block says.
    pub fn copy_from(&mut self, other: &Self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&other.bytes);
        self.keys = other.keys;
    }

    /// Adds a variable, once for each key. A value of 4 GiB or more is left out.
    pub fn set(&mut self, key: Key, value: &[u8]) {
        let Ok(length) = u32::try_from(value.len()) else { return };
        self.keys |= 1 << key as u8;
        self.bytes.push(key as u8);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(value);
    }

    /// Whether it says anything about a key.
    pub const fn has(&self, key: Key) -> bool {
        self.keys & (1 << key as u8) != 0
    }

    /// Whether it says nothing.
    pub const fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// What makes two blocks the same.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The variables, in the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &[u8])> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (&number, after) = rest.split_first()?;
            let (length, after) = after.split_first_chunk::<LENGTH>()?;
            let (value, after) = after.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
            rest = after;
            Some((*Key::ALL.get(usize::from(number))?, value))
        })
    }

    /// Where its reader keeps what it has made of this block; a guess, which may be wrong.
    pub fn place(&self) -> usize {
        self.place.load(Ordering::Relaxed)
    }

    /// Notes such a place for the next time.
    pub fn note_place(&self, place: usize) {
        self.place.store(place, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_read_in_order() {
        let mut steady = Steady::new();
        assert!(steady.is_empty() && steady.iter().next().is_none());
        let long = vec![b'x'; 70_000];
        steady.set(Key::ServerName, b"localhost");
        steady.set(Key::ContextPrefix, b"");
        steady.set(Key::DocumentRoot, &long);
        let read: Vec<_> = steady.iter().collect();
        let set: [(Key, &[u8]); 3] = [
            (Key::ServerName, b"localhost"),
            (Key::ContextPrefix, b""),
            (Key::DocumentRoot, &long),
        ];
        assert_eq!(read, set);
        assert!(steady.has(Key::ContextPrefix) && !steady.has(Key::ServerPort));
        let mut other = Steady::new();
        set.iter().for_each(|(key, value)| other.set(*key, value));
        assert_eq!(steady.as_bytes(), other.as_bytes());
        steady.clear();
        assert!(steady.is_empty() && !steady.has(Key::ServerName));
        steady.copy_from(&other);
        assert_eq!(steady.iter().collect::<Vec<_>>(), set);
        assert!(steady.has(Key::ServerName));
    }
}
