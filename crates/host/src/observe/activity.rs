//! What the threads of this process are doing, and what they have done: the figures behind
//! `mod_wsgi.request_metrics()` and `mod_wsgi.process_metrics()`, and the requests that may become slow.
//!
//! A request that is not measured costs three stores to memory of its own thread.
#![forbid(unsafe_code)]

use crate::observe::loop_requests::LoopRequests;
use crate::observe::metrics::{Finished, Interval, Measurement, ThreadSample};
use crate::observe::running_request::{Reported, RunningRequest};
use crate::observe::thread_id::thread_id;
use crate::posix::Usage;
use crate::telemetry::{Details, SlowRecord, SlowRecords};
use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The threads of a process that serve, and their figures.
pub(crate) struct Activity {
    threads: Mutex<Vec<Arc<Thread>>>,
    /// Requests are measured from their start.
    measuring: AtomicBool,
    /// `start_recording_metrics()` has been called.
    recording: AtomicBool,
    interval: Mutex<Interval>,
    /// The time of all recorded requests, in microseconds.
    busy: AtomicU64,
    pub(crate) started: SystemTime,
    /// Where slow requests are reported to a telemetry service.
    slow_records: OnceLock<SlowRecords>,
    /// Requests that were served by threads that have been removed.
    served_before: AtomicU64,
    /// Those of the event loop, where one serves.
    pub(crate) loop_requests: LoopRequests,
}

/// One thread that serves.
pub(crate) struct Thread {
    pub(crate) id: i64,
    served: AtomicU64,
    /// Requests it is in: more than one where an output filter makes a subrequest.
    depth: AtomicU32,
    /// When the outermost of them began, if it is measured.
    since: Mutex<Option<Instant>>,
    /// The request it serves, where slow requests are looked for.
    running: Mutex<Option<RunningRequest>>,
    /// An exception was sent into it, and may not have come out yet.
    interrupted: AtomicBool,
}

thread_local! {
    static THREAD: OnceCell<Arc<Thread>> = const { OnceCell::new() };
}

impl Activity {
    pub(crate) fn new(measuring: bool) -> Self {
        Self {
            threads: Mutex::default(),
            measuring: AtomicBool::new(measuring),
            recording: AtomicBool::new(false),
            interval: Mutex::new(Interval::begin()),
            busy: AtomicU64::new(0),
            started: SystemTime::now(),
            slow_records: OnceLock::new(),
            served_before: AtomicU64::new(0),
            loop_requests: LoopRequests::default(),
        }
    }

    /// The calling thread begins a request beside others that it has.
    pub(crate) fn begin_on_loop(&self) {
        THREAD.with(|thread| {
            let thread = thread.get_or_init(|| self.new_thread());
            thread.depth.store(thread.depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        });
    }

    /// A request of the calling thread is over that has begun so.
    pub(crate) fn end_on_loop(&self) {
        THREAD.with(|thread| thread.get().map(|thread| thread.end_request()));
    }

    /// The calling thread begins a request.
    pub(crate) fn begin_request(&self) -> ActiveRequest<'_> {
        let measured = self.measuring.load(Ordering::Relaxed);
        let outermost = THREAD.with(|thread| {
            let thread = thread.get_or_init(|| self.new_thread());
            let depth = thread.depth.load(Ordering::Relaxed);
            thread.depth.store(depth + 1, Ordering::Relaxed);
            if measured && depth == 0 {
                *lock(&thread.since) = Some(Instant::now());
            }
            depth == 0
        });
        let measurement = measured.then(|| Measurement {
            begun: Instant::now(),
            cpu: Some(Usage::thread()),
            outermost,
        });
        ActiveRequest { activity: self, measurement }
    }

    /// From now on requests are measured.
    pub(crate) fn measure(&self) {
        self.measuring.store(true, Ordering::Relaxed);
    }

    /// From now on they are recorded as well.
    pub(crate) fn record(&self) {
        self.measure();
        if !self.recording.swap(true, Ordering::Relaxed) {
            *lock(&self.interval) = Interval::begin();
        }
    }

