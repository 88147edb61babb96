//! Closes descriptors that a worker has sent, on a thread made for that: those that it was not asked for, and those of
//! responses that no thread serves. The owner of a file decides how long its last close takes: a file system that is a
//! program (FUSE) answers when it likes, and a socket with SO_LINGER waits for its other end. This file must never know why a descriptor is of no use.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    has_thread: bool,
}

/// Descriptors that may wait to be closed before the group gets no more requests.
const MAX_OPEN: usize = 64;
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
        if !queue.has_thread && !queue.waiting.is_empty() {
            let closer = Arc::clone(self);
            let thread = std::thread::Builder::new().name("wsgi-closer".to_owned());
            // Where no thread can be made, the descriptors wait for the next one.
            queue.has_thread = thread.stack_size(STACK_SIZE).spawn(move || closer.run()).is_ok();
        }
    }

    /// Whether the group has sent what was not asked for.
    pub(super) fn distrusts_group(&self) -> bool {
        self.distrusts.load(Ordering::Relaxed)
    }

    /// Whether descriptors of the group cannot be closed.
    pub(super) fn is_stuck(&self) -> bool {
        self.open.load(Ordering::Relaxed) > MAX_OPEN
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
        queue.has_thread = next.is_some();
        next
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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
}
