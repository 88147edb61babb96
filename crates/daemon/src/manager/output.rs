//! What the processes of a group write to their standard output and standard error, under Apache: a pipe for each, whose
//! lines the manager passes on to the log with the pid of the process. A worker never has the server's log itself.
//! This file knows neither slots nor messages.
#![forbid(unsafe_code)]

use super::failure_cause::FailureCause;
use crate::log_queue;
use group_config::log_stream::{self, LineSplitter};
use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use wsgi::Level;

/// How long the manager waits for the end of a line.
const UNFINISHED: Duration = Duration::from_secs(1);
/// The most that is read of one process before the others have their turn: all that a pipe holds.
const MAX_READ: usize = 64 * 1024;
/// Processes that have exited, whose pipes processes they have left behind still hold.
const MAX_LEFT_BEHIND: usize = 32;
/// How many lines the processes of a group may write at once.
const BURST: f64 = 10_000.0;
/// How many lines they may write each second.
const LINES_PER_SECOND: f64 = 1000.0;
/// How often it is logged that lines were too many.
const NOTICE_INTERVAL: Duration = Duration::from_secs(1);

/// The pipes of a group's processes.
pub(super) struct Outputs {
    outputs: Vec<Output>,
    /// What processes have told whose pipes are closed, until their exit is noted.
    told: VecDeque<(i32, FailureCause)>,
    limit: RateLimit,
}

/// The pipe of one process.
struct Output {
    pid: i32,
    pipe: PipeReader,
    lines: LineSplitter,
    /// Why the process fails, if it does while it starts.
    cause: FailureCause,
    /// When the manager waits no longer for the end of a line.
    unfinished: Option<Instant>,
    has_exited: bool,
}

/// So many lines of workers may be written now.
struct RateLimit {
    lines: f64,
    refilled: Instant,
    /// Lines that were too many, since the last notice about them.
    lost: u64,
    /// When the next notice is due.
    notice: Option<Instant>,
}

/// A new pipe.
pub(super) fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    sys::set_nonblocking(reader.as_fd())?;
    Ok((reader, writer))
}

impl Outputs {
    pub(super) fn new() -> Self {
        let limit = RateLimit::new(Instant::now());
        Self { outputs: Vec::new(), told: VecDeque::new(), limit }
    }

    /// Adds the pipe of a new process.
    pub(super) fn add(&mut self, pid: i32, pipe: PipeReader) {
        let lines = LineSplitter::default();
        let cause = FailureCause::default();
        self.outputs.push(Output { pid, pipe, lines, cause, unfinished: None, has_exited: false });
    }

    /// What can be waited for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.outputs.iter().map(|output| output.pipe.as_fd())
    }

    /// When there is something to do although nothing is written.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let retry = log_queue::has_records().then(|| Instant::now() + log_queue::RETRY_INTERVAL);
        let unfinished = self.outputs.iter().filter_map(|output| output.unfinished);
        unfinished.chain(self.limit.notice).chain(retry).min()
    }

    /// Passes on what has been written, and lines that have waited too long for their end.
    pub(super) fn pass_on(&mut self) {
        let limit = &mut self.limit;
        let now = Instant::now();
        limit.refill(now);
        let closed = self.outputs.extract_if(.., |output| !output.pass_on(limit, now));
        self.told.extend(closed.filter(|it| !it.has_exited).map(|it| (it.pid, it.cause)));
        while self.told.len() > MAX_LEFT_BEHIND {
            self.told.pop_front();
        }
        limit.report(now);
        log_queue::send();
    }

    /// What a process has told about why it fails, so far.
    pub(super) fn cause(&self, pid: i32) -> Option<&FailureCause> {
        self.outputs.iter().find(|output| output.pid == pid).map(|output| &output.cause)
    }

    /// A process has exited: its last lines are passed on before its exit is logged. What they have told.
    pub(super) fn note_exit(&mut self, pid: i32) -> FailureCause {
        self.pass_on();
        for output in self.outputs.iter_mut().filter(|output| output.pid == pid) {
            output.has_exited = true;
            output.finish_line(&mut self.limit);
        }
        let open = self.outputs.iter_mut().find(|output| output.pid == pid);
        let cause = match open {
            Some(output) => std::mem::take(&mut output.cause),
            None => {
                let place = self.told.iter().position(|(of, _)| *of == pid);
                place.and_then(|place| self.told.remove(place)).map(|it| it.1).unwrap_or_default()
            }
        };
        let left_behind = self.outputs.iter().filter(|output| output.has_exited).count();
        if left_behind > MAX_LEFT_BEHIND
            && let Some(oldest) = self.outputs.iter().position(|output| output.has_exited)
        {
            self.outputs.remove(oldest);
        }
        cause
    }
}

