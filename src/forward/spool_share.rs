//! How much of the disk the responses of a group take together. It must never know a file, or a response.
#![forbid(unsafe_code)]

use crate::groups::{GroupCounters, GroupPlan};
use std::fmt;
use std::sync::Arc;

/// What the responses of a group may have in files.
pub(super) struct SpoolAllowance {
    counters: Arc<GroupCounters>,
    /// The row in which this child counts.
    row: usize,
    /// Bytes; `None`: as many as are left free for others.
    total: Option<u64>,
}

/// What one file has of that; given back when this is dropped.
pub(super) struct SpoolShare {
    counters: Arc<GroupCounters>,
    row: usize,
    total: Option<u64>,
    bytes: u64,
}

/// The group has so many bytes in files and may have no more.
#[derive(Debug)]
pub(super) struct AllowanceExceeded {
    has: u64,
    total: Option<u64>,
}

impl SpoolAllowance {
    /// That of the group of `plan`, of which this child has the `row`.
    pub(super) fn new(plan: &GroupPlan, row: usize) -> Self {
        let total = plan.definition.forwarding.response_spool_total;
        Self { counters: Arc::clone(&plan.counters), row, total }
    }

    /// A share without bytes.
    pub(super) fn share(&self) -> SpoolShare {
        let (counters, row) = (Arc::clone(&self.counters), self.row);
        SpoolShare { counters, row, total: self.total, bytes: 0 }
    }
}

impl SpoolShare {
    /// Counts what the file takes once it has `length` bytes.
    pub(super) fn grow(&mut self, length: u64) -> Result<(), AllowanceExceeded> {
        let more = length.saturating_sub(self.bytes);
        let most = self.total.unwrap_or(u64::MAX);
        let add = || self.counters.add_spooled(self.row, more, most);
        if more > 0 && !add() {
            // It may be that children which crashed had them.
            self.counters.reclaim_dead_rows(sys::is_alive);
            if !add() {
                return Err(self.exceeded());
            }
        }
        self.bytes += more;
        Ok(())
    }

    /// Whether others have as much space left as the group has taken, where nothing else limits the group; `free` is
    /// what is left.
    pub(super) fn check_free(&self, free: u64) -> Result<(), AllowanceExceeded> {
        match self.total {
            None if self.counters.spooled() > free => Err(self.exceeded()),
            _ => Ok(()),
        }
    }

    /// The file is empty.
    pub(super) fn empty(&mut self) {
        self.counters.remove_spooled(self.row, std::mem::take(&mut self.bytes));
    }

    fn exceeded(&self) -> AllowanceExceeded {
        AllowanceExceeded { has: self.counters.spooled(), total: self.total }
    }
}

impl Drop for SpoolShare {
    fn drop(&mut self) {
        self.empty();
    }
}

impl fmt::Display for AllowanceExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "responses of its process group have {} bytes in files, ", self.has)?;
        match self.total {
            Some(total) => write!(f, "and may have {total} (response-spool-total)"),
            None => f.write_str("and others would have less (response-spool-total)"),
        }
    }
}

#[cfg(test)]
pub(super) fn allowance(total: Option<u64>) -> SpoolAllowance {
    let counters = Arc::new(GroupCounters::new(1, 1).unwrap());
    let row = counters.claim_row(std::process::id(), sys::is_alive);
    SpoolAllowance { counters, row, total }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_group_have_no_more_than_its_total_and_give_it_back() {
        let group = allowance(Some(100));
        let (mut first, mut second) = (group.share(), group.share());
        first.grow(30).unwrap();
        first.grow(10).unwrap();
        second.grow(70).unwrap();
        let why = first.grow(31).unwrap_err().to_string();
        assert!(why.contains(" 100 bytes in files, and may have 100 "), "{why}");
        assert!(first.check_free(0).is_ok());
        second.empty();
        first.grow(100).unwrap();
        drop(first);
        assert_eq!(group.counters.spooled(), 0);
        second.grow(100).unwrap();
    }

    #[test]
    fn where_no_total_is_set_a_group_leaves_as_much_as_it_takes() {
        let mut share = allowance(None).share();
        share.grow(1 << 40).unwrap();
        assert!(share.check_free(1 << 40).is_ok());
        assert!(share.check_free((1 << 40) - 1).is_err());
    }
}
