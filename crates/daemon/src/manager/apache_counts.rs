//! What Apache's processes count of the requests of a group, in memory that the manager can only read. It must never know
//! a worker.
#![forbid(unsafe_code)]

use scoreboard::{RECENT_WORDS, REQUEST_WORDS, RecentRequests, RequestCounts, now};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use sys::ReadableWords;

/// The counts; each is missing where the parent has given none, as in a daemon that is run by hand.
pub(super) struct ApacheCounts {
    requests: Option<ReadableWords>,
    /// Requests that workers have, or are to have, by slot.
    sent: Option<ReadableWords>,
    slots: usize,
}

impl ApacheCounts {
    /// Those in the memory of these files, of a group with `slots` workers.
    ///
    /// # Errors
    /// Where a file is too small, or cannot be mapped.
    pub(super) fn map(
        requests: Option<&OwnedFd>,
        sent: Option<&OwnedFd>,
        slots: usize,
    ) -> io::Result<Self> {
        let map = |file: Option<&OwnedFd>, count| {
            file.map(|file| ReadableWords::of_file(file.as_fd(), count)).transpose()
        };
        Ok(Self {
            requests: map(requests, REQUEST_WORDS + RECENT_WORDS)?,
            sent: map(sent, slots)?,
            slots,
        })
    }

    /// What became of requests.
    pub(super) fn requests(&self) -> Option<RequestCounts> {
        let words = self.requests.as_ref()?;
        Some(RequestCounts::read(|index| words.get(index)))
    }

    /// What became of those of the last minute.
    pub(super) fn recent(&self) -> Option<RecentRequests> {
        let (words, counts) = (self.requests.as_ref()?, self.requests()?);
        Some(RecentRequests::read(|index| words.get(index), now(), &counts))
    }

    /// Requests that wait for a worker of this slot, where its workers serve `busy`.
    pub(super) fn waiting(&self, slot: usize, busy: u64) -> Option<u64> {
        Some(self.sent.as_ref()?.get(slot).saturating_sub(busy))
    }

    /// Requests that wait for a worker, where `busy` are being served.
    pub(super) fn queue_depth(&self, busy: u64) -> Option<u64> {
        let words = self.sent.as_ref()?;
        let sent = (0..self.slots).map(|slot| words.get(slot)).fold(0, u64::saturating_add);
        Some(sent.saturating_sub(busy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;
    use sys::SharedWords;

    #[test]
    fn requests_that_no_worker_serves_wait() {
        let (words, file) = SharedWords::with_file_for_readers(4).unwrap();
        let counts = ApacheCounts::map(None, file.as_ref(), 2).unwrap();
        // The words behind those of the slots count something else.
        words.iter().for_each(|word| word.store(3, Ordering::Relaxed));
        assert_eq!([0, 4, 9].map(|busy| counts.queue_depth(busy)), [6, 2, 0].map(Some));
        assert_eq!([1, 4].map(|busy| counts.waiting(1, busy)), [2, 0].map(Some));
        assert_eq!(counts.requests(), None);
        assert!(ApacheCounts::map(file.as_ref(), None, 2).is_err());
        let by_hand = ApacheCounts::map(None, None, 2).unwrap();
        assert_eq!((by_hand.queue_depth(0), by_hand.waiting(0, 0)), (None, None));
    }
}
