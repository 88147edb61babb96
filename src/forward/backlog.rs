//! The part of a response that its client has yet to take, in a file whose space is used over and over. It must never
//! know the client.
#![forbid(unsafe_code)]

use super::spool::{SpoolError, SpoolFile};
use super::spool_share::{SpoolAllowance, SpoolShare};
use std::ops::Range;
use std::os::fd::BorrowedFd;

/// Bytes in the order in which they came, a limited number at a time.
pub(super) struct Backlog<'a> {
    file: Option<SpoolFile>,
    /// Makes the file.
    create: fn(Option<SpoolShare>) -> Result<SpoolFile, SpoolError>,
    allowance: &'a SpoolAllowance,
    /// The length of the file at most: the byte after its last is written at its start.
    limit: u64,
    /// The bytes that are in it, counted since it was last empty.
    held: Range<u64>,
}

impl<'a> Backlog<'a> {
    /// An empty one for at most `limit` bytes, of those that `allowance` permits; its file is made when it is needed.
    pub(super) const fn new(limit: u64, allowance: &'a SpoolAllowance) -> Self {
        Self { file: None, create: SpoolFile::create, allowance, limit, held: 0..0 }
    }

    /// One whose first file is in memory.
    pub(super) fn in_memory(limit: u64, allowance: &'a SpoolAllowance) -> Self {
        Self { create: SpoolFile::create_in_memory, ..Self::new(limit, allowance) }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.held.start == self.held.end
    }

    /// How many bytes are in it.
    pub(super) const fn len(&self) -> u64 {
        self.held.end - self.held.start
    }

    /// How many bytes there is room for.
    pub(super) const fn room(&self) -> u64 {
        self.limit - self.len()
    }

    /// Adds all of `data`, or nothing.
    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), SpoolError> {
        if data.len() as u64 > self.room() {
            return Err(SpoolError::Full);
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => (self.create)(Some(self.allowance.share()))?,
        };
        let end = self.held.end + data.len() as u64;
        let mut rest = data;
        let mut written = Ok(());
        for part in parts_of(self.held.end..end, self.limit) {
            let (now, later) = rest.split_at(usize::try_from(part.end - part.start).unwrap_or(0));
            rest = later;
            written = written.and_then(|()| file.write_at(part.start, now));
        }
        self.file = Some(file);
        written.map(|()| self.held.end = end)
    }

    /// Copies the first bytes, `most` or all there are, to `into`, which holds nothing else then.
    pub(super) fn front(&self, most: usize, into: &mut Vec<u8>) -> Result<(), SpoolError> {
        into.clear();
        let Some(file) = &self.file else { return Ok(()) };
        let end = self.held.end.min(self.held.start + most as u64);
        for part in parts_of(self.held.start..end, self.limit) {
            let before = into.len();
            into.resize(before + usize::try_from(part.end - part.start).unwrap_or(0), 0);
            file.read_at(part.start, into.get_mut(before..).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Removes the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.held.start = self.held.end.min(self.held.start + count as u64);
        if self.is_empty() {
            self.held = 0..0;
            self.file.iter_mut().for_each(SpoolFile::empty);
        }
    }

    /// The file and the parts of it that hold the bytes, in their order.
    pub(super) fn parts(&self) -> Option<(BorrowedFd<'_>, impl Iterator<Item = Range<u64>>)> {
        use std::os::fd::AsFd;
        let file = self.file.as_ref()?;
        Some((file.as_fd(), parts_of(self.held.clone(), self.limit)))
    }

    /// Forgets the bytes and the file: another owner has them, and is to keep the share as long as the file.
    pub(super) fn give_up(&mut self) -> Option<SpoolShare> {
        let share = self.file.as_mut().and_then(SpoolFile::take_share);
        *self = Self::new(self.limit, self.allowance);
        share
    }
}

/// Where in a file of `limit` bytes a range of positions is that are counted on beyond its end.
fn parts_of(range: Range<u64>, limit: u64) -> impl Iterator<Item = Range<u64>> {
    let start = range.start % limit.max(1);
    let length = range.end - range.start;
    let first = length.min(limit - start);
    [start..start + first, 0..length - first].into_iter().filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::spool_share::allowance;
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came_while_the_file_is_used_over_and_over() {
        // The file is no longer than what it holds at a time.
        let allowance = allowance(Some(1000));
        let mut backlog = Backlog::new(1000, &allowance);
        let all: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let (mut came, mut left, mut front) = (0, Vec::new(), Vec::new());
        let sizes = [700, 300, 1, 999, 500].into_iter().cycle();
        for size in sizes {
            while backlog.room() < size {
                backlog.front(333, &mut front).unwrap();
                backlog.consume(front.len());
                left.extend_from_slice(&front);
            }
            let size = usize::try_from(size).unwrap().min(all.len() - came);
            backlog.push(&all[came..came + size]).unwrap();
            came += size;
            if came == all.len() {
                break;
            }
        }
        while !backlog.is_empty() {
            let (_, parts) = backlog.parts().unwrap();
            let held: u64 = parts.map(|part| part.end - part.start).sum();
            assert_eq!(held, 1000 - backlog.room());
            backlog.front(333, &mut front).unwrap();
            backlog.consume(front.len());
            left.extend_from_slice(&front);
        }
        assert!(left == all);
        assert_eq!(backlog.room(), 1000);
    }

    #[test]
    fn what_there_is_no_room_for_is_refused_and_nothing_of_it_is_kept() {
        let allowance = allowance(Some(15));
        let mut backlog = Backlog::in_memory(10, &allowance);
        backlog.push(b"12345678").unwrap();
        assert!(matches!(backlog.push(b"abc"), Err(SpoolError::Full)));
        let mut front = Vec::new();
        backlog.front(99, &mut front).unwrap();
        assert_eq!(front, b"12345678");
        let share = backlog.give_up();
        assert!(backlog.is_empty() && backlog.parts().is_none());
        assert!(matches!(backlog.push(b"12345678"), Err(SpoolError::Allowance(_))));
        drop(share);
        backlog.push(b"12345678").unwrap();
        assert!(matches!(Backlog::new(0, &allowance).push(b"a"), Err(SpoolError::Full)));
    }
}
