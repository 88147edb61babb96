//! The last requests of one process group that have failed, or of those that Apache's children serve themselves, over all
//! children. It must never know why a request has failed.
//!
//! Each entry has a number that is odd while it is written and another one afterwards; a reader leaves out what changes
//! meanwhile. Nothing waits.
#![forbid(unsafe_code)]

use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use sys::SharedWords;

/// How many are kept.
const ENTRIES: usize = 10;
const NUMBER: usize = 0;
const TIME: usize = 1;
const FLAGS: usize = 2;
const STATUS: usize = 3;
const TEXT: usize = 4;
/// The words of an entry, 640 bytes.
const ENTRY: usize = 80;
const TEXT_BYTES: usize = (ENTRY - TEXT) * size_of::<u64>();
/// The longest names of hosts and groups, in bytes.
const MAX_NAME: usize = 100;
/// The longest path of a script.
const MAX_SCRIPT: usize = 160;
/// The longest method and path: what is left at least.
const MAX_REQUEST: usize = TEXT_BYTES - 2 * (MAX_NAME + 1) - (MAX_SCRIPT + 1);
/// Where a text was cut.
const MARK: &[u8] = "…".as_bytes();

/// The list.
pub(crate) struct RecentFailures<W = SharedWords> {
    /// How many have been recorded, then the entries.
    words: W,
}

/// A request that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecentFailure {
    /// When it ended, in microseconds since the epoch.
    pub(crate) time: u64,
    /// Its flags, as bits.
    pub(crate) flags: u32,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The virtual host.
    pub(crate) host: Vec<u8>,
    /// The process group; empty: embedded mode.
    pub(crate) group: Vec<u8>,
    /// The script; of a long path the end, after a mark.
    pub(crate) script: Vec<u8>,
    /// Method and path; of a long one the beginning.
    pub(crate) request: Vec<u8>,
}

impl RecentFailures {
    /// There are none.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { words: SharedWords::new(8 + ENTRIES * ENTRY)? })
    }
}

impl<W: Deref<Target = [AtomicU64]>> RecentFailures<W> {
    /// Records one, in place of the oldest.
    pub(crate) fn record(&self, failure: &RecentFailure) {
        let Some(next) = self.words.first() else { return };
        let number = next.fetch_add(1, Ordering::Relaxed);
        let start = 8 + (number % ENTRIES as u64) as usize * ENTRY;
        let Some(entry) = self.words.get(start..start + ENTRY) else { return };
        let store = |index: usize, value: u64| {
            if let Some(word) = entry.get(index) {
                word.store(value, Ordering::Relaxed);
            }
        };
        let written = 2 * number.wrapping_add(1);
        store(NUMBER, written | 1);
        fence(Ordering::Release);
        store(TIME, failure.time);
        store(FLAGS, failure.flags.into());
        store(STATUS, failure.status.into());
        let mut text = Vec::with_capacity(TEXT_BYTES);
        let texts = [
            beginning(&failure.host, MAX_NAME),
            beginning(&failure.group, MAX_NAME),
            // Its end tells it from others.
            end(&failure.script, MAX_SCRIPT),
            beginning(&failure.request, MAX_REQUEST),
        ];
        for part in texts {
            text.extend(part.into_iter().filter(|byte| *byte != 0));
            text.push(0);
        }
        text.resize(TEXT_BYTES, 0);
        for (index, eight) in text.as_chunks::<8>().0.iter().enumerate() {
            store(TEXT + index, u64::from_ne_bytes(*eight));
        }
        if let Some(word) = entry.get(NUMBER) {
            word.store(written, Ordering::Release);
        }
    }

    /// Those that are kept, the latest first.
    pub(crate) fn read(&self) -> Vec<RecentFailure> {
        let entries = self.words.get(8..).unwrap_or_default().chunks_exact(ENTRY);
        let mut failures: Vec<_> = entries.filter_map(read_entry).collect();
        failures.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        failures.into_iter().map(|(_, failure)| failure).collect()
    }
}

/// A text, or its beginning and a mark, in so many bytes.
fn beginning(text: &[u8], room: usize) -> Vec<u8> {
    if text.len() <= room {
        return text.to_vec();
    }
    let mut length = room.saturating_sub(MARK.len());
    while length > 0 && text.get(length).is_some_and(is_inside) {
        length -= 1;
    }
    [text.get(..length).unwrap_or_default(), MARK].concat()
}

