//! The figures of the requests of an interval (reference section 6.6). It knows no Python.
#![forbid(unsafe_code)]

use crate::cpython::Waited;
use crate::observe::histogram::Histogram;
use crate::observe::io_counters::Tally;
use crate::posix::Usage;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// When things happened to a request, in seconds since the epoch; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    pub(crate) request: f64,
    pub(crate) queue: f64,
    pub(crate) daemon: f64,
    pub(crate) application: f64,
}

/// A request that has ended.
pub(crate) struct Finished<'a> {
    pub(crate) status: u16,
    pub(crate) moments: Option<Moments>,
    pub(crate) tally: &'a Tally,
    pub(crate) waited: Waited,
}

/// What is known at the start of a request that is measured.
#[derive(Clone, Copy)]
pub(crate) struct Measurement {
    pub(crate) begun: Instant,
    pub(crate) cpu: Usage,
    pub(super) outermost: bool,
}

/// What happened since the figures were last asked for.
pub(crate) struct Interval {
    begun: Instant,
    cpu: Usage,
    pub(crate) count: i64,
    /// `1xx` to `5xx`.
    pub(crate) statuses: [i64; 5],
    pub(crate) input: [i64; 2],
    pub(crate) output: [i64; 2],
    pub(crate) waits: i64,
    /// By [`PHASES`].
    pub(crate) phases: [Histogram; 8],
    laps: Vec<Lap>,
}

/// The parts of a request's life, as they are named in `request_metrics()`.
pub(crate) const PHASES: [&str; 8] = [
    "server",
    "queue",
    "daemon",
    "application",
    "request",
    "gil_wait",
    "input_read",
    "output_write",
];

/// What one thread did in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Lap {
    pub(crate) thread: i64,
    pub(crate) completed: i64,
    /// Within the interval.
    pub(crate) busy: Duration,
    /// CPU seconds.
    pub(crate) cpu: f64,
    /// The longest request that was completed.
    pub(crate) longest: Duration,
    /// How old the request is that it serves now.
    pub(crate) current: Duration,
}

/// How much of a processor was used.
pub(crate) struct Utilization {
    pub(crate) period: f64,
    pub(crate) user: f64,
    pub(crate) system: f64,
    pub(crate) usage: Usage,
}

impl Interval {
    pub(crate) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            cpu: Usage::process(),
            count: 0,
            statuses: [0; 5],
            input: [0; 2],
            output: [0; 2],
            waits: 0,
            phases: std::array::from_fn(|_| Histogram::default()),
            laps: Vec::new(),
        }
    }

    /// Adds a request; `lap` is its thread's part, as if all of it lay within this interval.
    pub(crate) fn add(&mut self, finished: &Finished<'_>, begun: Instant, lap: Lap) {
        let Finished { status, moments, tally, waited } = finished;
        self.count += 1;
        let class = match status / 100 {
            class @ 1..=5 => usize::from(class),
            _ => 5,
        };
        if let Some(count) = self.statuses.get_mut(class - 1) {
            *count += 1;
        }
        for (total, traffic) in [(&mut self.input, &tally.input), (&mut self.output, &tally.output)]
        {
            let [bytes, calls] = total;
            *bytes += i64::try_from(traffic.bytes).unwrap_or(0);
            *calls += i64::try_from(traffic.calls).unwrap_or(0);
        }
        self.waits += i64::from(waited.count);

        let mut times = [None; 8];
        if let Some(moments) = moments {
            let now = seconds_now();
            let (queue, daemon) = (set(moments.queue), set(moments.daemon));
            times = [
                span(moments.request, queue.unwrap_or(moments.application)),
                queue.and_then(|queue| span(queue, daemon.unwrap_or(moments.application))),
                daemon.and_then(|daemon| span(daemon, moments.application)),
                span(moments.application, now),
                span(moments.request, now),
                Some(waited.time),
                Some(tally.input.time),
                Some(tally.output.time),
            ];
        }
        for (histogram, time) in self.phases.iter_mut().zip(times) {
            if let Some(time) = time {
                histogram.add(time);
            }
        }

        let before = self.begun.saturating_duration_since(begun);
        let ours = Lap { busy: lap.busy.saturating_sub(before), longest: lap.busy, ..lap };
        let known = self.laps.iter_mut().find(|known| known.thread == lap.thread);
        match known {
            Some(known) => known.add(&ours),
            None => self.laps.push(ours),
        }
    }

    /// The laps of all threads that have served; `busy` says of each since when it is serving, if it is.
    pub(crate) fn laps(&self, busy: impl Iterator<Item = (i64, Option<Instant>)>) -> Vec<Lap> {
        let lap_of = |(thread, since): (i64, Option<Instant>)| {
            let known = self.laps.iter().find(|lap| lap.thread == thread);
            let mut lap = known.copied().unwrap_or(Lap { thread, ..Lap::default() });
            if let Some(since) = since {
                lap.current = since.elapsed();
                lap.busy += since.max(self.begun).elapsed();
            }
            lap
        };
        busy.map(lap_of).collect()
    }

    /// The processor's part, from the beginning to now.
    pub(crate) fn utilization(&self) -> Utilization {
        let period = self.begun.elapsed().as_secs_f64().max(1e-6);
        let usage = Usage::process();
        Utilization {
            period,
            user: (usage.user - self.cpu.user) / period,
            system: (usage.system - self.cpu.system) / period,
            usage,
        }
    }
}

