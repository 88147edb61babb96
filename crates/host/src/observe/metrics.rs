//! The metrics of the requests of an interval (reference section 6.6). Python is not known here.
#![forbid(unsafe_code)]

use crate::cpython::GilWait;
use crate::observe::histogram::Histogram;
use crate::observe::io_counters::IoCounters;
use crate::posix::Usage;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// When a request reached the stages of its life, in seconds since the epoch; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timestamps {
    pub(crate) request: f64,
    pub(crate) queue: f64,
    pub(crate) daemon: f64,
    pub(crate) application: f64,
}

/// A request that has ended.
pub(crate) struct Finished<'a> {
    pub(crate) status: u16,
    pub(crate) timestamps: Option<Timestamps>,
    pub(crate) io: &'a IoCounters,
    /// `None` where the thread has other requests as well.
    pub(crate) gil_wait: Option<GilWait>,
}

/// What is known at the start of a request that is measured.
#[derive(Clone, Copy)]
pub(crate) struct Measurement {
    pub(crate) begun: Instant,
    /// What its thread had used; `None` where that has other requests as well.
    pub(crate) cpu: Option<Usage>,
    pub(super) outermost: bool,
}

impl Measurement {
    /// Of a request that began then on a thread that has others beside it.
    pub(crate) const fn on_loop(begun: Instant) -> Self {
        Self { begun, cpu: None, outermost: false }
    }
}

/// The requests since the metrics were last drained.
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
    thread_samples: Vec<ThreadSample>,
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
pub(crate) struct ThreadSample {
    pub(crate) thread: i64,
    pub(crate) completed: i64,
    /// Within the interval.
    pub(crate) busy: Duration,
    /// CPU seconds.
    pub(crate) cpu: f64,
    /// The longest request that was completed.
    pub(crate) longest: Duration,
    /// The age of the request that it serves now.
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
            thread_samples: Vec::new(),
        }
    }

    /// Adds a request; `lap` is its thread's part, as if all of it lay within this interval.
    pub(crate) fn add(&mut self, finished: &Finished<'_>, begun: Instant, lap: ThreadSample) {
        let Finished { status, timestamps, io, gil_wait } = finished;
        self.count += 1;
        let class = match status / 100 {
            class @ 1..=5 => usize::from(class),
            _ => 5,
        };
        if let Some(count) = self.statuses.get_mut(class - 1) {
            *count += 1;
        }
        for (total, traffic) in [(&mut self.input, &io.input), (&mut self.output, &io.output)] {
            let [bytes, calls] = total;
            *bytes += i64::try_from(traffic.bytes).unwrap_or(0);
            *calls += i64::try_from(traffic.calls).unwrap_or(0);
        }
        self.waits += i64::from(gil_wait.map_or(0, |wait| wait.count));

        let mut times = [None; 8];
        if let Some(timestamps) = timestamps {
            let now = seconds_now();
            let (queue, daemon) = (known(timestamps.queue), known(timestamps.daemon));
            times = [
                elapsed(timestamps.request, queue.unwrap_or(timestamps.application)),
                queue.and_then(|queue| elapsed(queue, daemon.unwrap_or(timestamps.application))),
                daemon.and_then(|daemon| elapsed(daemon, timestamps.application)),
                elapsed(timestamps.application, now),
                elapsed(timestamps.request, now),
                gil_wait.map(|wait| wait.time),
                Some(io.input.time),
                Some(io.output.time),
            ];
        }
        for (histogram, time) in self.phases.iter_mut().zip(times) {
            if let Some(time) = time {
                histogram.add(time);
            }
        }

        let before = self.begun.saturating_duration_since(begun);
        let ours = ThreadSample { busy: lap.busy.saturating_sub(before), longest: lap.busy, ..lap };
        let known = self.thread_samples.iter_mut().find(|known| known.thread == lap.thread);
        match known {
            Some(known) => known.add(&ours),
            None => self.thread_samples.push(ours),
        }
    }

    /// The samples of all threads that have served; `busy` gives for each thread when the requests have begun that it
    /// serves.
    pub(crate) fn thread_samples(
        &self,
        busy: impl Iterator<Item = (i64, Vec<Instant>)>,
    ) -> Vec<ThreadSample> {
        let lap_of = |(thread, begun): (i64, Vec<Instant>)| {
            let known = self.thread_samples.iter().find(|lap| lap.thread == thread);
            let mut lap =
                known.copied().unwrap_or(ThreadSample { thread, ..ThreadSample::default() });
            for since in begun {
                lap.current = lap.current.max(since.elapsed());
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
pub(crate) struct ThreadUtilization {
    /// The threads that have served.
    pub(crate) started: usize,
    /// The threads that served in the interval.
    pub(crate) active: usize,
    /// The busy time of all threads as a part of what would have been possible, from 0 to 1.
    pub(crate) capacity: f64,
}

impl ThreadUtilization {
    /// `places` is how many requests there may be at once, `period` the interval in seconds.
    pub(crate) fn of(thread_samples: &[ThreadSample], period: f64, places: i64) -> Self {
        let busy: Duration = thread_samples.iter().map(|lap| lap.busy).sum();
        Self {
            started: thread_samples.len(),
            active: thread_samples
                .iter()
                .filter(|it| it.completed > 0 || !it.current.is_zero())
                .count(),
            capacity: (busy.as_secs_f64() / (period * places.max(1) as f64)).min(1.0),
        }
    }
}

impl ThreadSample {
    fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.busy += other.busy;
        self.cpu += other.cpu;
        self.longest = self.longest.max(other.longest);
    }
}

/// A time that is set; 0 is never.
fn known(moment: f64) -> Option<f64> {
    (moment > 0.0).then_some(moment)
}

fn elapsed(from: f64, to: f64) -> Option<Duration> {
    known(from)?;
    // The clock may be set back in between.
    Duration::try_from_secs_f64((to - from).max(0.0)).ok()
}

/// Seconds since the epoch.
pub(crate) fn seconds_now() -> f64 {
    seconds(SystemTime::now())
}

/// Seconds since the epoch of any time.
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
        let embedded =
            Timestamps { request: now - 3.0, application: now - 2.0, ..Timestamps::default() };
        let daemon = Timestamps { queue: now - 2.9, daemon: now - 2.8, ..embedded };
        let io = IoCounters::default();
        for (status, timestamps) in
            [(200, Some(embedded)), (404, Some(daemon)), (0, None), (999, Some(embedded))]
        {
            let finished =
                Finished { status, timestamps, io: &io, gil_wait: Some(GilWait::default()) };
            interval.add(
                &finished,
                Instant::now(),
                ThreadSample { thread: 1, ..ThreadSample::default() },
            );
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
        let io = IoCounters::default();
        let finished = Finished { status: 200, timestamps: None, io: &io, gil_wait: None };
        let lap = ThreadSample {
            thread: 7,
            completed: 1,
            busy: begun.elapsed(),
            ..ThreadSample::default()
        };
        interval.add(&finished, begun, lap);
        let thread_samples =
            interval.thread_samples([(3, vec![begun]), (7, Vec::new())].into_iter());
        let [busy, done] = thread_samples.as_slice() else { panic!() };
        assert!(busy.current >= Duration::from_millis(20) && busy.busy < busy.current);
        assert!(done.longest >= Duration::from_millis(20) && done.busy < done.longest);
        assert_eq!((busy.completed, done.completed), (0, 1));
    }
}
