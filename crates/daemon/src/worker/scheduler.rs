//! How many of a worker's threads are up.
//!
//! Python's lock lets one thread run at a time. A second one that is woken for the next request only
//! waits for the first, and both pay for it: with all threads up a small request costs a fifth more than
//! with one. So one thread serves what comes, one request after the other, and the others rest. A
//! *foreman* looks every two milliseconds what those do that are up: if all of them wait, or have a lot to
//! compute, another one gets up. How many are needed is remembered for a while, so applications that wait
//! a lot have as many threads up as wait. Where requests come one at a time a thread stands by beside the one
//! that serves and those that wait for long, and the foreman sleeps until it is called upon.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Threads 0, 1, … and who of them is up.
pub(crate) struct Crew {
    threads: Vec<Member>,
    /// How many are to be up.
    wanted: AtomicUsize,
    /// How many are.
    up: AtomicUsize,
    /// How many of them are at work.
    at_work: AtomicUsize,
    resting: Mutex<Resting>,
    foreman: OnceLock<Thread>,
    /// Little goes on, and the foreman sleeps.
    quiet: AtomicBool,
    /// As long as no more are at work it goes on sleeping.
    alone: AtomicUsize,
}

/// One thread, on a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
struct Member {
    /// Counts what it begins and ends; odd while it is at work.
    beat: AtomicU64,
    bell: Condvar,
    /// Where the kernel says what it does (proc_pid_stat(5)).
    stat: OnceLock<PathBuf>,
}

#[derive(Default)]
struct Resting {
    /// The one that has just lain down gets up first: its memory is still warm.
    threads: Vec<usize>,
    dismissed: bool,
}

/// How often the foreman looks.
const TICK: Duration = Duration::from_millis(2);
/// Who computes keeps the lock, and another thread could only take turns with it, which Python has them do
/// every 5 ms. So much processor time, in hundredths of a second, is seen to go into one request before that
/// is worth it. The kernel gives whole hundredths, so it may have been up to one less.
const PATIENCE: u64 = 2;
/// After so many ticks with fewer threads needed than there are, one of them is needed no more.
const MEMORY: u32 = 25;
/// As long as a thread is free it is enough to look closely at every so many ticks.
const SELDOM: u32 = 8;
/// So many threads at work need no foreman, beside those that wait for long.
const ALONE: usize = 1;
/// After so many ticks with no more at work, and no more than a request in each, the foreman sleeps until
/// there are.
const QUIET: u32 = 3;
/// How long it sleeps at most where some wait for long: when they have done they are too many.
const NAP: Duration = Duration::from_secs(1);
/// Who has waited for so many ticks waits for something other than the lock.
const SETTLED: u32 = 10;
/// Beats that a request takes: its begin, its end, and two as one of those that came on its connection.
const A_REQUEST: u64 = 4;

impl Crew {
    /// `serial`: all of its threads run under one lock. Else all are up all the time.
    pub(crate) fn new(threads: usize, serial: bool) -> Self {
        Self {
            threads: (0..threads).map(|_| Member::default()).collect(),
            wanted: AtomicUsize::new(if serial { 1 } else { threads }),
            up: AtomicUsize::new(threads),
            at_work: AtomicUsize::new(0),
            resting: Mutex::default(),
            foreman: OnceLock::new(),
            quiet: AtomicBool::new(false),
            alone: AtomicUsize::new(ALONE),
        }
    }

