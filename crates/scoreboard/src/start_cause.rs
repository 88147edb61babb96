//! Why the processes of a group do not start, in one sentence: what Apache's parent or the group's manager has found. It
//! must never know a cause.
//!
//! The memory is none of the scoreboard's: workers have no access to it. The manager runs as the group's user all the
//! same, so a reader gives text of bounded length, without control characters, and nothing that is just being written.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// The words that a [`StartCause`] needs.
pub const START_CAUSE_WORDS: usize = TEXT + StartCause::ROOM / WORD;
/// Odd while the rest is being written.
const SEQUENCE: usize = 0;
/// In bytes; 0: there is none.
const LENGTH: usize = 1;
const TEXT: usize = 2;
const WORD: usize = size_of::<u64>();
/// How often a reader looks that finds it being written.
const ATTEMPTS: usize = 3;

/// The words of one sentence.
#[derive(Clone, Copy)]
pub struct StartCause<'m>(pub &'m [AtomicU64]);

impl StartCause<'_> {
    /// As many bytes as a sentence may have.
    pub const ROOM: usize = 1024;

    /// Sets the sentence, or that there is none; a longer one is cut.
    pub fn put(&self, cause: Option<&str>) {
        let bytes = cause.unwrap_or_default().as_bytes();
        let bytes = bytes.get(..Self::ROOM).unwrap_or(bytes);
        let sequence = self.get(SEQUENCE);
        self.set(SEQUENCE, sequence | 1);
        fence(Ordering::Release);
        self.set(LENGTH, bytes.len() as u64);
        for (index, chunk) in bytes.chunks(WORD).enumerate() {
            let mut word = [0; WORD];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.set(TEXT + index, u64::from_ne_bytes(word));
        }
        if let Some(word) = self.0.get(SEQUENCE) {
            word.store((sequence | 1).wrapping_add(1), Ordering::Release);
        }
    }

    /// The sentence.
    pub fn read(&self) -> Option<String> {
        (0..ATTEMPTS).find_map(|_| self.read_once()).flatten()
    }

    /// `None` where it is just being written.
    fn read_once(&self) -> Option<Option<String>> {
        let sequence = self.0.get(SEQUENCE).map_or(0, |word| word.load(Ordering::Acquire));
        let length = usize::try_from(self.get(LENGTH)).unwrap_or(usize::MAX).min(Self::ROOM);
        let words = self.0.iter().skip(TEXT).take(length.div_ceil(WORD));
        let mut bytes: Vec<u8> =
            words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        bytes.truncate(length);
        fence(Ordering::Acquire);
        if sequence % 2 == 1 || sequence != self.get(SEQUENCE) {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).replace(char::is_control, " ");
        Some(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
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

    fn words() -> Vec<AtomicU64> {
        (0..START_CAUSE_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn sentence_that_was_set_last_is_read_and_a_longer_one_is_cut() {
        let words = words();
        let cause = StartCause(&words);
        assert_eq!(cause.read(), None);
        for text in ["the home is closed", "gone", "é"] {
            cause.put(Some(text));
            assert_eq!(cause.read().as_deref(), Some(text));
        }
        cause.put(Some(&"x".repeat(StartCause::ROOM + 1)));
        assert_eq!(cause.read().map(|text| text.len()), Some(StartCause::ROOM));
        cause.put(None);
        assert_eq!(cause.read(), None);
        StartCause(&[]).put(Some("x"));
        assert_eq!(StartCause(&[]).read(), None);
    }

    #[test]
    fn arbitrary_words_are_no_text_or_one_of_bounded_length_without_control_characters() {
        let words = words();
        words.iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
        assert_eq!(StartCause(&words).read(), None);
        words[SEQUENCE].store(2, Ordering::Relaxed);
        let read = StartCause(&words).read().unwrap();
        assert_eq!(read.chars().count(), StartCause::ROOM);
        StartCause(&words).put(Some("a\x1b[31mb\nc\u{9b}\x7f"));
        assert_eq!(StartCause(&words).read().as_deref(), Some("a [31mb c"));
    }

    #[test]
    fn what_a_killed_writer_has_left_half_is_displaced_by_the_next_sentence() {
        let words = words();
        let cause = StartCause(&words);
        cause.put(Some("one"));
        words[SEQUENCE].fetch_add(1, Ordering::Relaxed);
        assert_eq!(cause.read(), None);
        cause.put(Some("two"));
        assert_eq!(cause.read().as_deref(), Some("two"));
    }
}
