//! A worker's place in its group, and who is in it: one that serves, perhaps its replacement, and those
//! that are on their way out.
#![forbid(unsafe_code)]

use crate::message::{Channel, Order, Reason};
use crate::posix::{self, SIGKILL};
use scoreboard::{Field, Record, Scoreboard, now};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// One worker slot.
pub(crate) struct Slot {
    /// Its listening socket; `None` where only the shared one is used.
    pub(crate) socket: Option<OwnedFd>,
    /// The worker that serves, or will as soon as it has started.
    pub(crate) current: Option<Worker>,
    /// Its replacement, while that starts.
    pub(crate) incoming: Option<Worker>,
    pub(crate) leaving: Vec<Worker>,
    /// Why the current worker is to be replaced, and has not been yet.
    pub(crate) wanted: Option<Reason>,
    pub(crate) not_before: Instant,
    /// How many in a row died before they were ready.
    pub(crate) failures: u32,
    /// How many in a row died soon after they were ready, and without a request.
    pub(crate) short_lives: u32,
    pub(crate) generation: u64,
}

/// A worker process, from its manager's side.
pub(crate) struct Worker {
    pub(crate) pid: i32,
    pub(crate) channel: Channel,
    pub(crate) record: Record<'static>,
    pub(crate) generation: u64,
    pub(crate) ready: bool,
    pub(crate) started: Instant,
    /// The same in microseconds since the epoch, as files have their times.
    pub(crate) born: i64,
    /// Why it was told to leave.
    pub(crate) told: Option<Reason>,
    pub(crate) kill_at: Option<Instant>,
    /// Its end of the channel is closed.
    pub(crate) deaf: bool,
    /// It was killed while it had nothing to lose.
    pub(crate) dismissed: bool,
}

impl Slot {
    pub(crate) fn new(socket: Option<OwnedFd>) -> Self {
        Self {
            socket,
            current: None,
            incoming: None,
            leaving: Vec::new(),
            wanted: None,
            not_before: Instant::now(),
            failures: 0,
            short_lives: 0,
            generation: 0,
        }
    }

    /// Everybody in it.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.current.iter().chain(&self.incoming).chain(&self.leaving)
    }

    /// Everybody in it, to be changed.
    pub(crate) fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.current.iter_mut().chain(&mut self.incoming).chain(&mut self.leaving)
    }

    /// The number of the next worker. Its record is not that of the one that serves, whatever became of those
    /// between them.
    pub(crate) fn next_generation(&self) -> u64 {
        let serves = self.current.as_ref().map(|worker| worker.generation);
        let next = self.generation + 1;
        if serves.is_some_and(|serves| serves % 2 == next % 2) { next + 1 } else { next }
    }

    /// Has the record of a worker that could not even be forked say so.
    pub(crate) fn note_stillbirth(&self, board: &Scoreboard<'static>, index: usize) {
        let record = board.record(index, self.generation);
        record.set(Field::Failures, self.failures.into());
        record.mark_exited(0, now());
    }

    /// Puts off the next start after one that died before it was ready: not at all the first time, then from
    /// 0.1 s, doubling, to 10 s.
    pub(crate) fn back_off(&mut self) {
        self.failures += 1;
        self.not_before = Instant::now() + pause(self.failures);
    }

    /// The same after one that was ready, and soon died all the same. Twice it is taken for an accident.
    pub(crate) fn back_off_from_a_short_life(&mut self) {
        self.short_lives += 1;
        self.not_before = Instant::now() + pause(self.short_lives.saturating_sub(1));
    }
}

/// How long to wait after so many failures in a row.
fn pause(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => Duration::from_millis(100 << (more - 2).min(7)).min(Duration::from_secs(10)),
    }
}

impl Worker {
    /// Tells it to finish what it has within `seconds`; `grace` later it is killed, if at all.
    pub(crate) fn finish(&mut self, reason: Reason, seconds: f64, grace: Option<f64>) {
        self.told = Some(reason);
        let sent = self.channel.send(&Order::Finish { seconds, reason });
        let limit =
            |seconds: f64| Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 1e9));
        // It has its own clock for both; the second is for one that cannot look at it.
        let kill_at = grace.map(|grace| limit(seconds + grace + 1.0));
        self.kill_at = match (self.kill_at, kill_at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if sent.is_err() {
            posix::kill(self.pid, posix::SIGTERM);
        }
    }

    /// It has done its imports. One with which something is wrong waits to be told to serve.
    pub(crate) fn admit(&mut self, failed: bool) {
        self.ready = true;
        if failed {
            // If it cannot be told it is gone.
            let _ = self.channel.send(&Order::Serve);
        }
    }

    /// Whether it has served a request, or was at one.
    pub(crate) fn has_had_a_request(&self) -> bool {
        self.record.get(Field::Served) > 0 || self.record.is_busy()
    }

    /// Has it killed when `grace` is over, or sooner.
    pub(crate) fn is_to_end_within(&mut self, grace: Duration) {
        let then = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(then, |other| other.min(then)));
    }

    /// Kills it if its time is over; whether that was so.
    pub(crate) fn enforce(&mut self) -> bool {
        let late = self.kill_at.take_if(|when| *when <= Instant::now()).is_some();
        if late {
            posix::kill(self.pid, SIGKILL);
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(back_off: fn(&mut Slot)) -> Vec<u128> {
        let mut slot = Slot::new(None);
        let mut next = || {
            let now = Instant::now();
            back_off(&mut slot);
            slot.not_before.saturating_duration_since(now).as_millis() / 100
        };
        (0..10).map(|_| next()).collect()
    }

    #[test]
    fn a_worker_that_dies_at_its_start_is_started_again_ever_more_slowly() {
        assert_eq!(pauses(Slot::back_off), [0, 1, 2, 4, 8, 16, 32, 64, 100, 100]);
    }

    #[test]
    fn one_that_dies_soon_after_it_too() {
        let expected = [0, 0, 1, 2, 4, 8, 16, 32, 64, 100];
        assert_eq!(pauses(Slot::back_off_from_a_short_life), expected);
    }
}