    /// Whether there is something to decide, and a thread has to call [`Crew::oversee`].
    pub(crate) fn wants_foreman(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) < self.threads.len()
    }

    /// The calling thread is `thread`.
    pub(crate) fn join(&self, thread: usize) {
        if let Some(member) = self.threads.get(thread) {
            // The link is to `PID/task/TID`. Where there is no /proc it cannot be told what the thread does.
            let link = fs::read_link("/proc/thread-self").unwrap_or_default();
            let number = link.file_name().unwrap_or_default();
            let _ = member.stat.set(PathBuf::from("/proc/self/task").join(number).join("stat"));
        }
    }

    /// Between two pieces of work of `thread`: rests until it is needed.
    pub(crate) fn rest(&self, thread: usize) {
        if self.up.load(Ordering::Relaxed) <= self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let mut resting = self.resting();
        // Under the lock nobody else goes or comes, and no more are wanted.
        let enough = self.up.load(Ordering::Relaxed) <= self.wanted.load(Ordering::Relaxed);
        let Some(member) = self.threads.get(thread).filter(|_| !enough && !resting.dismissed)
        else {
            return;
        };
        self.up.fetch_sub(1, Ordering::Relaxed);
        resting.threads.push(thread);
        while resting.threads.contains(&thread) {
            resting = member.bell.wait(resting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// `thread` has something to do, until the guard goes.
    pub(crate) fn work(&self, thread: usize) -> Work<'_> {
        let beat = self.threads.get(thread).map(|member| &member.beat);
        let work = Work { at_work: &self.at_work, beat };
        work.beat(1);
        // Before it sleeps the foreman says so and then counts those at work: one of us sees the other.
        let others = self.at_work.fetch_add(1, Ordering::SeqCst);
        if others >= ALONE
            && self.quiet.load(Ordering::SeqCst)
            && others >= self.alone.load(Ordering::SeqCst)
            && self.quiet.swap(false, Ordering::SeqCst)
            && let Some(foreman) = self.foreman.get()
        {
            foreman.unpark();
        }
        work
    }

    /// Everybody is to get up, and to stay so: the worker leaves.
    pub(crate) fn dismiss(&self) {
        let mut resting = self.resting();
        resting.dismissed = true;
        self.wake(resting, self.threads.len());
        if let Some(foreman) = self.foreman.get() {
            foreman.unpark();
        }
    }

    /// What the foreman does until the crew is dismissed.
    pub(crate) fn oversee(&self) {
        let _ = self.foreman.set(thread::current());
        let mut watch = Watch::new(self);
        let (mut idle, mut before) = (0, 0);
        while !self.resting().dismissed {
            thread::park_timeout(TICK);
            let beats = self.threads.iter().map(Member::beat).sum::<u64>();
            let busy = beats - before > A_REQUEST;
            before = beats;
            let alone = ALONE + watch.settled;
            if busy || !self.is_idle(alone) {
                idle = 0;
                self.want(watch.look(self, Member::state));
                continue;
            }
            idle += 1;
            if idle >= QUIET {
                idle = 0;
                self.sleep(alone);
                watch.rest();
            }
        }
    }

    /// The foreman sleeps, until more than `alone` are at work.
    fn sleep(&self, alone: usize) {
        let wanted = self.wanted.load(Ordering::Relaxed);
        // One stands by: if it is called upon the foreman is needed.
        let least = (alone + 1).min(self.threads.len());
        self.want(wanted.max(least));
        self.alone.store(alone, Ordering::SeqCst);
        self.quiet.store(true, Ordering::SeqCst);
        let since = Instant::now();
        if self.is_idle(alone) && !self.resting().dismissed {
            if alone > ALONE {
                thread::park_timeout(NAP);
            } else {
                thread::park();
            }
        }
        self.quiet.store(false, Ordering::SeqCst);
        // What was needed long ago is forgotten; the one that stood by is up just now.
        let ticks = since.elapsed().as_millis() / TICK.as_millis();
        let forgotten = usize::try_from(ticks / u128::from(MEMORY)).unwrap_or(usize::MAX);
        self.want(wanted.saturating_sub(forgotten).max(least));
    }

    /// Whether nobody has to be overseen: at most `alone` threads are at work, and another one is free.
    fn is_idle(&self, alone: usize) -> bool {
        let at_work = self.at_work.load(Ordering::SeqCst);
        at_work <= alone && self.up.load(Ordering::Relaxed) > at_work
    }

    /// So many threads are to be up: wakes those that lack. Those that are too many lie down by themselves.
    fn want(&self, wanted: usize) {
        let resting = self.resting();
        self.wanted.store(wanted, Ordering::Relaxed);
        let lacking = wanted.saturating_sub(self.up.load(Ordering::Relaxed));
        self.wake(resting, lacking);
    }

    fn wake(&self, mut resting: MutexGuard<'_, Resting>, count: usize) {
        for _ in 0..count {
            let Some(thread) = resting.threads.pop() else { break };
            self.up.fetch_add(1, Ordering::Relaxed);
            if let Some(member) = self.threads.get(thread) {
                member.bell.notify_one();
            }
        }
    }

    fn resting(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread is at work.
pub(crate) struct Work<'a> {
    at_work: &'a AtomicUsize,
    beat: Option<&'a AtomicU64>,
}

impl Work<'_> {
    /// It has done with one thing and goes on with the next.
    pub(crate) fn goes_on(&self) {
        self.beat(2);
    }

    fn beat(&self, count: u64) {
        if let Some(beat) = self.beat {
            // Only the thread itself counts.
            beat.store(beat.load(Ordering::Relaxed) + count, Ordering::Release);
        }
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.at_work.fetch_sub(1, Ordering::SeqCst);
        self.beat(1);
    }
}

const fn is_at_work(beat: u64) -> bool {
    beat % 2 == 1
}

/// What the foreman saw so far.
struct Watch {
    seen: Vec<Seen>,
    /// Ticks since it last looked closely.
    ticks: u32,
    /// For how many ticks fewer threads were needed than are wanted.
    calm: u32,
    /// How many have been at the same thing for long.
    settled: usize,
}

/// One thread at the last close look.
#[derive(Clone, Copy)]
struct Seen {
    beat: u64,
    /// The processor time that it had used when it was first seen at what it is at.
    since: u64,
    /// Ticks since then.
    ticks: u32,
}

/// What the kernel says of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    /// It runs, or would if there were a processor for it.
    runs: bool,
    /// The processor time that it has used, in hundredths of a second.
    spent: u64,
}