/// A text, or a mark and its end, in so many bytes.
fn end(text: &[u8], room: usize) -> Vec<u8> {
    if text.len() <= room {
        return text.to_vec();
    }
    let mut start = text.len() - room.saturating_sub(MARK.len());
    while text.get(start).is_some_and(is_inside) {
        start += 1;
    }
    [MARK, text.get(start..).unwrap_or_default()].concat()
}

/// Whether a byte continues a character of UTF-8.
const fn is_inside(byte: &u8) -> bool {
    *byte & 0xc0 == 0x80
}

fn read_entry(entry: &[AtomicU64]) -> Option<(u64, RecentFailure)> {
    let before = entry.get(NUMBER)?.load(Ordering::Acquire);
    if before == 0 || before % 2 == 1 {
        return None;
    }
    let words: Vec<u64> = entry.iter().map(|word| word.load(Ordering::Relaxed)).collect();
    fence(Ordering::Acquire);
    let after = entry.get(NUMBER)?.load(Ordering::Relaxed);
    if before != after {
        return None;
    }
    let text: Vec<u8> = words.iter().skip(TEXT).flat_map(|word| word.to_ne_bytes()).collect();
    let mut texts = text.splitn(4, |byte| *byte == 0);
    let mut next = || {
        let text = texts.next().unwrap_or_default();
        text.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
    };
    let (host, group, script, request) = (next(), next(), next(), next());
    let failure = RecentFailure {
        time: words.get(TIME).copied()?,
        flags: words.get(FLAGS).copied()? as u32,
        status: words.get(STATUS).copied()? as u16,
        host,
        group,
        script,
        request,
    };
    Some((before, failure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failure(time: u64) -> RecentFailure {
        RecentFailure {
            time,
            flags: 5,
            status: 502,
            host: b"www.example.com".to_vec(),
            group: b"".to_vec(),
            script: vec![b's'; 300],
            request: vec![b'/'; 3000],
        }
    }

    #[test]
    fn the_last_ten_are_kept_the_latest_first() {
        let failures = RecentFailures::new().unwrap();
        assert_eq!(failures.read(), []);
        (0..13).for_each(|time| failures.record(&failure(time)));
        let read = failures.read();
        let times: Vec<_> = read.iter().map(|failure| failure.time).collect();
        assert_eq!(times, (3..13).rev().collect::<Vec<_>>());
        let first = read.first().unwrap();
        assert_eq!((first.flags, first.status, &first.host[..]), (5, 502, &b"www.example.com"[..]));
        assert_eq!((first.group.len(), first.script.len()), (0, MAX_SCRIPT));
        assert_eq!(first.request.len(), MAX_REQUEST);
        assert!(first.request.starts_with(b"///") && first.request.ends_with(MARK));
    }

    #[test]
    fn long_texts_are_cut_between_characters_and_a_path_keeps_its_end() {
        assert_eq!(
            (beginning(b"abcdef", 6), end(b"abcdef", 6)),
            (b"abcdef".into(), b"abcdef".into())
        );
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(text(beginning("abééé".as_bytes(), 7)), "abé…");
        assert_eq!(text(beginning("abcééé".as_bytes(), 7)), "abc…");
        assert_eq!(text(end("éééab".as_bytes(), 6)), "…ab");
        assert_eq!(text(end("éééab".as_bytes(), 7)), "…éab");
        let failures = RecentFailures::new().unwrap();
        let script = format!("/srv/{}/one.py", "x".repeat(300)).into_bytes();
        failures.record(&RecentFailure { script, ..failure(1) });
        let read = failures.read();
        let script = String::from_utf8_lossy(&read[0].script);
        assert!(script.starts_with("…xx") && script.ends_with("x/one.py"), "{script}");
    }

    #[test]
    fn threads_that_record_at_once_leave_whole_entries_only() {
        let failures = RecentFailures::new().unwrap();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let failures = &failures;
                scope.spawn(move || (0..500).for_each(|_| failures.record(&failure(number))));
            }
            for _ in 0..200 {
                assert!(failures.read().iter().all(|it| it.time < 4 && it.status == 502));
            }
        });
        assert!(failures.read().len() <= 10);
    }

    proptest! {
        #[test]
        fn arbitrary_words_cause_no_panic(words in prop::collection::vec(any::<u64>(), 0..1000)) {
            let words: Vec<_> = words.into_iter().map(AtomicU64::new).collect();
            let failures = RecentFailures { words: &words[..] };
            prop_assert!(failures.read().len() <= 12);
        }
    }
}
