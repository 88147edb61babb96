//! A worker slot of a group: the worker that serves, perhaps its replacement, and the workers that are stopping.
#![forbid(unsafe_code)]

use crate::message::{Channel, Command, Loaded, Reason, Successor};
use crate::time_limit;
use scoreboard::{BackOff, Field, RECORDS_PER_SLOT, Record, Scoreboard, State, now};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use sys::SIGKILL;

/// One worker slot.
pub(super) struct Slot {
    /// Its listening socket; `None` where only the shared one is used.
    pub(super) socket: Option<OwnedFd>,
    /// The worker that serves, or will as soon as it has started.
    pub(super) current: Option<Worker>,
    /// The replacement of the current worker, while it starts.
    pub(super) incoming: Option<Worker>,
    /// Workers that have been told to stop.
    pub(super) leaving: Vec<Worker>,
    /// Why a worker is to be started here, or the current one replaced.
    pub(super) wanted: Option<Reason>,
    /// When a worker may be started here at the earliest.
    pub(super) not_before: Instant,
    /// How many in a row exited before they were ready.
    pub(super) failures: u32,
    /// How many in a row exited soon after they were ready, and without a request.
    pub(super) early_exits: u32,
    pub(super) generation: u64,
}

/// A worker process, as its manager sees it.
pub(super) struct Worker {
    pub(super) pid: i32,
    pub(super) channel: Channel,
    pub(super) record: Record<'static>,
    pub(super) generation: u64,
    pub(super) ready: bool,
    /// When the manager has learnt that it is ready, in microseconds as in the scoreboard; 0 before.
    pub(super) ready_since: u64,
    pub(super) started: Instant,
    /// The same in microseconds since the epoch, to be compared with the times of files.
    pub(super) started_at: i64,
    /// Why it is to be replaced whatever the code: it says so once.
    pub(super) asks: Option<Reason>,
    /// Why it was told to stop.
    pub(super) told: Option<Reason>,
    /// It has been told to stop, and takes no request any more that was not on its way to it.
    pub(super) accepts_no_more: bool,
    pub(super) kill_at: Option<Instant>,
    /// Its end of the channel is closed.
    pub(super) channel_lost: bool,
    /// It was killed while it served no requests.
    pub(super) cancelled: bool,
    /// It was told to end before its time.
    pub(super) cut_short: bool,
}

/// The pauses after workers that exit before they are ready: none after the first one.
const START_BACK_OFF: BackOff =
    BackOff { free: 1, first: Duration::from_millis(100), longest: Duration::from_secs(10) };
/// The pauses after workers that were ready and exit soon all the same: two are taken for accidents.
const EARLY_EXIT_BACK_OFF: BackOff = BackOff { free: 2, ..START_BACK_OFF };

impl Slot {
    pub(super) fn new(socket: Option<OwnedFd>) -> Self {
        Self {
            socket,
            current: None,
            incoming: None,
            leaving: Vec::new(),
            wanted: None,
            not_before: Instant::now(),
            failures: 0,
            early_exits: 0,
            generation: 0,
        }
    }

    /// Whether a worker that was started before `then` may still accept, although it has been told to stop: one that
    /// was killed does not.
    pub(super) fn has_old_acceptor(&self, then: Instant) -> bool {
        let accepts =
            |worker: &Worker| worker.started < then && !worker.accepts_no_more && !worker.cancelled;
        self.leaving.iter().any(accepts)
    }

    /// Has a worker started here, or the current one replaced. A reason for new code displaces one that is not, and is
    /// displaced by none: what is started for it is not what was to be started for the other.
    pub(super) fn want(&mut self, reason: Reason) {
        let displaces = |before: Reason| reason.is_for_new_code() && !before.is_for_new_code();
        if self.wanted.is_none_or(displaces) {
            self.wanted = Some(reason);
        }
    }

    /// The new code that a replacement was wanted for does not load. The current worker goes on; where it has asked for its
    /// replacement and can wait, that is tried again after a pause.
    pub(super) fn give_up_new_code(&mut self) {
        let Some(asks) = self.current.as_ref().map(|worker| worker.asks) else { return };
        if !self.wanted.is_some_and(Reason::is_for_new_code) {
            return;
        }
        match asks {
            Some(reason) if reason.can_wait() => self.back_off(),
            _ => self.wanted = asks,
        }
    }

    /// Whether a worker takes requests.
    pub(super) fn is_ready(&self) -> bool {
        self.current.as_ref().is_some_and(|worker| worker.ready)
    }

