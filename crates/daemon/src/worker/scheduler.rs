//! How many of a worker's threads run.
//!
//! Python's global interpreter lock (GIL) lets one thread run Python code at a time. A second thread that is
//! woken for the next request only waits for the first one, and both pay for the switch: with all threads
//! active, a small request costs a fifth more than with one. So one thread serves one request after the other,
//! and the other threads are parked. A *scheduler thread* samples the threads every two milliseconds: if all
//! active ones are blocked, or have computed for long, or a request waits while they are at another, it wakes one
//! more. The number that was needed is
//! remembered for a while, so that an application that blocks a lot has as many threads active as are blocked.
//! Where requests come one at a time, one free thread is active beside the busy one and beside those that are
//! blocked for long, and the scheduler thread sleeps until that free thread becomes busy.
#![forbid(unsafe_code)]

use super::sampler::{DECAY_TICKS, Load, Sampler};
use super::worker_thread::WorkerThread;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The threads 0, 1, … of a worker, and which of them are active, that is, not parked.
pub(crate) struct Scheduler {
    threads: Vec<WorkerThread>,
    /// Threads that are to be active.
    target: AtomicUsize,
    /// Threads that are active.
    active: AtomicUsize,
    /// Threads that serve something.
    busy: AtomicUsize,
    parked: Mutex<Parked>,
    scheduler_thread: OnceLock<Thread>,
    /// The scheduler thread sleeps.
    asleep: AtomicBool,
    /// The scheduler thread goes on sleeping while no more threads than this are busy.
    sleep_limit: AtomicUsize,
}

#[derive(Default)]
struct Parked {
    /// The thread that was parked last is woken first: its memory is still in the caches.
    threads: Vec<usize>,
    shut_down: bool,
}

/// How often the scheduler thread samples the others.
const SCHEDULER_INTERVAL: Duration = Duration::from_millis(2);
/// So many busy threads need no scheduling, beside those that are occupied for long.
const MAX_UNSUPERVISED: usize = 1;
/// After so many intervals with no more threads busy, and no more than one request in each interval, the
/// scheduler thread sleeps.
const IDLE_TICKS_BEFORE_SLEEP: u32 = 3;
/// The longest sleep of the scheduler thread while threads are blocked for long: when these are free again, too
/// many are active.
const MAX_SLEEP: Duration = Duration::from_secs(1);
/// What one request adds to the progress of a thread: its begin, its end, and two as one of several on its
/// connection.
const ACTIVITY_INCREMENT: u64 = 4;

impl Scheduler {
    /// `serial`: all threads share one lock, the GIL. Otherwise all of them are active all the time.
    pub(crate) fn new(threads: usize, serial: bool) -> Self {
        Self {
            threads: (0..threads).map(|_| WorkerThread::default()).collect(),
            target: AtomicUsize::new(if serial { 1 } else { threads }),
            active: AtomicUsize::new(threads),
            busy: AtomicUsize::new(0),
            parked: Mutex::default(),
            scheduler_thread: OnceLock::new(),
            asleep: AtomicBool::new(false),
            sleep_limit: AtomicUsize::new(MAX_UNSUPERVISED),
        }
    }

    /// Whether there is something to decide, so that a thread has to call [`Scheduler::run`].
    pub(crate) fn needs_thread(&self) -> bool {
        self.target.load(Ordering::Relaxed) < self.threads.len()
    }

    /// Notes that the calling thread is number `thread`.
    pub(crate) fn register(&self, thread: usize) {
        if let Some(thread) = self.threads.get(thread) {
            thread.register();
        }
    }

