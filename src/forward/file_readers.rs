//! Threads of one process group that do what may wait for a file of a tenant's: the owner of a file decides how long a read
//! takes, because a file system elsewhere, or one that is a program (FUSE), answers when it likes. It must never know what is
//! done with a file.
//!
//! A group has one thread whatever others do, so that no file of another group is waited for; a few more while the child has
//! few such threads. Where none is free, what is to be done waits.
#![forbid(unsafe_code)]

use crate::httpd::guard;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Threads that one group may have.
const MAX_THREADS: usize = 4;
/// Threads that the groups of this process may have together, beyond the first of each.
const MAX_EXTRA: usize = 12;
/// How long a thread without work waits for more: a file is read piece by piece.
const IDLE_TIME: Duration = Duration::from_secs(1);
/// The pieces of files are on the heap.
const STACK_SIZE: usize = 64 * 1024;

/// Threads of this process beyond the first of each group.
static EXTRA: AtomicUsize = AtomicUsize::new(0);

type Work = Box<dyn FnOnce() + Send>;

/// The threads of one group, which begin when there is work, and what waits for one of them.
#[derive(Default)]
pub(super) struct FileReaders {
    queue: Mutex<Queue>,
    came: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Ticket, Work)>,
    threads: usize,
    /// Threads that wait for work.
    idle: usize,
    last: u64,
}

/// Names what has been submitted, for [`FileReaders::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl FileReaders {
    /// Has `work` done by a thread of the group, now or later. Never waits.
    ///
    /// # Errors
    /// Where the group has no thread, and none can be started.
    pub(super) fn submit(
        self: &Arc<Self>,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<Ticket> {
        let mut queue = self.lock();
        if queue.idle <= queue.waiting.len() && may_have_another(queue.threads) {
            let readers = Arc::clone(self);
            let thread = std::thread::Builder::new().name("wsgi-file".to_owned());
            match thread.stack_size(STACK_SIZE).spawn(move || readers.run()) {
                Ok(_) => queue.threads += 1,
                Err(why) => {
                    give_back(queue.threads);
                    if queue.threads == 0 {
                        return Err(why);
                    }
                }
            }
        }
        queue.last += 1;
        let ticket = Ticket(queue.last);
        queue.waiting.push_back((ticket, Box::new(work)));
        drop(queue);
        self.came.notify_one();
        Ok(ticket)
    }

    /// Forgets what no thread has begun.
    pub(super) fn cancel(&self, ticket: Ticket) {
        let mut queue = self.lock();
        let found = queue.waiting.iter().position(|(other, _)| *other == ticket);
        let work = found.and_then(|index| queue.waiting.remove(index));
        drop(queue);
        // What it holds is let go without the lock.
        drop(work);
    }

    fn run(&self) {
        while let Some(work) = self.next() {
            // A panic ends what is being done, and not the thread, which counts among those of the group.
            guard((), work);
        }
    }

    /// What is to be done next; `None` ends the thread.
    fn next(&self) -> Option<Work> {
        let mut queue = self.lock();
        loop {
            if let Some((_, work)) = queue.waiting.pop_front() {
                return Some(work);
            }
            queue.idle += 1;
            let waited = self.came.wait_timeout(queue, IDLE_TIME);
            let (after, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = after;
            queue.idle -= 1;
            if waited.timed_out() && queue.waiting.is_empty() {
                queue.threads -= 1;
                give_back(queue.threads);
                return None;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn threads(&self) -> usize {
        self.lock().threads
    }
}

/// Whether a group with so many threads may have one more, which is counted then.
fn may_have_another(threads: usize) -> bool {
    let order = Ordering::Relaxed;
    let more = |count: usize| (count < MAX_EXTRA).then_some(count + 1);
    threads == 0 || threads < MAX_THREADS && EXTRA.fetch_update(order, order, more).is_ok()
}

/// Counts the thread down without which a group has so many `threads`.
fn give_back(threads: usize) {
    if threads > 0 {
        EXTRA.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
    use std::time::Instant;

    const SOON: Duration = Duration::from_secs(20);

    /// Work that lasts until the sender of the other end is dropped.
    fn hanging(until: Receiver<()>) -> impl FnOnce() + Send {
        move || {
            let _ = until.recv();
        }
    }

    #[test]
    fn work_that_hangs_holds_up_its_own_group_alone_whose_threads_are_limited() {
        let groups: Vec<Arc<FileReaders>> = (0..6).map(|_| Arc::default()).collect();
        let mut held = Vec::new();
        for group in &groups {
            for _ in 0..2 * MAX_THREADS {
                let (hold, until) = channel();
                group.submit(hanging(until)).unwrap();
                held.push(hold);
            }
        }
        let threads: Vec<usize> = groups.iter().map(|group| group.threads()).collect();
        assert!(threads.iter().all(|count| (1..=MAX_THREADS).contains(count)), "{threads:?}");
        assert!(threads.iter().sum::<usize>() <= groups.len() + MAX_EXTRA);
        // What is cancelled before it begins is never done: its sender goes with it.
        let (done, is_done) = channel();
        let ticket = groups[0].submit(move || done.send(()).unwrap()).unwrap();
        groups[0].cancel(ticket);
        assert_eq!(is_done.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected));
        // Another group has a thread all the same.
        let (other, (done, is_done)) = (Arc::<FileReaders>::default(), channel());
        other.submit(move || done.send(()).unwrap()).unwrap();
        is_done.recv_timeout(SOON).unwrap();
        // What waits is done once a thread is free.
        let (done, is_done) = channel();
        groups[0].submit(move || done.send(()).unwrap()).unwrap();
        assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err());
        held.clear();
        is_done.recv_timeout(SOON).unwrap();
        // Threads without work end, and are counted no more.
        let began = Instant::now();
        while groups.iter().chain([&other]).any(|group| group.threads() > 0) {
            assert!(began.elapsed() < SOON);
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(EXTRA.load(Ordering::Relaxed), 0);
    }
}