    /// Whether requests are measured from their start.
    pub(crate) fn is_measuring(&self) -> bool {
        self.measuring.load(Ordering::Relaxed)
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Relaxed)
    }

    /// What has been recorded since the last call, and a sample of each thread.
    pub(crate) fn drain(&self) -> (Interval, Vec<ThreadSample>) {
        let threads = self.threads();
        let mut interval = lock(&self.interval);
        let ended = std::mem::replace(&mut *interval, Interval::begin());
        let event_loop = self.loop_requests.event_loop();
        let busy = threads.iter().map(|thread| {
            if event_loop.is_some_and(|it| it.thread == thread.id) {
                return (thread.id, self.loop_requests.begun());
            }
            (thread.id, lock(&thread.since).iter().copied().collect())
        });
        let thread_samples = ended.thread_samples(busy);
        (ended, thread_samples)
    }

    /// The threads that have served, by number.
    pub(crate) fn threads(&self) -> Vec<Arc<Thread>> {
        let mut threads = lock(&self.threads).clone();
        threads.sort_by_key(|thread| thread.id);
        threads
    }

    /// Removes the calling thread, which serves no more.
    pub(crate) fn remove_thread(&self) {
        let id = thread_id();
        lock(&self.threads).retain(|thread| {
            let stays = thread.id != id;
            if !stays {
                let served = thread.served.load(Ordering::Relaxed);
                self.served_before.fetch_add(served, Ordering::Relaxed);
            }
            stays
        });
    }

    /// How many requests this process has served.
    pub(crate) fn served(&self) -> u64 {
        let threads = lock(&self.threads);
        let served = threads.iter().map(|thread| thread.served.load(Ordering::Relaxed));
        served.sum::<u64>() + self.served_before.load(Ordering::Relaxed)
    }

    /// How many it is serving.
    pub(crate) fn active(&self) -> u64 {
        let threads = lock(&self.threads);
        threads.iter().map(|thread| u64::from(thread.depth.load(Ordering::Relaxed))).sum()
    }

    /// From now on there are records of slow requests.
    pub(crate) fn keep_slow_records(&self, records: SlowRecords) {
        // There are records already.
        let _ = self.slow_records.set(records);
    }

    pub(crate) fn slow_records(&self) -> Option<&SlowRecords> {
        self.slow_records.get()
    }

    /// The requests that have been served for longer than `limit` and are in progress, and since when.
    pub(crate) fn slow_requests_in_progress(
        &self,
        limit: Duration,
    ) -> Vec<(Arc<Details>, Instant)> {
        let slow = |thread: Arc<Thread>| {
            let running = lock(&thread.running);
            let late = running.as_ref().filter(|it| it.since.elapsed() >= limit)?;
            Some((Arc::clone(late.details.as_ref()?), late.since))
        };
        let on_threads = self.threads().into_iter().filter_map(slow);
        let on_loop = self.loop_requests.all().into_iter().filter_map(|request| {
            let is_slow = request.since.elapsed() >= limit;
            Some((Arc::clone(request.details.as_ref().filter(|_| is_slow)?), request.since))
        });
        on_threads.chain(on_loop).collect()
    }

    /// How many requests there may be at once in a process of so many threads.
    pub(crate) fn places(&self, threads: i64) -> i64 {
        self.loop_requests.event_loop().map_or(threads, |event_loop| event_loop.concurrency)
    }

    /// How long all requests took that were recorded.
    pub(crate) fn busy_time(&self) -> Duration {
        Duration::from_micros(self.busy.load(Ordering::Relaxed))
    }

    /// Keeps a record of a request of the calling thread if it was slow; `since` is when it began.
    pub(crate) fn record_slow(
        &self,
        details: &Arc<Details>,
        since: Instant,
        finished: &Finished<'_>,
        measurement: Option<Measurement>,
    ) {
        let records = self.slow_records();
        if let Some(records) = records.filter(|records| since.elapsed() >= records.limit()) {
            let (details, active) = (Arc::clone(details), self.active());
            records.keep(SlowRecord::new(details, since, finished, measurement, active));
        }
    }

    /// Adds a request of the calling thread that was measured from its start to the figures, where they are recorded.
    pub(crate) fn record_request(&self, finished: &Finished<'_>, measurement: &Measurement) {
        if !self.is_recording() {
            return;
        }
        let cpu = measurement.cpu.map_or(0.0, |begun| {
            let now = Usage::thread();
            now.user + now.system - begun.user - begun.system
        });
        let lap = ThreadSample {
            thread: thread_id(),
            completed: 1,
            busy: measurement.begun.elapsed(),
            cpu,
            ..ThreadSample::default()
        };
        let micros = u64::try_from(lap.busy.as_micros()).unwrap_or(0);
        self.busy.fetch_add(micros, Ordering::Relaxed);
        lock(&self.interval).add(finished, measurement.begun, lap);
    }

    fn new_thread(&self) -> Arc<Thread> {
        let thread = Arc::new(Thread {
            id: thread_id(),
            served: AtomicU64::new(0),
            depth: AtomicU32::new(0),
            since: Mutex::default(),
            running: Mutex::default(),
            interrupted: AtomicBool::new(false),
        });
        lock(&self.threads).push(Arc::clone(&thread));
        thread
    }
}

