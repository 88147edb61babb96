//! Requests that took longer than `WSGISlowRequests`, and those that have and go on.
#![forbid(unsafe_code)]

use super::datagram::Datagram;
use super::field;
use crate::cpython::{GilWait, Result};
use crate::gateway::environ::Builder;
use crate::observe::io_counters::IoCounters;
use crate::observe::metrics::seconds_now;
use crate::observe::metrics::{Finished, Measurement, Timestamps};
use crate::observe::thread_id::thread_id;
use crate::posix::Usage;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a record contains of the start of a request.
#[derive(Debug, Default)]
pub(crate) struct Details {
    start: f64,
    thread: i64,
    timestamps: Timestamps,
    active: u64,
    texts: RequestTexts,
    server_pid: u64,
    /// With `WSGITelemetryOptions CaptureUserAgent`.
    user_agent: Option<String>,
}

/// Variables of a request; what it does not have is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestTexts {
    pub(crate) log_id: String,
    pub(crate) server_pid: String,
    pub(crate) method: String,
    pub(crate) scheme: String,
    pub(crate) hostname: String,
    pub(crate) script_name: String,
    pub(crate) path_info: String,
    pub(crate) protocol: String,
    pub(crate) peer: String,
    pub(crate) user_agent: String,
}

/// A request that is over.
#[derive(Debug)]
pub(crate) struct SlowRecord {
    details: Arc<Details>,
    figures: RequestFigures,
}

/// What a record contains of the course of a request.
#[derive(Debug, Default)]
struct RequestFigures {
    done: bool,
    duration: Duration,
    gil_wait: GilWait,
    io: IoCounters,
    status: u16,
    cpu: [f64; 2],
    active: u64,
}

/// The records that have not been sent.
#[derive(Debug)]
pub(crate) struct SlowRecords {
    limit: Duration,
    capture_user_agent: bool,
    most: usize,
    records: Mutex<VecDeque<SlowRecord>>,
}

impl SlowRecords {
    /// For requests that take longer than `limit`; they are sent every `interval`.
    pub(crate) fn new(
        limit: Duration,
        interval: Duration,
        threads: i64,
        capture_user_agent: bool,
    ) -> Self {
        // The number that can end in five intervals.
        let each = (interval.as_secs_f64() / limit.as_secs_f64().max(1e-3)).ceil();
        let most = (threads.max(1) as f64 * each * 5.0).clamp(32.0, 4096.0) as usize;
        Self { limit, capture_user_agent, most, records: Mutex::default() }
    }

    /// The least duration of a slow request.
    pub(crate) const fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether they contain the client's `User-Agent`.
    pub(crate) const fn capture_user_agent(&self) -> bool {
        self.capture_user_agent
    }