    /// Every worker of the slot.
    pub(super) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.current.iter().chain(&self.incoming).chain(&self.leaving)
    }

    /// Every worker of the slot, to be changed.
    pub(super) fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.current.iter_mut().chain(&mut self.incoming).chain(&mut self.leaving)
    }

    /// The number of the next worker, which has no record of one that lives; `None` where there are as many as records.
    /// What is in the memory does not matter: a worker may write there what it likes.
    pub(super) fn next_generation(&self) -> Option<u64> {
        let records = RECORDS_PER_SLOT as u64;
        let is_free =
            |next: &u64| self.workers().all(|worker| worker.generation % records != next % records);
        (self.generation + 1..=self.generation + records).find(is_free)
    }

    /// The worker that is to end before its time, so that another one can start: the one that was told to stop first, where
    /// none is about to end already.
    pub(super) fn take_oldest_leaving(&mut self) -> Option<&mut Worker> {
        if self.leaving.iter().any(|worker| worker.cancelled || worker.cut_short) {
            return None;
        }
        let oldest = self.leaving.first_mut()?;
        oldest.cut_short = true;
        Some(oldest)
    }

    /// Marks the record of a worker that could not be forked as exited.
    pub(super) fn mark_fork_failed(&self, board: &Scoreboard<'static>, index: usize) {
        let record = board.record(index, self.generation);
        record.set(Field::Failures, self.failures.into());
        record.mark_exited(0, now());
    }

    /// Puts off the next start after a worker that exited before it was ready.
    pub(super) fn back_off(&mut self) {
        self.failures += 1;
        self.not_before = Instant::now() + START_BACK_OFF.pause(self.failures);
    }

    /// The same after a worker that was ready, and exited soon without a request.
    pub(super) fn back_off_after_early_exit(&mut self) {
        self.early_exits += 1;
        self.not_before = Instant::now() + EARLY_EXIT_BACK_OFF.pause(self.early_exits);
    }
}

impl Worker {
    /// Tells the worker to finish what it has `within` that time; it is killed `grace` later, if at all.
    pub(super) fn finish(
        &mut self,
        reason: Reason,
        within: Duration,
        grace: Option<Duration>,
        successor: Successor,
    ) {
        self.told = Some(reason);
        let sent = self.channel.send(&Command::Finish { within, reason, successor });
        // The worker observes both times itself; one second later it is taken for one that cannot.
        let reserve = Duration::from_secs(1);
        let all = grace.map(|grace| within.saturating_add(grace).saturating_add(reserve));
        let kill_at = all.map(|all| time_limit::deadline(Instant::now(), all));
        self.kill_at = match (self.kill_at, kill_at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if sent.is_err() {
            sys::kill(self.pid, sys::SIGTERM);
        }
    }

    /// The worker has done its imports. One whose imports have `failed` waits to be told to serve.
    pub(super) fn mark_ready(&mut self, failed: bool) {
        self.ready = true;
        self.ready_since = now();
        if failed {
            // Where the command cannot be sent, the worker has exited.
            let _ = self.channel.send(&Command::Serve);
        }
    }

    /// Tells the worker that it keeps its code, because the file `refused` could not be loaded.
    pub(super) fn keep_code(&mut self, refused: Option<&Loaded>) {
        // Where the command cannot be sent, the worker has exited.
        let _ = self.channel.send(&Command::KeepCode { refused: refused.cloned() });
    }

    /// Whether the worker has served a request, or serves one.
    pub(super) fn has_served(&self) -> bool {
        self.record.get(Field::Served) > 0 || self.record.is_busy()
    }

    /// Whether the worker may have a request. It notes that it is ready before it reports so, and begins to accept after
    /// that; the report may still lie in the channel.
    pub(super) fn may_serve(&mut self) -> bool {
        if !self.ready && self.record.get(Field::State) == State::Ready as u64 {
            self.ready = true;
            self.ready_since = now();
        }
        self.ready
    }

    /// Whether the worker still starts after the time `most`, and has not been told to stop.
    pub(super) fn is_late(&mut self, most: Duration) -> bool {
        self.told.is_none() && self.started.elapsed() > most && !self.may_serve()
    }

    /// Has the worker killed after `grace`, or sooner where that has been set.
    pub(super) fn set_kill_deadline(&mut self, grace: Duration) {
        let then = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(then, |other| other.min(then)));
    }

