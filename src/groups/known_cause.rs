//! Why Apache's parent starts no manager for a group, as its children report it. It must never know a cause.
#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use sys::SharedWords;

/// A sentence that the parent writes and its children read; the group's own processes have no access to it.
pub(crate) struct KnownCause {
    /// When a child last reported it, in microseconds; the length of the sentence in bytes; the sentence.
    words: SharedWords,
}

const REPORTED: usize = 0;
const LENGTH: usize = 1;
const TEXT: usize = 2;
/// The longest sentence, in bytes.
const MAX_TEXT: usize = 1024;
const WORD: usize = size_of::<u64>();
/// Microseconds between two reports.
const REPORT_INTERVAL: u64 = 60_000_000;

impl KnownCause {
    /// Memory for a sentence; there is none yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { words: SharedWords::new(TEXT + MAX_TEXT / WORD)? })
    }

    /// Sets the sentence, or that there is none. Another sentence is reported at once.
    pub(crate) fn set(&self, cause: Option<&str>) {
        if self.get().as_deref() == cause {
            return;
        }
        self.store(LENGTH, 0);
        let bytes = cause.unwrap_or_default().as_bytes();
        let bytes = bytes.get(..MAX_TEXT).unwrap_or(bytes);
        for (index, chunk) in bytes.chunks(WORD).enumerate() {
            let mut word = [0; WORD];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.store(TEXT + index, u64::from_ne_bytes(word));
        }
        self.store(REPORTED, 0);
        self.store(LENGTH, bytes.len() as u64);
    }

    /// The sentence.
    pub(crate) fn get(&self) -> Option<String> {
        let length = usize::try_from(self.load(LENGTH)).unwrap_or(0).min(MAX_TEXT);
        let words = self.words.iter().skip(TEXT).take(length.div_ceil(WORD));
        let mut bytes: Vec<u8> =
            words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        bytes.truncate(length);
        (length > 0).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether the caller is to report the sentence at `now`, in microseconds: one caller at first, and one a minute.
    pub(crate) fn is_report_due(&self, now: u64) -> bool {
        let reported = self.load(REPORTED);
        let due = reported == 0 || now.saturating_sub(reported) > REPORT_INTERVAL;
        let claim = |word: &AtomicU64| {
            let order = Ordering::Relaxed;
            word.compare_exchange(reported, now.max(1), order, order).is_ok()
        };
        due && self.words.get(REPORTED).is_none_or(claim)
    }

    fn load(&self, index: usize) -> u64 {
        self.words.get(index).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn store(&self, index: usize, value: u64) {
        if let Some(word) = self.words.get(index) {
            word.store(value, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_is_reported_at_once_and_then_once_a_minute() {
        let cause = KnownCause::new().unwrap();
        assert_eq!(cause.get(), None);
        cause.set(Some("the home is closed"));
        assert_eq!(cause.get().as_deref(), Some("the home is closed"));
        let minute = REPORT_INTERVAL;
        let due = |now: u64| cause.is_report_due(now);
        assert_eq!(
            [5, 6, minute, minute + 6, minute + 7].map(due),
            [true, false, false, true, false]
        );
        cause.set(Some("the home is closed"));
        assert!(!cause.is_report_due(minute + 8));
        cause.set(Some("the home is gone"));
        assert!(cause.is_report_due(minute + 9));
        cause.set(None);
        assert_eq!(cause.get(), None);
    }

    #[test]
    fn long_cause_is_cut() {
        let cause = KnownCause::new().unwrap();
        cause.set(Some(&"x".repeat(MAX_TEXT + 1)));
        assert_eq!(cause.get().map(|text| text.len()), Some(MAX_TEXT));
    }
}
