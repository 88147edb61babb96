//! The layout of the shared words: the board, its records, and what a reader concludes from them.
//! It must never know which process it runs in.
#![forbid(unsafe_code)]

use crate::events::{COUNTERS, Counters};
use crate::field::{Field, State};
use crate::request_stack::{STACK, StackSlot};
use std::sync::atomic::{AtomicU64, Ordering};

/// The first word: `wsgi-sb6`.
pub const MAGIC: u64 = u64::from_be_bytes(*b"wsgi-sb6");

/// The records of a slot: as many workers of it live at once at most. One serves, another one may start in its place, and
/// those before them may still have requests.
pub const RECORDS_PER_SLOT: usize = 4;

const HEADER: usize = 64;
/// The word of the header that holds the manager's failed starts in a row; Apache's parent writes it.
pub(crate) const START_FAILURES: usize = 4;
/// The word that says that the group wants no more requests: 1, or [`DRAINED`].
pub(crate) const DRAINING: usize = 5;
/// What the word says where no request may wait for a worker either, until an administrator has the group serve again.
pub(crate) const DRAINED: u64 = 2;
/// The word of the header at which the [`Counters`] begin.
const COUNTED: usize = 6;
/// The word behind them, of [`Scoreboard::log_level`].
pub(crate) const LOG_LEVEL: usize = COUNTED + COUNTERS;
/// The word behind that, of [`Scoreboard::python`].
pub(crate) const PYTHON: usize = LOG_LEVEL + 1;
/// The word behind that, of [`Scoreboard::reloaded`].
const RELOADED: usize = PYTHON + 1;
const _: () = assert!(RELOADED < HEADER);
const FIXED: usize = 20;
/// The word of a record at which the lines of requests begin.
const LINES: usize = FIXED + STACK;
const LINE: usize = 16;
const LINE_BYTES: usize = (LINE - 1) * 8;

/// A group's scoreboard.
#[derive(Clone, Copy)]
pub struct Scoreboard<'m> {
    pub(crate) words: &'m [AtomicU64],
    records: usize,
    threads: usize,
}

/// One worker's part of it.
#[derive(Clone, Copy)]
pub struct Record<'m> {
    words: &'m [AtomicU64],
}

impl<'m> Scoreboard<'m> {
    /// The words a group needs.
    pub const fn size(slots: usize, threads: usize) -> usize {
        HEADER + RECORDS_PER_SLOT * slots * width(threads)
    }

    /// The board in `words`, shared memory of [`Scoreboard::size`] words.
    pub const fn new(words: &'m [AtomicU64], slots: usize, threads: usize) -> Self {
        Self { words, records: RECORDS_PER_SLOT * slots, threads }
    }

    /// Writes the header, for readers that do not know the sizes.
    pub fn initialise(&self) {
        let width = width(self.threads);
        let header = [self.records, self.threads, width];
        for (word, value) in self.words.iter().skip(1).zip(header) {
            word.store(value as u64, Ordering::Relaxed);
        }
        if let Some(first) = self.words.first() {
            first.store(MAGIC, Ordering::Release);
        }
    }

