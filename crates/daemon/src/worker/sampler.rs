//! From samples of what the threads of a worker do to the number of threads that are to run.
//! It wakes and parks none.
#![forbid(unsafe_code)]

use super::worker_thread::{ThreadState, WorkerThread, is_busy};
use std::time::Duration;

/// A thread that computes keeps the GIL, and another thread could only alternate with it, which Python has
/// threads do every 5 ms. So much processor time in one request is seen before a second thread is woken.
const COMPUTING: Duration = Duration::from_millis(15);
/// The same where a request waits and no thread is free: the thread may compute without the GIL, which nothing but
/// another thread can find out. One that has used less serves short requests, and does not become faster by
/// another one, also where it waits for a processor.
const OCCUPIED: Duration = Duration::from_millis(4);
/// After so many scheduler intervals with fewer threads needed than the target the target is lowered by one.
pub(super) const DECAY_TICKS: u32 = 25;
/// While a thread is free, only every so many intervals are the threads sampled.
const SAMPLE_EVERY: u32 = 8;
/// A thread that has been blocked for so many intervals is blocked by something other than the GIL.
const BLOCKED_TICKS: u32 = 10;

/// How many threads there are of each kind when the threads are sampled.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// Threads that are to run.
    pub(super) target: usize,
    /// Threads that are not parked.
    pub(super) active: usize,
    /// Threads that serve something.
    pub(super) busy: usize,
}

/// The samples so far.
pub(super) struct Sampler {
    samples: Vec<ThreadSample>,
    /// Intervals since the threads were last sampled.
    ticks: u32,
    /// For how many intervals fewer threads have been needed than the target.
    surplus_ticks: u32,
    /// How many threads have been blocked, or computing, in the same request for long.
    occupied: usize,
}

/// One thread when it was last sampled.
#[derive(Clone, Copy)]
struct ThreadSample {
    progress: u64,
    /// The processor time that the thread had used at the first sample with this progress.
    used: Duration,
    /// Intervals since then.
    ticks: u32,
}

/// Busy threads by what they do.
#[derive(Default)]
struct Counts {
    /// Run, and have not used much processor time.
    running: usize,
    /// Those of `running` that have used as much as [`OCCUPIED`].
    occupied: usize,
    /// Have used as much processor time in their request as [`COMPUTING`].
    computing: usize,
    /// Do not run.
    blocked: usize,
    /// Those of `blocked` that have been for [`BLOCKED_TICKS`].
    long_blocked: usize,
}

impl Sampler {
    pub(super) fn new(threads: usize) -> Self {
        let none = ThreadSample { progress: 0, used: Duration::ZERO, ticks: 0 };
        Self { samples: vec![none; threads], ticks: 0, surplus_ticks: 0, occupied: 0 }
    }

    /// How many threads have been in the same request for long, as of the last sample.
    pub(super) const fn occupied(&self) -> usize {
        self.occupied
    }

    /// The samples are old: the next call of [`Sampler::sample`] takes new ones.
    pub(super) fn reset(&mut self) {
        (self.ticks, self.surplus_ticks, self.occupied) = (SAMPLE_EVERY, 0, 0);
    }

    /// How many threads are to run. To be called once in each scheduler interval; `state` is what a thread does,
    /// `request_waits` whether there is a request that no thread has taken.
    pub(super) fn sample(
        &mut self,
        load: Load,
        threads: &[WorkerThread],
        state: impl Fn(&WorkerThread) -> ThreadState,
        request_waits: impl Fn() -> bool,
    ) -> usize {
        let Load { target, active, busy } = load;
        let free = active.saturating_sub(busy);
        self.ticks += 1;
        let all_active = active >= threads.len();
        if (free > 0 || all_active) && self.ticks < SAMPLE_EVERY {
            return target;
        }
        let ticks = std::mem::take(&mut self.ticks);
        let mut counts = self.count(ticks, threads, state);
        // Some may have finished while others were sampled.
        counts.running = counts.running.max(busy.saturating_sub(counts.blocked + counts.computing));
        self.new_target(load, &counts, ticks, request_waits).min(threads.len())
    }

