//! Connections that wait for their next request: how many a process keeps, and for how long. It must never know what
//! a connection is.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// For how long a connection is kept at least; it is closed when another one is kept after that. In microseconds.
const MAX_IDLE: u64 = 10_000_000;
/// How often connections that have been idle for too long are looked for, in microseconds.
const SWEEP_INTERVAL: u64 = 1_000_000;

/// The idle connections of one process to the workers of all groups. Each worker has a place.
pub(crate) struct IdleConnections<C> {
    places: Vec<Mutex<Vec<Idle<C>>>>,
    /// How many there are in all.
    count: AtomicUsize,
    /// How many there may be.
    limit: usize,
    /// When connections that have been idle for too long were last looked for.
    swept: AtomicU64,
}

/// A connection, and since when it has been idle.
struct Idle<C> {
    since: u64,
    connection: C,
}

impl<C> IdleConnections<C> {
    /// Room for `limit` connections to `workers` workers.
    pub(crate) fn new(workers: usize, limit: usize) -> Self {
        let places = (0..workers).map(|_| Mutex::default()).collect();
        Self { places, count: AtomicUsize::new(0), limit, swept: AtomicU64::new(0) }
    }

    /// Takes the connection that was used last, if there is any.
    pub(super) fn take(&self, worker: usize) -> Option<C> {
        let idle = self.lock(worker)?.pop()?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(idle.connection)
    }

    /// Keeps a connection for the next request. Where there are too many then, the one that has been idle for longest
    /// goes. `now` is in microseconds.
    pub(super) fn keep(&self, worker: usize, connection: C, now: u64) {
        let Some(mut kept) = self.lock(worker) else { return };
        kept.push(Idle { since: now, connection });
        drop(kept);
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.drop_longest_idle();
        }
        let swept = self.swept.load(Ordering::Relaxed);
        let is_due = now.saturating_sub(swept) > SWEEP_INTERVAL;
        let mine = || {
            let order = Ordering::Relaxed;
            self.swept.compare_exchange(swept, now, order, order).is_ok()
        };
        if is_due && mine() {
            let dropped = (0..self.places.len()).map(|worker| {
                self.remove(worker, |kept| {
                    kept.partition_point(|idle| now.saturating_sub(idle.since) > MAX_IDLE)
                })
            });
            dropped.for_each(drop);
        }
    }

    /// Drops all connections to a worker. They are closed without the lock.
    pub(super) fn drop_all(&self, worker: usize) {
        drop(self.remove(worker, <[_]>::len));
    }

    /// Drops all connections; whether there were any.
    pub(super) fn drop_every(&self) -> bool {
        (0..self.places.len()).map(|worker| self.remove(worker, <[_]>::len).len()).sum::<usize>()
            > 0
    }

    fn drop_longest_idle(&self) {
        let oldest = |worker| Some((self.lock(worker)?.first()?.since, worker));
        let longest = (0..self.places.len()).filter_map(oldest).min();
        if let Some((_, worker)) = longest {
            drop(self.remove(worker, |kept| kept.len().min(1)));
        }
    }

    /// Takes those out that have been idle for longest, as many as `count` says.
    fn remove(&self, worker: usize, count: impl FnOnce(&[Idle<C>]) -> usize) -> Vec<Idle<C>> {
        let Some(mut kept) = self.lock(worker) else { return Vec::new() };
        // The longest idle stands first.
        let count = count(&kept);
        let removed: Vec<_> = kept.drain(..count).collect();
        self.count.fetch_sub(removed.len(), Ordering::Relaxed);
        removed
    }

    fn lock(&self, worker: usize) -> Option<MutexGuard<'_, Vec<Idle<C>>>> {
        Some(self.places.get(worker)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_kept_for_the_worker_it_leads_to() {
        let idle = IdleConnections::new(2, 9);
        idle.keep(0, 'a', 1);
        idle.keep(1, 'b', 1);
        idle.keep(1, 'c', 1);
        assert_eq!((idle.take(1), idle.take(1), idle.take(1)), (Some('c'), Some('b'), None));
        assert_eq!((idle.take(0), idle.take(2)), (Some('a'), None));
    }

    #[test]
    fn connections_to_one_worker_are_dropped_and_those_to_another_stay() {
        let alive = std::sync::Arc::new(());
        let idle = IdleConnections::new(2, 9);
        for worker in [0, 0, 1, 5] {
            idle.keep(worker, std::sync::Arc::clone(&alive), 1);
        }
        idle.drop_all(0);
        assert_eq!(std::sync::Arc::strong_count(&alive), 2);
        assert!(idle.take(0).is_none() && idle.take(1).is_some());
        idle.keep(0, std::sync::Arc::clone(&alive), 1);
        assert!(idle.drop_every() && !idle.drop_every());
        assert_eq!(std::sync::Arc::strong_count(&alive), 1);
    }

    #[test]
    fn the_longest_idle_of_any_worker_goes_where_there_are_too_many() {
        let idle = IdleConnections::new(3, 2);
        for (worker, now) in [(1, 5), (2, 6), (0, 7), (1, 8)] {
            idle.keep(worker, now, now);
        }
        assert_eq!((idle.take(0), idle.take(1), idle.take(2)), (Some(7), Some(8), None));
        assert_eq!(idle.take(1), None);
    }

    #[test]
    fn those_that_have_been_idle_for_too_long_go_when_another_is_kept() {
        let idle = IdleConnections::new(2, 9);
        idle.keep(0, 'a', 1);
        idle.keep(0, 'b', MAX_IDLE);
        idle.keep(1, 'c', MAX_IDLE + SWEEP_INTERVAL + 2);
        assert_eq!((idle.take(0), idle.take(0)), (Some('b'), None));
        assert_eq!(idle.take(1), Some('c'));
    }

    #[test]
    fn threads_get_each_connection_once() {
        let idle = IdleConnections::new(1, 99);
        (0..30).for_each(|number| idle.keep(0, number, 1));
        let mut all: Vec<i32> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| std::iter::from_fn(|| idle.take(0)).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort_unstable();
        assert!(all.into_iter().eq(0..30));
    }
}