    /// The record of a slot's worker: another one than that of any of the three before it.
    pub fn record(&self, slot: usize, generation: u64) -> Record<'m> {
        let place = (generation % RECORDS_PER_SLOT as u64) as usize;
        let index = (RECORDS_PER_SLOT * slot + place) % self.records.max(1);
        let width = width(self.threads);
        let start = HEADER + index * width;
        Record { words: self.words.get(start..start + width).unwrap_or_default() }
    }

    /// All records of a slot.
    pub fn records(&self, slot: usize) -> impl Iterator<Item = Record<'m>> + use<'m> {
        let board = *self;
        (0..RECORDS_PER_SLOT as u64).map(move |place| board.record(slot, place))
    }

    /// The record of the slot's worker that takes requests.
    fn ready(&self, slot: usize) -> Option<Record<'m>> {
        self.records(slot).find(|record| record.get(Field::State) == State::Ready as u64)
    }

    /// Whether a worker of this slot takes requests.
    pub fn is_ready(&self, slot: usize) -> bool {
        self.ready(slot).is_some()
    }

    /// How many requests the worker of this slot that takes requests has under way at once, where it has said so.
    pub fn capacity(&self, slot: usize) -> Option<u64> {
        Some(self.ready(slot)?.get(Field::Capacity)).filter(|capacity| *capacity != 0)
    }

    /// How many WebSockets the worker of this slot that takes requests has open.
    pub fn open_sockets(&self, slot: usize) -> u64 {
        self.ready(slot).map_or(0, |record| record.get(Field::Sockets))
    }

    /// Whether a worker of this slot takes requests and has loaded a script of that number, as far as is known.
    pub fn has_script(&self, slot: usize, number: u8) -> bool {
        self.records(slot).any(|record| {
            record.get(Field::State) == State::Ready as u64
                && record.get(Field::Scripts) & script_bit(number) != 0
        })
    }

    /// Sets how often in a row the manager exited soon after its start; `None`: it could not be started at all. A
    /// manager that has started sets 0.
    pub fn set_start_failures(&self, times: Option<u32>) {
        if let Some(word) = self.words.get(START_FAILURES) {
            word.store(times.map_or(u64::MAX, u64::from), Ordering::Relaxed);
        }
    }

    /// Notes whether the group wants no more requests, although it still answers them.
    pub fn set_draining(&self, is_draining: bool) {
        if let Some(word) = self.words.get(DRAINING) {
            word.store(is_draining.into(), Ordering::Relaxed);
        }
    }

    /// Notes that the group takes no more requests until an administrator has it serve again.
    pub fn set_drained(&self) {
        if let Some(word) = self.words.get(DRAINING) {
            word.store(DRAINED, Ordering::Relaxed);
        }
    }

    /// Whether the group wants no more requests.
    pub fn is_draining(&self) -> bool {
        self.words.get(DRAINING).is_some_and(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// What is counted of the workers of all slots.
    pub fn counters(&self) -> Counters<'m> {
        Counters(self.words.get(COUNTED..COUNTED + COUNTERS).unwrap_or_default())
    }

    /// Notes that a reload has replaced a worker at `now`.
    pub fn note_reload(&self, now: u64) {
        if let Some(word) = self.words.get(RELOADED) {
            word.store(now, Ordering::Relaxed);
        }
    }

    /// When a reload has last replaced a worker; `None` where none has.
    pub fn reloaded(&self) -> Option<u64> {
        self.words.get(RELOADED).map(|word| word.load(Ordering::Relaxed)).filter(|it| *it != 0)
    }

    /// How many requests the slot's workers are serving that take new ones; `None` where all of these began
    /// after `then`.
    pub fn serving(&self, slot: usize, then: u64) -> Option<u64> {
        let (mut count, mut is_old) = (0, false);
        for record in self.records(slot) {
            if record.get(Field::State) != State::Ready as u64 {
                continue;
            }
            let times = record.lines().map(|(time, _)| time.load(Ordering::Acquire));
            for since in times.filter(|since| *since != 0) {
                count += 1;
                is_old |= since <= then;
            }
        }
        is_old.then_some(count)
    }

    /// The processes of the slot whose end has not been noticed.
    pub fn pids(&self, slot: usize) -> impl Iterator<Item = u32> + use<'m> {
        let records = self.records(slot).filter(|it| it.get(Field::Ended) == 0);
        let pids = records.map(|record| u32::try_from(record.get(Field::Pid)).unwrap_or(0));
        pids.filter(|pid| *pid != 0)
    }

    /// The slot's worker whose end was noticed last, if that was at `since` or later.
    pub fn ended(&self, slot: usize, since: u64) -> Option<Record<'m>> {
        let ended = self.records(slot).filter(|it| it.get(Field::Ended) >= since.max(1));
        ended.max_by_key(|record| record.get(Field::Ended))
    }
}

impl<'m> Record<'m> {
    /// The record in `words`.
    pub(crate) const fn of(words: &'m [AtomicU64]) -> Self {
        Self { words }
    }
}