    fn count(
        &mut self,
        ticks: u32,
        threads: &[WorkerThread],
        state: impl Fn(&WorkerThread) -> ThreadState,
    ) -> Counts {
        let mut counts = Counts::default();
        self.occupied = 0;
        for (sample, thread) in self.samples.iter_mut().zip(threads) {
            let progress = thread.progress();
            if !is_busy(progress) {
                continue;
            }
            let ThreadState { is_runnable, used } = state(thread);
            if sample.progress == progress {
                sample.ticks = sample.ticks.saturating_add(ticks);
            } else {
                *sample = ThreadSample { progress, used, ticks: 0 };
            }
            // Where the progress has changed meanwhile, the state belongs to another request.
            let same = thread.progress() == progress;
            let long = same && sample.ticks >= BLOCKED_TICKS;
            self.occupied += usize::from(long);
            let used = used.saturating_sub(sample.used);
            match (same, is_runnable) {
                (true, false) => {
                    counts.blocked += 1;
                    counts.long_blocked += usize::from(long);
                }
                (true, true) if used >= COMPUTING => counts.computing += 1,
                _ => {
                    counts.running += 1;
                    counts.occupied += usize::from(same && used >= OCCUPIED);
                }
            }
        }
        counts
    }

    fn new_target(
        &mut self,
        load: Load,
        counts: &Counts,
        ticks: u32,
        request_waits: impl Fn() -> bool,
    ) -> usize {
        let Load { target, active, busy } = load;
        let Counts { running, occupied, computing, blocked, long_blocked } = *counts;
        let free = active.saturating_sub(busy);
        if free == 0 && running == 0 && busy > 0 {
            self.surplus_ticks = 0;
            // A blocked thread is seldom the only one: several are woken at once rather than one by one.
            return target.max(active) + 1 + blocked / 2;
        }
        // Only one of the threads that run can have the GIL, the others are at work without it: one more finds out
        // whether it is free. Threads that are blocked by the GIL alone count for nothing here.
        let all_occupied = free == 0 && running > 0 && running == occupied;
        let beside = if all_occupied && request_waits() { running } else { 0 };
        let least = 1 + computing + long_blocked + beside;
        if least > target {
            // Threads may be needed and active although the target was lowered while the scheduler slept.
            self.surplus_ticks = 0;
            return least;
        }
        // While a thread runs, others may be blocked by the GIL alone, unless they have been for long.
        let blocked_by_else = free > 0 || running + computing == 0;
        let needed = 1 + computing + beside + if blocked_by_else { blocked } else { long_blocked };
        self.surplus_ticks = if needed < target { self.surplus_ticks + ticks } else { 0 };
        if self.surplus_ticks >= DECAY_TICKS {
            self.surplus_ticks = 0;
            return target - 1;
        }
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sampler and threads, of which the first `busy` are busy and active.
    fn worker(threads: usize, busy: usize) -> (Vec<WorkerThread>, Sampler, Load) {
        let threads: Vec<_> = (0..threads).map(|_| WorkerThread::default()).collect();
        threads.iter().take(busy).for_each(|thread| thread.advance(1));
        let sampler = Sampler::new(threads.len());
        (threads, sampler, Load { target: busy.max(1), active: busy, busy })
    }

    /// The target after each of so many intervals in which all that are busy compute, or are blocked.
    fn targets(
        (threads, sampler, load): &mut (Vec<WorkerThread>, Sampler, Load),
        is_runnable: bool,
        ticks: u32,
    ) -> Vec<usize> {
        let tick = |number| {
            let state = ThreadState { is_runnable, used: number * Duration::from_millis(2) };
            load.target = sampler.sample(*load, threads, |_| state, || false);
            load.active = load.target;
            load.target
        };
        (0..ticks).map(tick).collect()
    }

    #[test]
    fn a_blocked_thread_is_replaced_at_once_and_a_computing_one_later() {
        assert_eq!(targets(&mut worker(15, 1), false, 2), [2, 2]);
        let expected = [[1; 8].as_slice(), &[2; 2]].concat();
        assert_eq!(targets(&mut worker(15, 1), true, 10), expected);
    }

    /// The target while a request waits and each of the threads, all of which are active, has used so many milliseconds
    /// in its request; `None` is a blocked one.
    fn target_while_a_request_waits(used: &[Option<u64>]) -> usize {
        let (threads, mut sampler, load) = worker(15, used.len());
        let mut sample = |later: u64| {
            let state = |thread: &WorkerThread| {
                let number = threads.iter().position(|it| std::ptr::eq(it, thread)).unwrap();
                let used = used[number].map(|used| Duration::from_millis(used * later));
                ThreadState { is_runnable: used.is_some(), used: used.unwrap_or_default() }
            };
            sampler.sample(load, &threads, state, || later > 0)
        };
        assert_eq!(sample(0), used.len());
        sample(1)
    }

    #[test]
    fn a_request_that_waits_for_a_computing_thread_gets_another_one() {
        for (used, expected) in [
            ([Some(4)].as_slice(), 2),
            // It has the GIL, and the other one waits for that: a third would, too.
            (&[Some(9), None], 2),
            // One of them computes without the GIL, and so may a third.
            (&[Some(4), Some(5)], 3),
            (&[Some(4), Some(5), None], 3),
            (&[Some(9); 14], 15),
            // It waits for a processor, or has begun just now.
            (&[Some(3)], 1),
            (&[Some(5), Some(3)], 2),
        ] {
            assert_eq!(target_while_a_request_waits(used), expected, "{used:?}");
        }
    }

    #[test]
    fn blocked_threads_raise_the_target_step_by_step_up_to_all_threads() {
        for (busy, expected) in [(0, 1), (1, 2), (2, 4), (4, 7), (8, 13), (15, 15)] {
            assert_eq!(targets(&mut worker(15, busy), false, 1), [expected], "{busy}");
        }
    }

    #[test]
    fn a_thread_blocked_while_another_runs_may_be_blocked_by_the_gil_alone() {
        let (threads, mut sampler, load) = worker(15, 2);
        let mut last = 2;
        for tick in 0..DECAY_TICKS {
            threads[1].advance(2);
            if tick % (BLOCKED_TICKS / 2) == 0 {
                threads[0].advance(2);
            }
            last = sampler.sample(
                load,
                &threads,
                |thread| ThreadState {
                    is_runnable: !std::ptr::eq(thread, &raw const threads[0]),
                    used: Duration::ZERO,
                },
                || false,
            );
        }
        assert_eq!(last, 1);
    }

    #[test]
    fn a_thread_blocked_for_long_is_not_blocked_by_the_gil() {
        // Eight long polls, and one thread for all other requests.
        let (threads, mut sampler, mut load) = worker(15, 9);
        for _ in 0..10 * DECAY_TICKS {
            threads[8].advance(2);
            load.target = sampler.sample(
                load,
                &threads,
                |thread| ThreadState {
                    is_runnable: std::ptr::eq(thread, &raw const threads[8]),
                    used: Duration::ZERO,
                },
                || false,
            );
        }
        assert_eq!(load.target, 9);
    }

    #[test]
    fn the_target_is_kept_for_a_while() {
        let mut worker = worker(15, 1);
        assert_eq!(targets(&mut worker, false, 1), [2]);
        // It serves one short request after the other.
        let mut last = 2;
        for tick in 1..=4 * SAMPLE_EVERY {
            worker.0[0].advance(2);
            last = targets(&mut worker, true, 1)[0];
            assert!(tick == 4 * SAMPLE_EVERY || last == 2, "{tick}");
        }
        assert_eq!(last, 1);
    }
}