/// How the threads of a process are used.
pub(crate) struct ThreadUse {
    /// So many have served.
    pub(crate) started: usize,
    /// So many did in the interval.
    pub(crate) active: usize,
    /// Which part of what all could do they did.
    pub(crate) capacity: f64,
}

impl ThreadUse {
    /// `threads` is how many there may be, `period` the interval in seconds.
    pub(crate) fn of(laps: &[Lap], period: f64, threads: i64) -> Self {
        let busy: Duration = laps.iter().map(|lap| lap.busy).sum();
        Self {
            started: laps.len(),
            active: laps.iter().filter(|it| it.completed > 0 || !it.current.is_zero()).count(),
            capacity: (busy.as_secs_f64() / (period * threads.max(1) as f64)).min(1.0),
        }
    }
}

impl Lap {
    fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.busy += other.busy;
        self.cpu += other.cpu;
        self.longest = self.longest.max(other.longest);
    }
}

/// A moment that has been.
fn set(moment: f64) -> Option<f64> {
    (moment > 0.0).then_some(moment)
}

fn span(from: f64, to: f64) -> Option<Duration> {
    set(from)?;
    // Clocks may be set back in between.
    Duration::try_from_secs_f64((to - from).max(0.0)).ok()
}

/// Seconds since the epoch.
pub(crate) fn seconds_now() -> f64 {
    seconds(SystemTime::now())
}

/// The same of any moment.
pub(crate) fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_status_and_by_phase() {
        let mut interval = Interval::begin();
        let now = seconds_now();
        let embedded = Moments { request: now - 3.0, application: now - 2.0, ..Moments::default() };
        let daemon = Moments { queue: now - 2.9, daemon: now - 2.8, ..embedded };
        let tally = Tally::default();
        for (status, moments) in
            [(200, Some(embedded)), (404, Some(daemon)), (0, None), (999, Some(embedded))]
        {
            let finished = Finished { status, moments, tally: &tally, waited: Waited::default() };
            interval.add(&finished, Instant::now(), Lap { thread: 1, ..Lap::default() });
        }
        assert_eq!((interval.count, interval.statuses), (4, [0, 1, 0, 1, 2]));
        let total = |phase: usize| interval.phases[phase].buckets.iter().sum::<u32>();
        assert_eq!((0..8).map(total).collect::<Vec<_>>(), [3, 1, 1, 3, 3, 3, 3, 3]);
        let (least, most) = interval.phases[0].extremes().unwrap();
        assert!((90_000..110_000).contains(&least) && (990_000..1_010_000).contains(&most));
    }

    #[test]
    fn a_threads_lap_holds_only_what_lies_in_the_interval() {
        let begun = Instant::now();
        std::thread::sleep(Duration::from_millis(20));
        let mut interval = Interval::begin();
        let tally = Tally::default();
        let finished =
            Finished { status: 200, moments: None, tally: &tally, waited: Waited::default() };
        let lap = Lap { thread: 7, completed: 1, busy: begun.elapsed(), ..Lap::default() };
        interval.add(&finished, begun, lap);
        let laps = interval.laps([(3, Some(begun)), (7, None)].into_iter());
        let [busy, done] = laps.as_slice() else { panic!() };
        assert!(busy.current >= Duration::from_millis(20) && busy.busy < busy.current);
        assert!(done.longest >= Duration::from_millis(20) && done.busy < done.longest);
        assert_eq!((busy.completed, done.completed), (0, 1));
    }
}