    /// Parks `thread`, the calling one, until it is needed. To be called when the thread has nothing to do.
    pub(crate) fn park(&self, thread: usize) {
        if self.active.load(Ordering::Relaxed) <= self.target.load(Ordering::Relaxed) {
            return;
        }
        let mut parked = self.parked();
        // Both numbers change under the lock only.
        let enough = self.active.load(Ordering::Relaxed) <= self.target.load(Ordering::Relaxed);
        let wake_up = self.threads.get(thread).map(|thread| &thread.wake_up);
        let Some(wake_up) = wake_up.filter(|_| !enough && !parked.shut_down) else {
            return;
        };
        self.active.fetch_sub(1, Ordering::Relaxed);
        parked.threads.push(thread);
        while parked.threads.contains(&thread) {
            parked = wake_up.wait(parked).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Marks `thread`, the calling one, busy until the guard is dropped.
    pub(crate) fn begin_work(&self, thread: usize) -> BusyGuard<'_> {
        let guard = BusyGuard { busy: &self.busy, thread: self.threads.get(thread) };
        guard.advance(1);
        // Before the scheduler thread sleeps it sets `asleep` and then reads `busy`; here it is the other way
        // round, so at least one of the two threads sees what the other has written.
        let others = self.busy.fetch_add(1, Ordering::SeqCst);
        if others >= MAX_UNSUPERVISED
            && self.asleep.load(Ordering::SeqCst)
            && others >= self.sleep_limit.load(Ordering::SeqCst)
            && self.asleep.swap(false, Ordering::SeqCst)
            && let Some(scheduler_thread) = self.scheduler_thread.get()
        {
            scheduler_thread.unpark();
        }
        guard
    }

    /// Wakes all threads, and parks none from now on: the worker stops.
    pub(crate) fn shut_down(&self) {
        let mut parked = self.parked();
        parked.shut_down = true;
        self.wake(parked, self.threads.len());
        if let Some(scheduler_thread) = self.scheduler_thread.get() {
            scheduler_thread.unpark();
        }
    }

    /// What the scheduler thread does until [`Scheduler::shut_down`]. `request_waits` says whether there is a request
    /// that no thread has taken.
    pub(crate) fn run(&self, request_waits: impl Fn() -> bool) {
        let _ = self.scheduler_thread.set(thread::current());
        let mut sampler = Sampler::new(self.threads.len());
        let (mut idle_ticks, mut before) = (0, 0);
        while !self.parked().shut_down {
            thread::park_timeout(SCHEDULER_INTERVAL);
            let progress = self.threads.iter().map(WorkerThread::progress).sum::<u64>();
            let many_requests = progress - before > ACTIVITY_INCREMENT;
            before = progress;
            let limit = MAX_UNSUPERVISED + sampler.occupied();
            if many_requests || !self.may_sleep(limit) {
                idle_ticks = 0;
                let load = self.load();
                let state = WorkerThread::state;
                self.set_target(sampler.sample(load, &self.threads, state, &request_waits));
                continue;
            }
            idle_ticks += 1;
            if idle_ticks >= IDLE_TICKS_BEFORE_SLEEP {
                idle_ticks = 0;
                self.sleep(limit);
                sampler.reset();
            }
        }
    }

    /// Lets the scheduler thread sleep until more than `limit` threads are busy.
    fn sleep(&self, limit: usize) {
        let target = self.target.load(Ordering::Relaxed);
        // One free thread is active beside the busy ones: when it becomes busy, scheduling is needed.
        let least = (limit + 1).min(self.threads.len());
        self.set_target(target.max(least));
        self.sleep_limit.store(limit, Ordering::SeqCst);
        self.asleep.store(true, Ordering::SeqCst);
        let since = Instant::now();
        if self.may_sleep(limit) && !self.parked().shut_down {
            if limit > MAX_UNSUPERVISED {
                thread::park_timeout(MAX_SLEEP);
            } else {
                thread::park();
            }
        }
        self.asleep.store(false, Ordering::SeqCst);
        // The target decays as if the threads had been sampled meanwhile.
        let ticks = since.elapsed().as_millis() / SCHEDULER_INTERVAL.as_millis();
        let decay = usize::try_from(ticks / u128::from(DECAY_TICKS)).unwrap_or(usize::MAX);
        self.set_target(target.saturating_sub(decay).max(least));
    }

    /// Whether no scheduling is needed: at most `limit` threads are busy, and another one is free.
    fn may_sleep(&self, limit: usize) -> bool {
        let busy = self.busy.load(Ordering::SeqCst);
        busy <= limit && self.active.load(Ordering::Relaxed) > busy
    }

    fn load(&self) -> Load {
        Load {
            target: self.target.load(Ordering::Relaxed),
            busy: self.busy.load(Ordering::SeqCst),
            active: self.active.load(Ordering::Relaxed),
        }
    }

    /// Sets how many threads are to be active: wakes those that are missing. Threads beyond the target park
    /// themselves.
    fn set_target(&self, target: usize) {
        let parked = self.parked();
        self.target.store(target, Ordering::Relaxed);
        let missing = target.saturating_sub(self.active.load(Ordering::Relaxed));
        self.wake(parked, missing);
    }

    fn wake(&self, mut parked: MutexGuard<'_, Parked>, count: usize) {
        for _ in 0..count {
            let Some(thread) = parked.threads.pop() else { break };
            self.active.fetch_add(1, Ordering::Relaxed);
            if let Some(thread) = self.threads.get(thread) {
                thread.wake_up.notify_one();
            }
        }
    }

    fn parked(&self) -> MutexGuard<'_, Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread is busy while this lives.
pub(crate) struct BusyGuard<'a> {
    busy: &'a AtomicUsize,
    thread: Option<&'a WorkerThread>,
}

impl BusyGuard<'_> {
    /// The thread has finished one thing and begins the next.
    pub(crate) fn next_item(&self) {
        self.advance(2);
    }

    fn advance(&self, count: u64) {
        if let Some(thread) = self.thread {
            thread.advance(count);
        }
    }
}

impl Drop for BusyGuard<'_> {
    fn drop(&mut self) {
        self.busy.fetch_sub(1, Ordering::SeqCst);
        self.advance(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn threads_without_a_common_lock_are_all_active() {
        assert!(!Scheduler::new(15, false).needs_thread());
        assert!(!Scheduler::new(1, true).needs_thread());
        assert!(Scheduler::new(2, true).needs_thread());
    }

    #[test]
    fn a_parked_thread_is_woken_by_a_blocked_one_or_by_the_shut_down() {
        let scheduler = Arc::new(Scheduler::new(3, true));
        let woken = Arc::new(AtomicUsize::new(0));
        let park = |thread| {
            let (scheduler, woken) = (Arc::clone(&scheduler), Arc::clone(&woken));
            thread::spawn(move || {
                scheduler.park(thread);
                woken.fetch_add(1, Ordering::SeqCst);
            })
        };
        let parked = [park(1), park(2)];
        while scheduler.active.load(Ordering::SeqCst) > 1 {
            thread::yield_now();
        }
        // One is enough, so the last one is not parked.
        scheduler.park(0);
        let shared = Arc::clone(&scheduler);
        let scheduler_thread = thread::spawn(move || shared.run(|| false));
        let blocked = scheduler.begin_work(0);
        while woken.load(Ordering::SeqCst) < 1 {
            thread::yield_now();
        }
        drop(blocked);
        scheduler.shut_down();
        for thread in parked.into_iter().chain([scheduler_thread]) {
            thread.join().unwrap();
        }
        scheduler.park(0);
    }
}
