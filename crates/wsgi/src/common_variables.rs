//! Variables that many requests have in common, in one block of bytes: a receiver that recognises the block
//! need not look at each variable. It must never know what the values mean, or what a receiver makes of them.

use crate::key::Key;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The variables that the configuration and the connection decide, and so are the same for most requests of an
/// application. Blocks with equal bytes hold equal variables.
#[derive(Debug, Default)]
pub struct CommonVariables {
    /// For each variable its key's number, the value's length in four bytes, and the value.
    bytes: Vec<u8>,
    /// One bit for each key.
    keys: u64,
    cache_hint: AtomicUsize,
}

const _: () = assert!(Key::ALL.len() <= 64, "a bit for each key");
const LENGTH: usize = size_of::<u32>();

impl CommonVariables {
    /// An empty block.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), keys: 0, cache_hint: AtomicUsize::new(0) }
    }

    /// Removes all variables and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.keys = 0;
    }

    /// Takes over the variables of another block.
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

    /// Whether the block has a variable for a key.
    pub const fn has(&self, key: Key) -> bool {
        self.keys & (1 << key as u8) != 0
    }

    /// Whether the block is empty.
    pub const fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// The encoded variables: equal for equal blocks.
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

    /// Where the receiver probably keeps what it has made of this block: an index into a cache of the receiver, to be
    /// verified, since it may be out of date.
    pub fn cache_hint(&self) -> usize {
        self.cache_hint.load(Ordering::Relaxed)
    }

    /// Sets the index that [`cache_hint`](Self::cache_hint) returns.
    pub fn set_cache_hint(&self, hint: usize) {
        self.cache_hint.store(hint, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_in_the_order_they_were_set() {
        let mut common = CommonVariables::new();
        assert!(common.is_empty() && common.iter().next().is_none());
        let long = vec![b'x'; 70_000];
        common.set(Key::ServerName, b"localhost");
        common.set(Key::ContextPrefix, b"");
        common.set(Key::DocumentRoot, &long);
        let read: Vec<_> = common.iter().collect();
        let set: [(Key, &[u8]); 3] = [
            (Key::ServerName, b"localhost"),
            (Key::ContextPrefix, b""),
            (Key::DocumentRoot, &long),
        ];
        assert_eq!(read, set);
        assert!(common.has(Key::ContextPrefix) && !common.has(Key::ServerPort));
        let mut other = CommonVariables::new();
        set.iter().for_each(|(key, value)| other.set(*key, value));
        assert_eq!(common.as_bytes(), other.as_bytes());
        common.clear();
        assert!(common.is_empty() && !common.has(Key::ServerName));
        common.copy_from(&other);
        assert_eq!(common.iter().collect::<Vec<_>>(), set);
        assert!(common.has(Key::ServerName));
    }
}