impl Record<'_> {
    /// Clears what the record's last worker left.
    pub fn clear(&self) {
        self.stack().clear();
        let fields = self.words.iter().take(FIXED);
        let rest = self.words.iter().skip(LINES);
        fields.chain(rest).for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// The number in a field.
    pub fn get(&self, field: Field) -> u64 {
        self.words.get(field as usize).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Sets the number in a field.
    pub fn set(&self, field: Field, value: u64) {
        if let Some(word) = self.words.get(field as usize) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Sets the worker's state.
    pub fn set_state(&self, state: State) {
        self.set(Field::State, state as u64);
    }

    /// Sets the state of process `pid`, unless the record belongs to another process by now.
    pub fn set_own_state(&self, pid: u32, state: State) {
        if self.get(Field::Pid) == u64::from(pid) {
            self.set_state(state);
        }
    }

    /// Notes that the worker has loaded the script of that number.
    pub fn note_script(&self, number: u8) {
        if let Some(word) = self.words.get(Field::Scripts as usize) {
            word.fetch_or(script_bit(number), Ordering::Relaxed);
        }
    }

    /// Where the oldest request is in its application.
    pub fn stack(&self) -> StackSlot<'_> {
        StackSlot(self.words.get(FIXED..LINES).unwrap_or_default())
    }

    /// Whether any thread serves a request.
    pub fn is_busy(&self) -> bool {
        self.lines().any(|(time, _)| time.load(Ordering::Acquire) != 0)
    }

    /// Records that the process has exited; `status` is that of wait(2), `now` microseconds of [`crate::now`]. The
    /// lines of the requests that it was serving stay.
    pub fn mark_exited(&self, status: i32, now: u64) {
        self.set_state(State::Gone);
        self.set(Field::LastExit, u64::try_from(status).unwrap_or(0));
        if let Some(ended) = self.words.get(Field::Ended as usize) {
            // Released after the rest: a reader that sees this word sees the others as well.
            ended.store(now, Ordering::Release);
        }
    }

    /// Whether the kernel has killed the worker for want of memory, as far as is known.
    pub fn is_out_of_memory(&self) -> bool {
        self.get(Field::OutOfMemory) != 0
    }

    /// How a worker ended and what it was doing, as in `worker 7 was killed by signal 11 while serving
    /// GET /`. Complete once [`Field::Ended`] has been read as not 0.
    pub fn exit_description(&self) -> String {
        self.describe_exit(None)
    }

    /// The same, and its `cause` where that is known.
    pub fn describe_exit(&self, cause: Option<&str>) -> String {
        let pid = self.get(Field::Pid);
        let why = cause.map(|cause| format!(": {cause}"));
        if pid == 0 {
            let what = "no process could be made for a worker";
            return format!("{what}{}", why.unwrap_or_default());
        }
        let status = self.get(Field::LastExit);
        let how = match (status & 0x7f, (status >> 8) & 0xff) {
            (0, code) => format!("exited with status {code}"),
            (signal, _) if self.is_out_of_memory() => format!(
                "was killed by signal {signal}, probably by the OOM killer (oom_kill \
                 of its control group has risen)"
            ),
            (signal, _) => format!("was killed by signal {signal}"),
        };
        // Which request ended the process is unknown, so all are named.
        let requests: Vec<_> = self.requests().into_iter().map(|(_, line)| line).collect();
        let serving = match requests.as_slice() {
            [] if self.get(Field::LastRequest) == 0 => " before its first request".to_owned(),
            [] => String::new(),
            lines => format!(" while serving {}", lines.join(", ")),
        };
        let code = self.get(Field::Unstarted);
        if code != 0 {
            let why =
                why.unwrap_or_else(|| format!(": its application has not started (WSGI{code:04})"));
            return format!("worker {pid} {how}{why}");
        }
        format!("worker {pid} {how}{serving}{}", why.unwrap_or_default())
    }

    /// Records that a thread begins a request at `now`; an `active` one counts as activity of the worker.
    pub fn begin(&self, thread: usize, line: [&[u8]; 3], now: u64, active: bool) {
        let Some((time, text)) = self.line(thread) else { return };
        let mut bytes = [0_u8; LINE_BYTES];
        let mut length = 0;
        for part in line {
            let room = bytes.get_mut(length..).unwrap_or_default();
            let count = part.len().min(room.len());
            if let (Some(room), Some(part)) = (room.get_mut(..count), part.get(..count)) {
                room.copy_from_slice(part);
            }
            length += count;
        }
        for (word, eight) in text.iter().zip(bytes.as_chunks::<8>().0) {
            word.store(u64::from_ne_bytes(*eight), Ordering::Relaxed);
            if eight.last() == Some(&0) {
                // A reader stops at the first NUL.
                break;
            }
        }
        time.store(now, Ordering::Release);
        if active {
            self.set(Field::LastRequest, now);
        }
    }

    /// Records that the thread's request has ended; returns how many the worker has served. `active` as in
    /// [`Record::begin`].
    pub fn end(&self, thread: usize, now: u64, active: bool) -> u64 {
        if active {
            // Before the thread is marked free, or the worker would seem idle since the request began.
            self.set(Field::LastRequest, now);
        }
        if let Some((time, _)) = self.line(thread) {
            time.store(0, Ordering::Release);
        }
        self.add(Field::Served, 1) + 1
    }

    /// Ends what [`Record::begin`] has begun, without counting it as a request that has been served.
    pub fn withdraw(&self, thread: usize) {
        if let Some((time, _)) = self.line(thread) {
            time.store(0, Ordering::Release);
        }
    }

    /// Records that one more request is served that has no line of its own, where `begun`, or one less.
    pub fn note_unlisted(&self, begun: bool) {
        // Adds or subtracts one.
        self.add(Field::Unlisted, if begun { 1 } else { u64::MAX });
    }

    /// Since when a thread has been serving its request; 0 if it serves none.
    pub fn since(&self, thread: usize) -> u64 {
        self.line(thread).map_or(0, |(time, _)| time.load(Ordering::Acquire))
    }

    /// The requests being served, by thread: since when, and their first line.
    pub fn requests(&self) -> Vec<(u64, String)> {
        self.busy_threads().map(|(_, since, line)| (since, line)).collect()
    }

    /// The threads that serve a request: which, since when, and its first line.
    pub fn busy_threads(&self) -> impl Iterator<Item = (usize, u64, String)> + use<'_> {
        self.lines().enumerate().filter_map(|(thread, (time, text))| {
            let since = time.load(Ordering::Acquire);
            if since == 0 {
                return None;
            }
            let bytes: Vec<u8> =
                text.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
            let said = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            Some((thread, since, said.escape_ascii().to_string()))
        })
    }

    /// Adds to the number in a field; the number before.
    pub(crate) fn add(&self, field: Field, value: u64) -> u64 {
        self.words.get(field as usize).map_or(0, |word| word.fetch_add(value, Ordering::Relaxed))
    }

    fn lines(&self) -> impl Iterator<Item = (&AtomicU64, &[AtomicU64])> {
        let lines = self.words.get(LINES..).unwrap_or_default();
        lines.chunks_exact(LINE).filter_map(<[_]>::split_first)
    }

    fn line(&self, thread: usize) -> Option<(&AtomicU64, &[AtomicU64])> {
        let start = LINES + thread * LINE;
        self.words.get(start..start + LINE)?.split_first()
    }
}