impl Output {
    /// Passes on what has been written; whether more may come.
    fn pass_on(&mut self, limit: &mut RateLimit, now: Instant) -> bool {
        let mut bytes = [0; 8192];
        let (mut read, mut is_open) = (0, true);
        while read < MAX_READ {
            match self.pipe.read(&mut bytes) {
                Ok(0) => {
                    is_open = false;
                    break;
                }
                Ok(count) => {
                    read += count;
                    let (pid, cause) = (self.pid, &mut self.cause);
                    let new = bytes.get(..count).unwrap_or_default();
                    self.lines.push(new, &mut |level, line| {
                        cause.note(level, line);
                        limit.pass(pid, level, line);
                    });
                }
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                // Nothing is here.
                Err(_) => break,
            }
        }
        if !is_open || self.unfinished.is_some_and(|until| until <= now) {
            self.finish_line(limit);
        }
        if !self.lines.has_unfinished_line() {
            self.unfinished = None;
        } else if read > 0 {
            self.unfinished = Some(now + UNFINISHED);
        }
        is_open
    }

    fn finish_line(&mut self, limit: &mut RateLimit) {
        let (pid, cause) = (self.pid, &mut self.cause);
        self.lines.finish(&mut |level, line| {
            cause.note(level, line);
            limit.pass(pid, level, line);
        });
        self.unfinished = None;
    }
}

impl RateLimit {
    const fn new(now: Instant) -> Self {
        Self { lines: BURST, refilled: now, lost: 0, notice: None }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.lines = elapsed.mul_add(LINES_PER_SECOND, self.lines).min(BURST);
        self.refilled = now;
    }

    /// Whether one more line may be written; one that may not is counted.
    fn takes_line(&mut self) -> bool {
        let takes = self.lines >= 1.0;
        if takes {
            self.lines -= 1.0;
        } else {
            self.lost += 1;
            self.notice.get_or_insert(self.refilled + NOTICE_INTERVAL);
        }
        takes
    }

    /// Passes on a line of a process; one without a level is an error's, as what Python prints to standard error. What
    /// is more than critical is for the server alone to say: syslog may show it on every terminal.
    fn pass(&mut self, pid: i32, level: Option<u8>, line: &[u8]) {
        if !self.takes_line() {
            return;
        }
        let text = [format!("[pid {pid}] ").as_bytes(), line].concat();
        let mut records = Vec::with_capacity(text.len() + 3);
        let level = level.unwrap_or(Level::Error as u8).max(Level::Critical as u8);
        log_stream::append_records(&mut records, level, &text);
        log_queue::add(&records);
    }

    /// Says how many lines were too many.
    fn report(&mut self, now: Instant) {
        if self.notice.take_if(|due| *due <= now).is_some() {
            let lost = std::mem::take(&mut self.lost);
            let text = format!(
                "{lost} log lines lost: processes of this group may write {LINES_PER_SECOND} a second outside of \
                 requests"
            );
            let mut records = Vec::new();
            log_stream::append_records(&mut records, Level::Warning as u8, text.as_bytes());
            log_queue::add(&records);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_too_many_are_counted_and_later_ones_pass_again() {
        let begin = Instant::now();
        let mut limit = RateLimit::new(begin);
        let taken = (0..12_000).filter(|_| limit.takes_line()).count();
        assert_eq!((taken, limit.lost), (10_000, 2000));
        limit.refill(begin + Duration::from_millis(500));
        assert_eq!((0..600).filter(|_| limit.takes_line()).count(), 500);
        limit.refill(begin + Duration::from_secs(3600));
        assert!(limit.lines <= BURST);
    }
}
