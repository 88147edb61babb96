//! Closes descriptors that a worker has sent, on a thread made for that: those that it was not asked for, and those of
//! responses that no thread serves. The owner of a file decides how long its last close takes: a file system that is a
//! program (FUSE) answers when it likes, and a socket with SO_LINGER waits for its other end. This file must never know
//! why a descriptor is of no use.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The descriptors of one group that are to be closed.
#[derive(Default)]
pub(crate) struct Closer {
    queue: Mutex<Queue>,
    /// Descriptors that are not closed yet.
    open: AtomicUsize,
    /// Descriptors have come that were not asked for.
    distrusts: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<OwnedFd>,
    /// Since when the thread has been closing one descriptor; `None`: there is no thread.
    closes_since: Option<Instant>,
}

/// Descriptors that may wait to be closed, where to close one takes longer than [`SLOW`], before the group gets no more
/// requests.
const MAX_OPEN: usize = 64;
/// Descriptors that may wait in any case: many responses with files may end at once.
const MAX_BURST: usize = 256;
/// How long it may take to close one.
const SLOW: Duration = Duration::from_secs(1);
/// The thread only closes.
const STACK_SIZE: usize = 64 * 1024;

impl Closer {
    /// Closes what has come although it was not asked for. From now on the group may not send files.
    pub(super) fn close_unasked(self: &Arc<Self>, descriptors: impl IntoIterator<Item = OwnedFd>) {
        self.distrust_group();
        self.close(descriptors);
    }

    /// From now on the group may not send files.
    pub(super) fn distrust_group(&self) {
        self.distrusts.store(true, Ordering::Relaxed);
    }

    /// Closes descriptors that the calling thread must not close.
    pub(super) fn close(self: &Arc<Self>, descriptors: impl IntoIterator<Item = OwnedFd>) {
        let mut queue = self.lock();
        for descriptor in descriptors {
            sys::reset_linger(descriptor.as_fd());
            self.open.fetch_add(1, Ordering::Relaxed);
            queue.waiting.push(descriptor);
        }
        self.start_thread(&mut queue);
    }

    /// Starts the thread, where there is none and descriptors wait.
    fn start_thread(self: &Arc<Self>, queue: &mut Queue) {
        if queue.closes_since.is_none() && !queue.waiting.is_empty() {
            let closer = Arc::clone(self);
            let thread = std::thread::Builder::new().name("wsgi-closer".to_owned());
            // Where no thread can be made, the descriptors wait until the next attempt.
            let spawned = thread.stack_size(STACK_SIZE).spawn(move || closer.run());
            queue.closes_since = spawned.is_ok().then(Instant::now);
        }
    }

    /// Whether the group has sent what was not asked for.
    pub(super) fn distrusts_group(&self) -> bool {
        self.distrusts.load(Ordering::Relaxed)
    }

    /// Whether descriptors of the group cannot be closed. Where the thread could not be started that is tried again:
    /// a group that gets no requests sends no descriptors, so that no later one would have it tried.
    pub(super) fn is_stuck(self: &Arc<Self>) -> bool {
        let open = self.open.load(Ordering::Relaxed);
        if open <= MAX_OPEN {
            return false;
        }
        let mut queue = self.lock();
        self.start_thread(&mut queue);
        open > MAX_BURST || queue.is_slow(Instant::now())
    }

    fn run(&self) {
        while let Some(descriptor) = self.next() {
            drop(descriptor);
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The next descriptor; `None` ends the thread.
    fn next(&self) -> Option<OwnedFd> {
        let mut queue = self.lock();
        let next = queue.waiting.pop();
        queue.closes_since = next.is_some().then(Instant::now);
        next
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Whether the descriptor that is being closed takes long, or none can be closed.
    fn is_slow(&self, now: Instant) -> bool {
        self.closes_since.is_none_or(|since| now.saturating_duration_since(since) >= SLOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_are_closed_by_another_thread_and_the_group_is_distrusted() {
        let closer = Arc::new(Closer::default());
        let (mut here, there) = UnixStream::pair().unwrap();
        closer.close([there.into()]);
        assert_eq!(here.read(&mut [0]).unwrap(), 0);
        assert!(!closer.distrusts_group());
        let (mut here, there) = UnixStream::pair().unwrap();
        closer.close_unasked([there.into()]);
        assert_eq!(here.read(&mut [0]).unwrap(), 0);
        assert!(closer.distrusts_group() && !closer.is_stuck());
    }

    #[test]
    fn many_descriptors_stop_a_group_where_one_cannot_be_closed() {
        let now = Instant::now();
        let stuck = |open, closes_since| {
            let queue = Queue { waiting: Vec::new(), closes_since };
            let closer = Arc::new(Closer { queue: Mutex::new(queue), ..Closer::default() });
            closer.open.store(open, Ordering::Relaxed);
            closer.is_stuck()
        };
        let long_ago = now.checked_sub(SLOW).unwrap();
        let soon = now + Duration::from_secs(3600);
        assert!(!stuck(MAX_OPEN, Some(long_ago)) && !stuck(MAX_OPEN, None));
        assert!(stuck(MAX_OPEN + 1, Some(long_ago)) && stuck(MAX_OPEN + 1, None));
        assert!(!stuck(MAX_BURST, Some(soon)));
        assert!(stuck(MAX_BURST + 1, Some(soon)));
    }

    #[test]
    fn descriptors_for_which_no_thread_could_be_made_are_closed_at_a_later_attempt() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let copy = || OwnedFd::from(there.try_clone().unwrap());
        let waiting: Vec<_> = (0..=MAX_OPEN).map(|_| copy()).collect();
        let queue = Queue { waiting, closes_since: None };
        let open = AtomicUsize::new(MAX_OPEN + 1);
        let queue = Mutex::new(queue);
        let closer = Arc::new(Closer { queue, open, ..Closer::default() });
        drop(there);
        let until = Instant::now() + Duration::from_secs(30);
        while closer.is_stuck() {
            assert!(Instant::now() < until, "the group stays refused");
            std::thread::yield_now();
        }
        assert_eq!(here.read(&mut [0]).unwrap(), 0);
    }
}