/// The words of a record.
pub(crate) const fn width(threads: usize) -> usize {
    LINES + threads * LINE
}

const fn script_bit(number: u8) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(slots: usize, threads: usize) -> Vec<AtomicU64> {
        (0..Scoreboard::size(slots, threads)).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn worker_that_takes_requests_tells_what_it_takes_and_what_it_has_open() {
        let words = words(1, 2);
        let board = Scoreboard::new(&words, 1, 2);
        let record = board.record(0, 1);
        record.set(Field::Capacity, 15);
        record.set(Field::Sockets, 3);
        assert_eq!((board.capacity(0), board.open_sockets(0)), (None, 0));
        record.set_state(State::Ready);
        assert_eq!((board.capacity(0), board.open_sockets(0)), (Some(15), 3));
        record.set(Field::Capacity, 0);
        assert_eq!(board.capacity(0), None);
    }

    #[test]
    fn a_request_line_is_there_while_it_is_served_and_two_workers_of_a_slot_are_apart() {
        let words = words(2, 3);
        let board = Scoreboard::new(&words, 2, 3);
        let (old, new) = (board.record(1, 4), board.record(1, 5));
        old.begin(2, [b"GET", b" ", &[b'/'; 300]], 7, true);
        assert_eq!(old.requests(), [(7, format!("GET {}", "/".repeat(116)))]);
        assert_eq!((old.is_busy(), new.is_busy()), (true, false));
        assert_eq!((old.end(2, 8, true), old.get(Field::LastRequest)), (1, 8));
        assert_eq!((old.is_busy(), old.requests().len()), (false, 0));
        // A shorter line after a longer one.
        old.begin(2, [b"GET", b" ", b"/a\nb"], 9, true);
        assert_eq!(old.requests(), [(9, "GET /a\\nb".to_owned())]);
        assert_eq!((old.since(2), old.since(1)), (9, 0));
    }

    #[test]
    fn what_a_worker_serves_counts_while_it_takes_requests_and_an_old_one_is_among_them() {
        let words = words(2, 3);
        let board = Scoreboard::new(&words, 2, 3);
        let record = board.record(1, 4);
        record.begin(0, [b"GET", b" ", b"/"], 7, true);
        record.begin(2, [b"GET", b" ", b"/"], 9, true);
        assert_eq!(board.serving(1, 7), None);
        record.set_state(State::Ready);
        assert_eq!((board.serving(1, 7), board.serving(0, 7)), (Some(2), None));
        record.end(0, 10, true);
        assert_eq!((board.serving(1, 7), board.serving(1, 9)), (None, Some(1)));
    }

    #[test]
    fn a_script_is_with_the_workers_that_have_loaded_it_and_take_requests() {
        let words = words(2, 1);
        let board = Scoreboard::new(&words, 2, 1);
        let record = board.record(1, 4);
        record.note_script(3);
        record.note_script(63);
        assert!(!board.has_script(1, 3));
        record.set_state(State::Ready);
        assert_eq!([3, 63, 4].map(|number| board.has_script(1, number)), [true, true, false]);
        assert!(!board.has_script(0, 3));
        record.set_state(State::Leaving);
        assert!(!board.has_script(1, 3));
        record.clear();
        record.set_state(State::Ready);
        assert!(!board.has_script(1, 3));
    }

    #[test]
    fn an_exited_worker_is_described_by_status_and_requests() {
        let words = words(1, 2);
        let board = Scoreboard::new(&words, 1, 2);
        let record = board.record(0, 1);
        record.set(Field::Pid, 7);
        record.set_state(State::Ready);
        assert!(board.is_ready(0) && board.ended(0, 0).is_none());
        assert_eq!(board.pids(0).collect::<Vec<_>>(), [7]);
        record.begin(0, [b"GET", b" ", b"/"], 3, true);
        record.mark_exited(11, 100);
        assert!(!board.is_ready(0) && board.ended(0, 101).is_none());
        assert_eq!(board.pids(0).count(), 0);
        let described = board.ended(0, 100).map(|record| record.exit_description());
        assert_eq!(
            described.as_deref(),
            Some("worker 7 was killed by signal 11 while serving GET /")
        );
        record.clear();
        record.set(Field::Pid, 8);
        record.mark_exited(3 << 8, 5);
        assert_eq!(
            record.exit_description(),
            "worker 8 exited with status 3 before its first request"
        );
        record.set(Field::OutOfMemory, 1);
        assert!(!record.exit_description().contains("OOM"));
        record.mark_exited(9, 6);
        let told = record.exit_description();
        assert!(
            told.starts_with("worker 8 was killed by signal 9, probably by the OOM killer"),
            "{told}"
        );
        record.mark_exited(3 << 8, 7);
        record.set(Field::Unstarted, 225);
        assert_eq!(
            record.exit_description(),
            "worker 8 exited with status 3: its application has not started (WSGI0225)"
        );
    }

    #[test]
    fn what_is_counted_is_beside_the_records() {
        let words = words(1, 1);
        let board = Scoreboard::new(&words, 1, 1);
        board.initialise();
        board.set_start_failures(Some(2));
        board.counters().note_ready(u64::MAX);
        board.set_log_level(Some(7));
        assert_eq!((board.log_level(), board.reloaded()), (Some(7), None));
        board.note_reload(9);
        assert_eq!((board.log_level(), board.reloaded(), board.python()), (Some(7), Some(9), None));
        assert_eq!(board.counters().read().start_times.last(), Some(&1));
        assert_eq!(board.record(0, 0).get(Field::Pid), 0);
    }

    #[test]
    fn arbitrary_words_cause_no_panic() {
        let words: Vec<_> = (0..Scoreboard::size(2, 3)).map(|_| AtomicU64::new(u64::MAX)).collect();
        let board = Scoreboard { words: &words, records: 2 * RECORDS_PER_SLOT, threads: 3 };
        assert_eq!(board.record(1, 0).requests().len(), 3);
        assert!(
            board
                .ended(1, 1)
                .is_some_and(|it| it.exit_description().contains("killed by signal 127"))
        );
        assert_eq!(board.log_level(), Some(8));
        let empty = Scoreboard { words: &[], records: 2 * RECORDS_PER_SLOT, threads: 3 };
        assert!(empty.ended(1, 0).is_none() && empty.log_level().is_none());
    }
}
