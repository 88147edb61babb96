//! Connections that wait for their next request. It must never know what a connection is.
#![forbid(unsafe_code)]

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The idle connections of one process, by slot of the worker they lead to.
pub(super) struct IdleConnections<C> {
    slots: Vec<Mutex<Vec<C>>>,
}

impl<C> IdleConnections<C> {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: (0..slots).map(|_| Mutex::default()).collect() }
    }

    /// Takes the connection that was used last, if there is any.
    pub(super) fn take(&self, slot: usize) -> Option<C> {
        self.lock(slot)?.pop()
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, slot: usize, connection: C) {
        if let Some(mut kept) = self.lock(slot) {
            kept.push(connection);
        }
    }

    /// Drops all connections to a worker. They are closed without the lock.
    pub(super) fn drop_all(&self, slot: usize) {
        let dropped = self.lock(slot).map(|mut kept| std::mem::take(&mut *kept));
        drop(dropped);
    }

    fn lock(&self, slot: usize) -> Option<MutexGuard<'_, Vec<C>>> {
        Some(self.slots.get(slot)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_kept_for_the_worker_it_leads_to() {
        let idle = IdleConnections::new(2);
        idle.keep(0, 'a');
        idle.keep(1, 'b');
        idle.keep(1, 'c');
        assert_eq!((idle.take(1), idle.take(1), idle.take(1)), (Some('c'), Some('b'), None));
        assert_eq!((idle.take(0), idle.take(2)), (Some('a'), None));
    }

    #[test]
    fn connections_to_one_worker_are_dropped_and_those_to_another_stay() {
        let alive = std::sync::Arc::new(());
        let idle = IdleConnections::new(2);
        for slot in [0, 0, 1, 5] {
            idle.keep(slot, std::sync::Arc::clone(&alive));
        }
        idle.drop_all(0);
        assert_eq!(std::sync::Arc::strong_count(&alive), 2);
        assert!(idle.take(0).is_none() && idle.take(1).is_some());
    }

    #[test]
    fn threads_get_each_connection_once() {
        let idle = IdleConnections::new(1);
        (0..30).for_each(|number| idle.keep(0, number));
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