    /// Keeps a record until it is sent; the oldest is dropped when there are too many.
    pub(crate) fn keep(&self, record: SlowRecord) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() >= self.most {
            records.pop_front();
        }
        records.push_back(record);
    }

    pub(super) fn take(&self) -> VecDeque<SlowRecord> {
        std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Details {
    /// Of a request that begins now.
    pub(crate) fn of(
        variables: &Result<'_, Builder<'_, '_>>,
        records: &SlowRecords,
        active: u64,
    ) -> Self {
        let Ok(variables) = variables else { return Self::default() };
        let text = |name| variables.text(name).unwrap_or_default();
        let moment = |name| variables.number(name).unwrap_or(0.0);
        let timestamps = Timestamps {
            request: moment("mod_wsgi.request_start"),
            queue: moment("mod_wsgi.queue_start"),
            daemon: moment("mod_wsgi.daemon_start"),
            application: seconds_now(),
        };
        let texts = RequestTexts {
            log_id: text("mod_wsgi.request_id"),
            server_pid: text("mod_wsgi.server_pid"),
            method: text("REQUEST_METHOD"),
            scheme: text("wsgi.url_scheme"),
            hostname: text("SERVER_NAME"),
            script_name: text("SCRIPT_NAME"),
            path_info: text("PATH_INFO"),
            protocol: text("SERVER_PROTOCOL"),
            peer: text("REMOTE_ADDR"),
            user_agent: text("HTTP_USER_AGENT"),
        };
        Self::with(texts, timestamps, records, active)
    }

    /// Of a request whose application begins now, by its variables.
    pub(crate) fn with(
        mut texts: RequestTexts,
        timestamps: Timestamps,
        records: &SlowRecords,
        active: u64,
    ) -> Self {
        let user_agent = std::mem::take(&mut texts.user_agent);
        Self {
            start: timestamps.application,
            thread: thread_id(),
            timestamps,
            active,
            server_pid: texts.server_pid.parse().unwrap_or(std::process::id().into()),
            texts,
            user_agent: records.capture_user_agent().then_some(user_agent),
        }
    }
}

impl SlowRecord {
    pub(crate) fn new(
        details: Arc<Details>,
        since: Instant,
        finished: &Finished<'_>,
        measurement: Option<Measurement>,
        active: u64,
    ) -> Self {
        let cpu = measurement.and_then(|it| it.cpu).map(|begun| {
            let now = Usage::thread();
            [now.user - begun.user, now.system - begun.system]
        });
        let figures = RequestFigures {
            done: true,
            duration: since.elapsed(),
            gil_wait: finished.gil_wait.unwrap_or_default(),
            io: *finished.io,
            status: finished.status,
            cpu: cpu.unwrap_or_default(),
            active,
        };
        Self { details, figures }
    }

    pub(super) fn fill(&self, datagram: &mut Datagram) {
        fill(datagram, &self.details, &self.figures);
    }
}

/// Fills in a request that is in progress since `since`.
pub(super) fn fill_active(datagram: &mut Datagram, details: &Details, since: Instant) {
    fill(
        datagram,
        details,
        &RequestFigures { duration: since.elapsed(), ..RequestFigures::default() },
    );
}

fn fill(datagram: &mut Datagram, details: &Details, figures: &RequestFigures) {
    let RequestFigures { done, duration, gil_wait, io, status, cpu, active } = figures;
    datagram.count(field::SLOW_STATE, u64::from(*done));
    datagram.float(field::SLOW_START, details.start);
    datagram.float(field::SLOW_DURATION, duration.as_secs_f64());
    datagram.count(field::SLOW_THREAD, u64::try_from(details.thread).unwrap_or(0));
    datagram.count(field::SLOW_SERVER_PID, details.server_pid);
    datagram.count(field::SLOW_INPUT_BYTES, io.input.bytes);
    datagram.count(field::SLOW_INPUT_READS, io.input.calls);
    datagram.count(field::SLOW_OUTPUT_BYTES, io.output.bytes);
    datagram.count(field::SLOW_OUTPUT_WRITES, io.output.calls);
    let [user, system] = *cpu;
    datagram.float(field::SLOW_CPU_USER, user);
    datagram.float(field::SLOW_CPU_SYSTEM, system);
    // 0 for a phase that the request has not had.
    let span = |from: f64, to: f64| if from > 0.0 && to > 0.0 { (to - from).max(0.0) } else { 0.0 };
    let Timestamps { request, queue, daemon, application } = details.timestamps;
    let first =
        |timestamps: [f64; 2]| timestamps.into_iter().find(|&it| it > 0.0).unwrap_or(application);
    datagram.float(field::SLOW_SERVER_TIME, span(request, first([queue, daemon])));
    datagram.float(field::SLOW_QUEUE_TIME, span(queue, daemon));
    datagram.float(field::SLOW_DAEMON_TIME, span(daemon, application));
    let now = details.start + duration.as_secs_f64();
    datagram.float(field::SLOW_APPLICATION_TIME, span(application, now));
    datagram.float(field::SLOW_GIL_TIME, gil_wait.time.as_secs_f64());
    datagram.count(field::SLOW_GIL_COUNT, gil_wait.count.into());
    datagram.float(field::SLOW_INPUT_TIME, io.input.time.as_secs_f64());
    datagram.float(field::SLOW_OUTPUT_TIME, io.output.time.as_secs_f64());
    datagram.count(field::SLOW_ACTIVE_AT_START, details.active);
    datagram.count(field::SLOW_ACTIVE_AT_END, *active);
    datagram.count(field::SLOW_STATUS, u64::from(*status));
    let texts = &details.texts;
    for (number, text, most) in [
        (field::SLOW_LOG_ID, &texts.log_id, 64),
        (field::SLOW_METHOD, &texts.method, 16),
        (field::SLOW_SCHEME, &texts.scheme, 16),
        (field::SLOW_HOSTNAME, &texts.hostname, 256),
        (field::SLOW_SCRIPT_NAME, &texts.script_name, 256),
        (field::SLOW_PATH_INFO, &texts.path_info, 512),
        (field::SLOW_PROTOCOL, &texts.protocol, 16),
        (field::SLOW_PEER, &texts.peer, 46),
    ] {
        datagram.bytes(number, text.as_bytes(), most);
    }
    if let Some(user_agent) = &details.user_agent {
        datagram.bytes(field::SLOW_USER_AGENT, user_agent.as_bytes(), 512);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_records_make_room() {
        let second = Duration::from_secs(1);
        let most = |limit: Duration, interval: Duration, threads| {
            SlowRecords::new(limit, interval, threads, false).most
        };
        assert_eq!(most(second, second, 1), 32);
        assert_eq!(most(second / 10, second, 15), 750);
        assert_eq!(most(second / 1000, 60 * second, 1000), 4096);
        let records = SlowRecords::new(second, second, 1, false);
        let io = IoCounters::default();
        for status in 200..240 {
            let gil_wait = GilWait::default();
            let gil_wait = Some(gil_wait);
            let finished = Finished { status, timestamps: None, io: &io, gil_wait };
            records.keep(SlowRecord::new(Arc::default(), Instant::now(), &finished, None, 1));
        }
        let kept: Vec<_> = records.take().iter().map(|record| record.figures.status).collect();
        assert_eq!(kept, (208..240).collect::<Vec<_>>());
        assert!(records.take().is_empty());
    }
}
