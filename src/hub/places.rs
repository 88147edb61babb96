//! How many connections there may be without a thread, how many of them a process group may have, and whether any more are
//! taken. It must never know a connection.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// How many there may be: none until the configuration has been looked at.
static LIMIT: AtomicUsize = AtomicUsize::new(0);
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// The child is to leave.
static DRAINING: AtomicBool = AtomicBool::new(false);

/// Descriptors of a process that connections without a thread leave for everything else.
const OTHER_DESCRIPTORS: u64 = 256;
/// Descriptors that one may need: its client's, its worker's, that of the file in which its response waits for the client, and
/// that of a file which the worker has passed.
const DESCRIPTORS_EACH: u64 = 4;

/// Of several groups one may have so many times as many places as are free: three quarters of all by itself, two of them six
/// sevenths together, and however many there are, some are free for the next one.
const SHARE: usize = 3;
/// Microseconds between two lines about one group that has its share.
const TELL_INTERVAL: u64 = 60_000_000;

/// The places that one process group has.
pub(crate) struct GroupPlaces {
    open: AtomicUsize,
    /// No other group may need a place.
    is_alone: bool,
    /// When it was last told that the group has its share, in microseconds.
    told: AtomicU64,
}

/// Whether a group may give one more connection away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    /// There is no place for any group, or none is given any more.
    Full,
    /// What is free is for other groups: this one has so many places, of so many.
    ShareUsed(usize, usize),
}

/// The place of one connection, given back when this is dropped.
pub(crate) struct Place {
    all: &'static AtomicUsize,
    group: Option<&'static AtomicUsize>,
}

/// Sets how many connections of this process may have no thread.
pub(crate) fn set_limit(limit: usize) {
    LIMIT.store(limit, Ordering::Relaxed);
}

/// How many connections without a thread a process can have that may open so many descriptors.
pub(crate) fn allowed_by_descriptors(limit: u64) -> usize {
    let count = limit.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS_EACH;
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl GroupPlaces {
    /// Those of a group, which `is_alone` where it is the only one that serves requests.
    pub(crate) const fn new(is_alone: bool) -> Self {
        Self { open: AtomicUsize::new(0), is_alone, told: AtomicU64::new(0) }
    }

    /// Whether the group may give one more connection away.
    pub(crate) fn room(&self) -> Room {
        if is_draining() { Room::Full } else { self.free() }
    }

    /// Whether there is a place that the group may have, also where the process is to leave. A connection that was about to
    /// be given away when that began still is: its thread would hold the process up.
    pub(crate) fn free(&self) -> Room {
        let [all, own] = [&OPEN, &self.open].map(|count| count.load(Ordering::Relaxed));
        self.room_beside(own, all)
    }

    /// A place for one more connection of the group, as [`Self::free`] finds it.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn take(&'static self) -> Result<Place, Room> {
        // Counted before it is asked for, so that threads which ask at the same moment get no more than there are.
        let [all, own] = [&OPEN, &self.open].map(|count| count.fetch_add(1, Ordering::Relaxed));
        let place = Place { all: &OPEN, group: Some(&self.open) };
        match self.room_beside(own, all) {
            Room::Free => Ok(place),
            room => Err(room),
        }
    }

    /// Where it has `own` places, of which `all` are taken.
    fn room_beside(&self, own: usize, all: usize) -> Room {
        room(own, all, LIMIT.load(Ordering::Relaxed), self.is_alone)
    }

    /// Whether to tell at `now`, in microseconds, that the group has its share: once a minute.
    pub(crate) fn is_to_be_told(&self, now: u64) -> bool {
        let (told, order) = (self.told.load(Ordering::Relaxed), Ordering::Relaxed);
        let is_due = told == 0 || now.saturating_sub(told) >= TELL_INTERVAL;
        is_due && self.told.compare_exchange(told, now.max(1), order, order).is_ok()
    }
}

/// Whether a group with `own` of `limit` places, of which `all` are taken, may have one more.
const fn room(own: usize, all: usize, limit: usize, is_alone: bool) -> Room {
    if all >= limit {
        return Room::Full;
    }
    let free = limit - all;
    // The last one is for a group that has none.
    let is_others = own > 0 && (free == 1 || own >= SHARE * free);
    if is_alone || !is_others { Room::Free } else { Room::ShareUsed(own, limit) }
}

#[cfg(test)]
impl Place {
    /// One that is not counted among those of the process.
    pub(super) fn of_test() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        COUNT.fetch_add(1, Ordering::Relaxed);
        Self { all: &COUNT, group: None }
    }
}

/// From now on the process takes no more connections, and those that it has are to end.
pub(crate) fn begin_drain() {
    DRAINING.store(true, Ordering::SeqCst);
}

/// Whether it does.
pub(super) fn is_draining() -> bool {
    DRAINING.load(Ordering::SeqCst)
}

impl Drop for Place {
    fn drop(&mut self) {
        for count in [Some(self.all), self.group].into_iter().flatten() {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_are_behind_leave_descriptors_for_others() {
        assert_eq!(allowed_by_descriptors(1024), 192);
        assert_eq!(allowed_by_descriptors(100), 0);
    }

    #[test]
    fn places_are_limited_and_given_back() {
        static GROUP: GroupPlaces = GroupPlaces::new(true);
        assert_eq!(GROUP.room(), Room::Full);
        set_limit(2);
        let (first, second) = (GROUP.take().unwrap(), GROUP.take().unwrap());
        assert!(matches!(GROUP.take(), Err(Room::Full)));
        drop(first);
        assert_eq!(GROUP.room(), Room::Free);
        drop(GROUP.take().unwrap());
        drop(second);
        assert_eq!(GROUP.open.load(Ordering::Relaxed), 0);
        begin_drain();
        assert_eq!(GROUP.room(), Room::Full);
        assert_eq!(GROUP.free(), Room::Free);
        assert!(GROUP.take().is_ok());
    }

    /// How many places each of some groups has that take as many as they may.
    fn taken(groups: usize, limit: usize, is_alone: bool) -> Vec<usize> {
        let mut own = vec![0; groups];
        loop {
            let before = own.clone();
            for group in 0..groups {
                let all = own.iter().sum();
                if room(own[group], all, limit, is_alone) == Room::Free {
                    own[group] += 1;
                }
            }
            if own == before {
                return own;
            }
        }
    }

    #[test]
    fn group_leaves_places_for_others_however_many_take_what_they_may() {
        assert_eq!(taken(1, 100, true), [100]);
        assert_eq!(taken(1, 100, false), [75]);
        assert_eq!(taken(1, 2, false), [1]);
        assert_eq!(taken(1, 1, false), [1]);
        for limit in [4, 12, 100, 1000] {
            for groups in 1..limit.min(50) {
                let own = taken(groups, limit, false);
                // Another one has a place.
                assert!(own.iter().sum::<usize>() < limit, "{own:?} of {limit}");
                assert!(own.iter().all(|count| *count > 0), "{own:?} of {limit}");
            }
        }
    }

    #[test]
    fn group_that_has_its_share_is_told_of_once_a_minute() {
        let group = GroupPlaces::new(false);
        let told: Vec<bool> = [5, 6, TELL_INTERVAL, TELL_INTERVAL + 5, TELL_INTERVAL + 6]
            .map(|now| group.is_to_be_told(now))
            .into();
        assert_eq!(told, [true, false, false, true, false]);
    }
}