impl Watch {
    fn new(crew: &Crew) -> Self {
        let unseen = Seen { beat: 0, since: 0, ticks: 0 };
        Self { seen: vec![unseen; crew.threads.len()], ticks: 0, calm: 0, settled: 0 }
    }

    /// Nobody has looked for a while.
    fn rest(&mut self) {
        // Those that wait are found out by the next close look, which comes at once.
        (self.ticks, self.calm, self.settled) = (SELDOM, 0, 0);
    }

    /// How many threads are to be up.
    fn look(&mut self, crew: &Crew, state: impl Fn(&Member) -> State) -> usize {
        let wanted = crew.wanted.load(Ordering::Relaxed);
        let at_work = crew.at_work.load(Ordering::SeqCst);
        let up = crew.up.load(Ordering::Relaxed);
        let free = up.saturating_sub(at_work);
        self.ticks += 1;
        let none_is_left = up >= crew.threads.len();
        if (free > 0 || none_is_left) && self.ticks < SELDOM {
            return wanted;
        }
        let ticks = std::mem::take(&mut self.ticks);
        let (mut running, mut waiting, mut settled, mut computing) = (0, 0, 0, 0);
        self.settled = 0;
        for (seen, member) in self.seen.iter_mut().zip(&crew.threads) {
            let beat = member.beat();
            if !is_at_work(beat) {
                continue;
            }
            let State { runs, spent } = state(member);
            if seen.beat != beat {
                *seen = Seen { beat, since: spent, ticks: 0 };
            } else {
                seen.ticks = seen.ticks.saturating_add(ticks);
            }
            // Else it is by now at something else, and goes forward.
            let same = member.beat() == beat;
            self.settled += usize::from(same && seen.ticks >= SETTLED);
            let tired = spent.saturating_sub(seen.since) >= PATIENCE;
            match () {
                () if same && !runs => {
                    waiting += 1;
                    settled += usize::from(seen.ticks >= SETTLED);
                }
                () if same && tired => computing += 1,
                () => running += 1,
            }
        }
        // Some may have finished while others were looked at.
        running = running.max(at_work.saturating_sub(waiting + computing));
        if free == 0 && running == 0 && at_work > 0 {
            self.calm = 0;
            // Who waits is seldom alone: the next ones need not be waited for one by one.
            return (wanted.max(up) + 1 + waiting / 2).min(crew.threads.len());
        }
        // As long as somebody runs, others may only wait for the lock, unless they have for long.
        let idle = free > 0 || running + computing == 0;
        let needed = 1 + computing + if idle { waiting } else { settled };
        if 1 + computing + settled > wanted {
            // Those that are needed may be up although they were forgotten.
            self.calm = 0;
            return (1 + computing + settled).min(crew.threads.len());
        }
        self.calm = if needed < wanted { self.calm + ticks } else { 0 };
        if self.calm >= MEMORY {
            self.calm = 0;
            return wanted - 1;
        }
        wanted
    }
}

