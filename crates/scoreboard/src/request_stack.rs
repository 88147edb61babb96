//! Where the oldest request of a worker is in its application: a text that the worker writes while the request lasts, and
//! others read. It must never know what is in the text.
//!
//! A worker can write anything to the words, at any time: a reader gives what is UTF-8 of at most as many bytes as there
//! is room for, and nothing that is just being written.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// The words that this needs.
pub(crate) const STACK: usize = 256;
/// Odd while the rest is being written.
const SEQUENCE: usize = 0;
const THREAD: usize = 1;
/// When the request began; 0: there is none.
const SINCE: usize = 2;
const TAKEN: usize = 3;
const LENGTH: usize = 4;
const TEXT: usize = 5;
/// How often a reader looks that finds it being written.
const ATTEMPTS: usize = 3;

/// The words of one worker.
#[derive(Clone, Copy)]
pub struct StackSlot<'m>(pub(crate) &'m [AtomicU64]);

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestStack {
    /// The number of the thread that serves the request.
    pub thread: usize,
    /// When the request began, in microseconds of [`crate::now`].
    pub since: u64,
    /// When the text was written, in microseconds of [`crate::now`].
    pub taken: u64,
    /// What the worker says.
    pub text: String,
}

impl StackSlot<'_> {
    /// As many bytes as a text may have.
    pub const ROOM: usize = (STACK - TEXT) * 8;

    /// Writes it; only one thread of the worker does. Of the text at most [`Self::ROOM`] bytes.
    pub fn put(&self, stack: &RequestStack) {
        let bytes = stack.text.as_bytes();
        let bytes = bytes.get(..Self::ROOM).unwrap_or(bytes);
        let sequence = self.get(SEQUENCE);
        self.set(SEQUENCE, sequence | 1);
        fence(Ordering::Release);
        self.set(THREAD, stack.thread as u64);
        self.set(SINCE, stack.since);
        self.set(TAKEN, stack.taken);
        self.set(LENGTH, bytes.len() as u64);
        let words = self.0.get(TEXT..).unwrap_or_default();
        for (word, eight) in words.iter().zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            if let Some(place) = padded.get_mut(..eight.len()) {
                place.copy_from_slice(eight);
            }
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
        if let Some(word) = self.0.get(SEQUENCE) {
            word.store((sequence | 1).wrapping_add(1), Ordering::Release);
        }
    }

    /// There is none.
    pub fn clear(&self) {
        self.set(SINCE, 0);
        self.set(SEQUENCE, 0);
    }

    /// What there is.
    pub fn read(&self) -> Option<RequestStack> {
        (0..ATTEMPTS).find_map(|_| self.read_once()).flatten()
    }

    /// `None` where it is just being written.
    fn read_once(&self) -> Option<Option<RequestStack>> {
        let sequence = self.0.get(SEQUENCE).map_or(0, |word| word.load(Ordering::Acquire));
        let length = usize::try_from(self.get(LENGTH)).unwrap_or(usize::MAX).min(Self::ROOM);
        let words = self.0.get(TEXT..).unwrap_or_default();
        let words = words.iter().take(length.div_ceil(8));
        let mut bytes: Vec<u8> =
            words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        bytes.truncate(length);
        let (thread, since, taken) = (self.get(THREAD), self.get(SINCE), self.get(TAKEN));
        fence(Ordering::Acquire);
        if sequence % 2 == 1 || sequence != self.get(SEQUENCE) {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let thread = usize::try_from(thread).unwrap_or(usize::MAX);
        Some((since != 0).then_some(RequestStack { thread, since, taken, text }))
    }

    fn get(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn set(&self, index: usize, value: u64) {
        if let Some(word) = self.0.get(index) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn words() -> Vec<AtomicU64> {
        (0..STACK).map(|_| AtomicU64::new(0)).collect()
    }

    fn stack(since: u64, text: &str) -> RequestStack {
        RequestStack { thread: 3, since, taken: since + 1, text: text.to_owned() }
    }

    #[test]
    fn what_was_written_last_is_read_until_it_is_cleared() {
        let words = words();
        let slot = StackSlot(&words);
        assert_eq!(slot.read(), None);
        for written in [stack(5, "a.py\t1\tf\n"), stack(6, ""), stack(7, "é")] {
            slot.put(&written);
            assert_eq!(slot.read(), Some(written));
        }
        slot.put(&stack(8, &"é".repeat(StackSlot::ROOM)));
        assert_eq!(slot.read().unwrap().text.len(), StackSlot::ROOM);
        slot.clear();
        assert_eq!(slot.read(), None);
        StackSlot(&[]).put(&stack(1, "x"));
        assert_eq!(StackSlot(&[]).read(), None);
    }

    #[test]
    fn arbitrary_words_are_no_text_or_one_of_bounded_length() {
        let words = words();
        for word in &words {
            word.store(u64::MAX, Ordering::Relaxed);
        }
        assert_eq!(StackSlot(&words).read(), None);
        words[SEQUENCE].store(2, Ordering::Relaxed);
        let read = StackSlot(&words).read().unwrap();
        assert_eq!(read.text.chars().count(), StackSlot::ROOM);
    }

    #[test]
    fn text_that_is_being_written_is_not_read() {
        let words = Arc::new(words());
        let own = Arc::clone(&words);
        let writer = std::thread::spawn(move || {
            for number in 1..20_000_u64 {
                let letter = char::from(b'a' + (number % 26) as u8);
                StackSlot(&own).put(&stack(number, &letter.to_string().repeat(900)));
            }
        });
        let mut last = 0;
        while !writer.is_finished() {
            if let Some(read) = StackSlot(&words).read() {
                let letter = char::from(b'a' + (read.since % 26) as u8);
                assert!(read.text == letter.to_string().repeat(900) && read.since >= last);
                last = read.since;
            }
        }
        writer.join().unwrap();
    }
}