impl Thread {
    /// To be called by the thread itself, which alone writes its figures.
    fn end_request(&self) {
        let depth = self.depth.load(Ordering::Relaxed);
        self.depth.store(depth.saturating_sub(1), Ordering::Relaxed);
        self.served.store(self.served.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// How many requests it has served.
    pub(crate) fn served(&self) -> i64 {
        i64::try_from(self.served.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
    }

    /// The request it serves, if that has taken longer than `limit` and has not been interrupted; it is marked as
    /// interrupted.
    pub(crate) fn take_overdue_request(&self, limit: Duration) -> Option<RunningRequest> {
        let mut running = lock(&self.running);
        let late = |it: &&mut RunningRequest| !it.interrupted && it.since.elapsed() > limit;
        let overdue = running.as_mut().filter(late)?;
        overdue.interrupted = true;
        Some(overdue.clone())
    }

    /// Notes that an exception has been sent to this thread.
    pub(crate) fn note_interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
    }

    /// The request it has been serving for longer than `limit`, once.
    pub(crate) fn take_slow_request(&self, limit: Duration) -> Option<RunningRequest> {
        let mut running = lock(&self.running);
        let late = |it: &&mut RunningRequest| {
            it.reported == Reported::Nothing && it.since.elapsed() >= limit
        };
        let slow = running.as_mut().filter(late)?;
        slow.reported = Reported::Slow;
        Some(slow.clone())
    }

    /// The request it has been serving for longer than `limit`, once: so long that its process is given up.
    pub(crate) fn take_hanging_request(&self, limit: Duration) -> Option<RunningRequest> {
        let mut running = lock(&self.running);
        let late = |it: &&mut RunningRequest| !it.reported_hanging && it.since.elapsed() >= limit;
        let hanging = running.as_mut().filter(late)?;
        hanging.reported_hanging = true;
        Some(hanging.clone())
    }

    /// Whether it still serves this request.
    pub(crate) fn serves(&self, other: &RunningRequest) -> bool {
        self.while_serving(other, || ()).is_some()
    }

    /// Calls `call` if it still serves this request, and keeps it from beginning another request meanwhile.
    /// `call` must not wait for other threads, which would wait for this lock while they are attached.
    pub(crate) fn while_serving<R>(
        &self,
        other: &RunningRequest,
        call: impl FnOnce() -> R,
    ) -> Option<R> {
        let running = lock(&self.running);
        let same = running.as_ref().is_some_and(|it| Arc::ptr_eq(&it.lease, &other.lease));
        same.then(call)
    }

    /// How many it is serving.
    pub(crate) fn busy(&self) -> i64 {
        self.depth.load(Ordering::Relaxed).into()
    }
}

/// Whether an exception that was meant for a request before may still come out in the calling thread.
pub(crate) fn take_pending_interrupt() -> bool {
    THREAD.with(|thread| {
        thread.get().is_some_and(|thread| {
            thread.interrupted.load(Ordering::Relaxed)
                && thread.interrupted.swap(false, Ordering::SeqCst)
        })
    })
}

/// Publishes what the calling thread serves; returns what it published before.
pub(crate) fn set_running_request(running: Option<RunningRequest>) -> Option<RunningRequest> {
    THREAD.with(|thread| {
        let thread = thread.get()?;
        std::mem::replace(&mut *lock(&thread.running), running)
    })
}

/// The line about the end of the request that the calling thread serves, if it has been reported as slow; once.
pub(crate) fn report_slow_end() -> Option<String> {
    THREAD.with(|thread| lock(&thread.get()?.running).as_mut()?.end_line())
}

/// A request being served by the calling thread.
pub(crate) struct ActiveRequest<'a> {
    activity: &'a Activity,
    measurement: Option<Measurement>,
}

impl ActiveRequest<'_> {
    /// `None` when the request is not measured.
    pub(crate) const fn measurement(&self) -> Option<Measurement> {
        self.measurement
    }

    /// As [`Activity::record_slow`].
    pub(crate) fn record_slow(
        &self,
        details: &Arc<Details>,
        since: Instant,
        finished: &Finished<'_>,
    ) {
        self.activity.record_slow(details, since, finished, self.measurement);
    }

    /// Records the request, if it was measured from its start.
    pub(crate) fn record(&self, finished: &Finished<'_>) {
        if let Some(measurement) = self.measurement {
            self.activity.record_request(finished, &measurement);
        }
    }
}

impl Drop for ActiveRequest<'_> {
    fn drop(&mut self) {
        THREAD.with(|thread| {
            let Some(thread) = thread.get() else { return };
            thread.end_request();
            if self.measurement.is_some_and(|measurement| measurement.outermost) {
                *lock(&thread.since) = None;
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