impl Member {
    fn beat(&self) -> u64 {
        self.beat.load(Ordering::Acquire)
    }

    /// A thread of which nothing is known is taken for one that waits, which costs little.
    fn state(&self) -> State {
        let mut line = [0; 1024];
        let count = self.stat.get().and_then(|path| File::open(path).ok()?.read(&mut line).ok());
        let line = line.get(..count.unwrap_or(0)).unwrap_or_default();
        std::str::from_utf8(line).ok().and_then(State::read).unwrap_or_default()
    }
}

impl State {
    /// From the line of proc_pid_stat(5).
    fn read(line: &str) -> Option<Self> {
        // The name before the bracket may be anything.
        let (_, fields) = line.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        let runs = fields.next()? == "R";
        let mut times = fields.skip(10).map_while(|time| time.parse::<u64>().ok());
        Some(Self { runs, spent: times.next()? + times.next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// A foreman's eyes on a crew of `threads`, of which the first `working` are at work.
    fn crew(threads: usize, working: usize) -> (Crew, Watch) {
        let crew = Crew::new(threads, true);
        for thread in 0..working {
            std::mem::forget(crew.work(thread));
        }
        crew.up.store(working, Ordering::Relaxed);
        crew.wanted.store(working.max(1), Ordering::Relaxed);
        let watch = Watch::new(&crew);
        (crew, watch)
    }

    impl Crew {
        /// The work that `thread` is at.
        fn again(&self, thread: usize) -> Work<'_> {
            Work { at_work: &self.at_work, beat: Some(&self.threads[thread].beat) }
        }
    }

    /// What is wanted after each of so many ticks in which all that are at work compute, or wait.
    fn wanted(crew: &Crew, watch: &mut Watch, compute: bool, ticks: u32) -> Vec<usize> {
        let tick = |number| {
            // It began shortly before the clock of the kernel went on.
            let state = State { runs: compute, spent: u64::from(number + 4) / 5 };
            let wanted = watch.look(crew, |_| state);
            crew.wanted.store(wanted, Ordering::Relaxed);
            crew.up.store(wanted, Ordering::Relaxed);
            wanted
        };
        (0..ticks).map(tick).collect()
    }

    #[test]
    fn a_thread_that_waits_is_replaced_at_once_and_one_that_computes_later() {
        let (waits, mut watch) = crew(15, 1);
        assert_eq!(wanted(&waits, &mut watch, false, 2), [2, 2]);
        let (computes, mut watch) = crew(15, 1);
        let expected = [[1; 6].as_slice(), &[2; 4]].concat();
        assert_eq!(wanted(&computes, &mut watch, true, 10), expected);
    }

    #[test]
    fn the_kernel_says_what_a_thread_does() {
        let line = "7 (wsgi) 0) R 1 2 3 4 5 6 7 8 9 10 30 12 13 14";
        assert_eq!(State::read(line), Some(State { runs: true, spent: 42 }));
        assert_eq!(State::read("7 (wsgi-0) S 1"), None);
        let crew = Arc::new(Crew::new(2, true));
        crew.join(0);
        assert!(crew.threads[0].state().runs);
        while crew.threads[0].state().spent < 2 {}
        let sleeper = Arc::clone(&crew);
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            sleeper.join(1);
            let _ = stopped.recv();
        });
        while crew.threads[1].stat.get().is_none() || crew.threads[1].state().runs {
            thread::yield_now();
        }
        assert!(crew.threads[1].state().spent < 2);
        drop(stop);
        thread.join().unwrap();
    }