    /// Kills the worker if its deadline has passed; whether that was so.
    pub(super) fn kill_if_overdue(&mut self) -> bool {
        let overdue = self.kill_at.take_if(|when| *when <= Instant::now()).is_some();
        if overdue {
            sys::kill(self.pid, SIGKILL);
        }
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    /// The pauses after ten failures in a row, in tenths of a second.
    fn pauses(back_off: fn(&mut Slot)) -> Vec<u128> {
        let mut slot = Slot::new(None);
        let mut next = || {
            let now = Instant::now();
            back_off(&mut slot);
            slot.not_before.saturating_duration_since(now).as_millis() / 100
        };
        (0..10).map(|_| next()).collect()
    }

    /// A worker that starts, of no process.
    fn worker(generation: u64) -> Worker {
        let words = (0..Scoreboard::size(1, 1)).map(|_| AtomicU64::new(0)).collect();
        let record = Scoreboard::new(Vec::leak(words), 1, 1).record(0, generation);
        let (channel, _other) = Channel::pair().unwrap();
        Worker {
            pid: 0,
            channel,
            record,
            generation,
            ready: false,
            ready_since: 0,
            started: Instant::now(),
            started_at: 0,
            asks: None,
            told: None,
            accepts_no_more: false,
            kill_at: None,
            channel_lost: false,
            cancelled: false,
            cut_short: false,
        }
    }

    #[test]
    fn no_two_workers_of_a_slot_have_one_record() {
        let mut slot = Slot::new(None);
        let next = |slot: &mut Slot| {
            slot.generation = slot.next_generation()?;
            Some(worker(slot.generation))
        };
        slot.leaving = (0..2).filter_map(|_| next(&mut slot)).collect();
        slot.current = next(&mut slot);
        // The one that ends first leaves its record to the next.
        let second = slot.leaving.pop();
        assert_eq!(second.map(|worker| worker.generation), Some(2));
        slot.incoming = next(&mut slot);
        assert_eq!(slot.workers().map(|it| it.generation).collect::<Vec<_>>(), [3, 4, 1]);
        let last = next(&mut slot);
        slot.leaving.extend(last);
        assert_eq!(slot.leaving.last().map(|it| it.generation), Some(6));
        assert!(next(&mut slot).is_none());
        assert_eq!(slot.take_oldest_leaving().map(|it| it.generation), Some(1));
        // One is enough.
        assert!(slot.take_oldest_leaving().is_none());
    }

    #[test]
    fn new_code_is_wanted_until_it_does_not_load_and_other_reasons_outlive_it() {
        let mut slot = Slot::new(None);
        let after = |slot: &mut Slot, asks: Option<Reason>| {
            slot.current = Some(Worker { asks, ..worker(1) });
            slot.wanted = Some(Reason::MaximumRequests);
            slot.want(Reason::ReloadCommand);
            slot.want(Reason::RequestTimeout);
            assert_eq!(slot.wanted, Some(Reason::ReloadCommand));
            slot.give_up_new_code();
            slot.wanted
        };
        assert_eq!(after(&mut slot, None), None);
        let hangs = Some(Reason::RequestTimeout);
        assert_eq!(after(&mut slot, hangs), hangs);
        assert_eq!(slot.failures, 0);
        // It goes on until there is code that loads.
        let reload = Some(Reason::ReloadCommand);
        assert_eq!(after(&mut slot, Some(Reason::MaximumRequests)), reload);
        assert_eq!(slot.failures, 1);
    }

    #[test]
    fn a_worker_may_serve_as_soon_as_it_has_noted_that_it_is_ready() {
        let mut worker = worker(1);
        let record = worker.record;
        record.set_state(State::Starting);
        assert!(!worker.may_serve());
        assert!(worker.is_late(Duration::ZERO) && !worker.is_late(Duration::MAX));
        // Its report still lies in the channel, and it may have a request.
        record.set_state(State::Ready);
        assert!(!worker.is_late(Duration::ZERO));
        assert!(worker.may_serve());
        // It is told to finish, and does: it is none that still starts.
        record.set_state(State::Leaving);
        assert!(worker.may_serve());
    }

    #[test]
    fn workers_that_exit_before_they_are_ready_are_started_ever_more_slowly() {
        assert_eq!(pauses(Slot::back_off), [0, 1, 2, 4, 8, 16, 32, 64, 100, 100]);
    }

    #[test]
    fn workers_that_exit_soon_after_they_were_ready_too() {
        let expected = [0, 0, 1, 2, 4, 8, 16, 32, 64, 100];
        assert_eq!(pauses(Slot::back_off_after_early_exit), expected);
    }
}