    #[test]
    fn those_that_wait_bring_others_up_by_and_by_and_never_more_than_there_are() {
        for (working, expected) in [(0, 1), (1, 2), (2, 4), (4, 7), (8, 13), (15, 15)] {
            let (crew, mut watch) = crew(15, working);
            assert_eq!(wanted(&crew, &mut watch, false, 1), [expected], "{working}");
        }
    }

    #[test]
    fn who_waits_while_another_one_runs_may_only_wait_for_the_lock() {
        let (crew, mut watch) = crew(15, 2);
        let mut last = 2;
        let (first, second) = (&crew.threads[0], crew.again(1));
        for tick in 0..MEMORY {
            second.goes_on();
            if tick % (SETTLED / 2) == 0 {
                let waits = crew.again(0);
                waits.goes_on();
                std::mem::forget(waits);
            }
            let state = |member: &Member| State { runs: !std::ptr::eq(member, first), spent: 0 };
            last = watch.look(&crew, state);
        }
        assert_eq!(last, 1);
        std::mem::forget(second);
    }

    #[test]
    fn who_waits_for_long_does_not_wait_for_the_lock() {
        // Eight long polls, and one thread for all the others.
        let (crew, mut watch) = crew(15, 9);
        let serving = crew.again(8);
        let mut last = 0;
        for _ in 0..10 * MEMORY {
            serving.goes_on();
            let runs = |member: &Member| std::ptr::eq(member, &raw const crew.threads[8]);
            last = watch.look(&crew, |member| State { runs: runs(member), spent: 0 });
            crew.wanted.store(last, Ordering::Relaxed);
        }
        assert_eq!(last, 9);
        std::mem::forget(serving);
    }

    #[test]
    fn what_was_needed_is_remembered_for_a_while() {
        let (crew, mut watch) = crew(15, 1);
        assert_eq!(wanted(&crew, &mut watch, false, 1), [2]);
        // It serves one short request after the other.
        let short = crew.again(0);
        let mut last = 2;
        for tick in 1..=4 * SELDOM {
            short.goes_on();
            last = wanted(&crew, &mut watch, true, 1)[0];
            assert!(tick == 4 * SELDOM || last == 2, "{tick}");
        }
        std::mem::forget(short);
        assert_eq!(last, 1);
    }

    #[test]
    fn threads_without_a_common_lock_are_all_up() {
        assert!(!Crew::new(15, false).wants_foreman());
        assert!(!Crew::new(1, true).wants_foreman());
        assert!(Crew::new(2, true).wants_foreman());
    }

    #[test]
    fn who_is_not_needed_rests_until_somebody_is_stuck_or_all_are_dismissed() {
        let crew = Arc::new(Crew::new(3, true));
        let done = Arc::new(AtomicUsize::new(0));
        let rest = |thread| {
            let (crew, done) = (Arc::clone(&crew), Arc::clone(&done));
            thread::spawn(move || {
                crew.rest(thread);
                done.fetch_add(1, Ordering::SeqCst);
            })
        };
        let resting = [rest(1), rest(2)];
        while crew.up.load(Ordering::SeqCst) > 1 {
            thread::yield_now();
        }
        // One is enough, so the last one goes on.
        crew.rest(0);
        let overseer = Arc::clone(&crew);
        let foreman = thread::spawn(move || overseer.oversee());
        let stuck = crew.work(0);
        while done.load(Ordering::SeqCst) < 1 {
            thread::yield_now();
        }
        drop(stuck);
        crew.dismiss();
        for thread in resting.into_iter().chain([foreman]) {
            thread.join().unwrap();
        }
        crew.rest(0);
    }
}
