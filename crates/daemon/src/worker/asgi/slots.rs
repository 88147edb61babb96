//! The requests that an event loop has under way, and the epoll instance that tells what can go on. It reads nothing.
#![forbid(unsafe_code)]

use crate::time_limit;
use crate::worker::connection::Connection;
use std::collections::{HashMap, VecDeque};
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use sys::{EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLLRDHUP, Epoll, Timer};

/// Places for requests, and for WebSockets, whose numbers follow those of requests.
pub(crate) struct Slots {
    epoll: Epoll,
    /// Numbers that no request has; the one that was given back last is next.
    free: Mutex<Vec<usize>>,
    capacity: usize,
    taken: AtomicUsize,
    sockets: Arc<SocketPlaces>,
    /// By number: something has happened on the connection of the request.
    signalled: Vec<AtomicBool>,
    /// Connections on which another request has come together with the one before.
    more: Mutex<VecDeque<Box<Connection>>>,
    /// There are such connections.
    has_more: AtomicBool,
    /// Readable for ever, and watched where such connections are to be looked at.
    signal: Timer,
    /// What is left of answers.
    remains: Mutex<Remains>,
    /// There are such answers.
    has_unsent: AtomicBool,
    /// When the first of them has waited too long.
    late: Timer,
    start: Mutex<Option<Start>>,
    start_known: Condvar,
}

/// What is left of answers.
#[derive(Default)]
struct Remains {
    by_number: HashMap<usize, Kept>,
    /// [`Slots::late`] is set.
    timer_is_set: bool,
}

/// What is left of one answer.
struct Kept {
    unsent: Box<dyn Unsent>,
    /// When it has waited too long for room.
    until: Option<Instant>,
}

/// Places for WebSockets.
struct SocketPlaces {
    /// Numbers that no WebSocket has.
    free: Mutex<Vec<usize>>,
    capacity: usize,
    /// Those that are open, or about to be.
    open: AtomicUsize,
}

/// A place for a WebSocket; given back when this is dropped.
pub(crate) struct SocketPlace {
    places: Arc<SocketPlaces>,
    number: usize,
    is_open: bool,
}

impl SocketPlace {
    pub(super) const fn number(&self) -> usize {
        self.number
    }

    /// Whether [`Self::note_end`] has been called.
    pub(super) const fn has_ended(&self) -> bool {
        !self.is_open
    }

    /// The WebSocket is closed; its number is not free before this is dropped.
    pub(super) fn note_end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.places.open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        self.note_end();
        lock(&self.places.free).push(self.number);
    }
}

/// How the event loop has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Done,
    /// An application that was to be told of it has failed.
    Failed,
    /// There is no event loop.
    NoLoop,
}

/// What is waited for on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) input: bool,
    pub(super) output: bool,
    /// The other end sends nothing more.
    pub(super) end: bool,
}

/// What has happened.
pub(super) enum Progress {
    Stop,
    /// Connections are to be looked at on which another request has come; see [`Slots::pop_more`].
    More,
    /// To the request of this number.
    Request(usize),
    /// What is left of an answer has waited too long; see [`Slots::give_late_up`].
    Late,
}

/// What is left of an answer whose request is over.
pub(super) trait Unsent: Send {
    /// Sends what there is room for; whether it is over, else the room is waited for.
    fn advance(&mut self) -> bool;

    /// How long it may wait for room each time.
    fn limit(&self) -> Option<Duration>;

    /// It has waited longer than that, and is over.
    fn give_up(&mut self);
}

const STOP_TOKEN: u64 = u64::MAX;
const MORE_TOKEN: u64 = u64::MAX - 1;
const LATE_TOKEN: u64 = u64::MAX - 2;

impl Slots {
    /// `capacity`: for so many requests, and beside them so many WebSockets.
    pub(crate) fn new(capacity: u32, sockets: u32) -> io::Result<Self> {
        let (capacity, sockets) = (capacity as usize, sockets as usize);
        let numbers = capacity..capacity + sockets;
        let (epoll, signal, late) = (Epoll::new()?, Timer::new()?, Timer::new()?);
        signal.set(Duration::ZERO)?;
        epoll.add(late.as_fd(), EPOLLONESHOT, LATE_TOKEN)?;
        epoll.add(signal.as_fd(), EPOLLONESHOT, MORE_TOKEN)?;
        Ok(Self {
            epoll,
            signal,
            free: Mutex::new((0..capacity).rev().collect()),
            capacity,
            taken: AtomicUsize::new(0),
            signalled: (0..numbers.end).map(|_| AtomicBool::new(false)).collect(),
            sockets: Arc::new(SocketPlaces {
                free: Mutex::new(numbers.rev().collect()),
                capacity: sockets,
                open: AtomicUsize::new(0),
            }),
            more: Mutex::default(),
            has_more: AtomicBool::new(false),
            remains: Mutex::default(),
            has_unsent: AtomicBool::new(false),
            late,
            start: Mutex::default(),
            start_known: Condvar::new(),
        })
    }

    /// Reports [`Progress::Stop`] one time, once `stop` is readable or closed.
    pub(crate) fn watch_stop(&self, stop: &PipeReader) -> io::Result<()> {
        self.epoll.add(stop.as_fd(), EPOLLIN | EPOLLONESHOT, STOP_TOKEN)
    }

    /// Whether no request is under way, and no WebSocket open.
    pub(crate) fn is_idle(&self) -> bool {
        self.has_no_request() && self.open_sockets() == 0
    }

    /// Whether no request is under way. A WebSocket is one until it is accepted.
    pub(crate) fn has_no_request(&self) -> bool {
        self.taken.load(Ordering::SeqCst) == 0
    }

    /// How many WebSockets are open, or about to be.
    pub(crate) fn open_sockets(&self) -> usize {
        self.sockets.open.load(Ordering::SeqCst)
    }

    /// A place for a WebSocket.
    ///
    /// # Errors
    /// How many may be open at once, where as many are.
    pub(super) fn take_socket(&self) -> Result<SocketPlace, usize> {
        let places = Arc::clone(&self.sockets);
        let number = lock(&places.free).pop().ok_or(places.capacity)?;
        places.open.fetch_add(1, Ordering::SeqCst);
        if let Some(signalled) = self.signalled.get(number) {
            signalled.store(false, Ordering::Relaxed);
        }
        Ok(SocketPlace { places, number, is_open: true })
    }

    /// Whether one more may begin.
    pub(super) fn has_room(&self) -> bool {
        self.taken.load(Ordering::SeqCst) < self.capacity
    }

    /// A number for a request that begins.
    pub(super) fn take(&self) -> Option<usize> {
        let number = lock(&self.free).pop()?;
        self.taken.fetch_add(1, Ordering::SeqCst);
        if let Some(signalled) = self.signalled.get(number) {
            signalled.store(false, Ordering::Relaxed);
        }
        Some(number)
    }

    /// The request of this number is over.
    pub(super) fn give_back(&self, number: usize) {
        lock(&self.free).push(number);
        self.taken.fetch_sub(1, Ordering::SeqCst);
        if self.has_more() {
            self.signal_more();
        }
    }

    /// Reports once that something has happened on a connection, always including that it is gone altogether. `known`: it has
    /// been waited for before.
    pub(super) fn watch(
        &self,
        connection: BorrowedFd<'_>,
        number: usize,
        interest: Interest,
        known: bool,
    ) -> io::Result<()> {
        let mut events = EPOLLONESHOT;
        if interest.end {
            events |= EPOLLRDHUP;
        }
        if interest.input {
            events |= EPOLLIN;
        }
        if interest.output {
            events |= EPOLLOUT;
        }
        let watch = if known { Epoll::rearm } else { Epoll::add };
        watch(&self.epoll, connection, events, number as u64)
    }

    /// Waits for nothing on a connection any more.
    pub(super) fn forget(&self, connection: BorrowedFd<'_>) {
        self.epoll.remove(connection);
    }

    /// What has happened, if anything has that has not been given yet.
    pub(super) fn next(&self) -> io::Result<Option<Progress>> {
        Ok(self.epoll.wait_now()?.map(|token| match token {
            STOP_TOKEN => Progress::Stop,
            MORE_TOKEN => Progress::More,
            LATE_TOKEN => Progress::Late,
            token => {
                let number = usize::try_from(token).unwrap_or(usize::MAX);
                if let Some(signalled) = self.signalled.get(number) {
                    signalled.store(true, Ordering::SeqCst);
                }
                Progress::Request(number)
            }
        }))
    }

    /// Whether something has happened on the connection of a request since the last call.
    pub(super) fn take_signal(&self, number: usize) -> bool {
        self.signalled.get(number).is_some_and(|signalled| signalled.swap(false, Ordering::SeqCst))
    }

    /// Keeps a connection on which another request has come already. [`Progress::More`] is reported now, and whenever
    /// there is room again while it is kept.
    pub(super) fn push_more(&self, connection: Box<Connection>) {
        let mut more = lock(&self.more);
        more.push_back(connection);
        self.has_more.store(true, Ordering::SeqCst);
        drop(more);
        self.signal_more();
    }

    pub(super) fn pop_more(&self) -> Option<Box<Connection>> {
        let mut more = lock(&self.more);
        let connection = more.pop_front();
        self.has_more.store(!more.is_empty(), Ordering::SeqCst);
        connection
    }

    /// How many are kept.
    pub(super) fn count_more(&self) -> usize {
        if self.has_more() { lock(&self.more).len() } else { 0 }
    }

    fn has_more(&self) -> bool {
        self.has_more.load(Ordering::SeqCst)
    }

    fn signal_more(&self) {
        // It fails only where the application has closed the instance, which shows at the next look at it.
        let _ = self.epoll.rearm(self.signal.as_fd(), EPOLLIN | EPOLLONESHOT, MORE_TOKEN);
    }

    /// Keeps what is left of an answer, of which something will be reported under this number.
    pub(super) fn keep(&self, number: usize, unsent: Box<dyn Unsent>) {
        let until = unsent.limit().map(|limit| time_limit::deadline(Instant::now(), limit));
        let mut remains = lock(&self.remains);
        if let Some(until) = until {
            self.set_timer(&mut remains, until);
        }
        remains.by_number.insert(number, Kept { unsent, until });
        self.has_unsent.store(true, Ordering::SeqCst);
    }

    /// Has [`Progress::Late`] reported then, unless it will be sooner.
    fn set_timer(&self, remains: &mut Remains, until: Instant) {
        if !remains.timer_is_set {
            let set = self.late.set(until.saturating_duration_since(Instant::now()));
            let fd = self.late.as_fd();
            let set = set.and_then(|()| self.epoll.rearm(fd, EPOLLIN | EPOLLONESHOT, LATE_TOKEN));
            // Without the timer they are given up when the worker stops.
            remains.timer_is_set = set.is_ok();
        }
    }

    /// Goes on with what is left of an answer under this number; whether there is such.
    pub(super) fn advance(&self, number: usize) -> bool {
        if !self.has_unsent.load(Ordering::SeqCst) {
            return false;
        }
        let removed = lock(&self.remains).by_number.remove(&number);
        let Some(Kept { mut unsent, .. }) = removed else { return false };
        // Without the lock: what is over gives its places back.
        if unsent.advance() {
            drop(unsent);
        } else {
            self.keep(number, unsent);
        }
        self.note_unsent();
        true
    }

    /// Gives up what is left of answers for which there has been no room in time. To be called at [`Progress::Late`].
    pub(super) fn give_late_up(&self) {
        let now = Instant::now();
        let mut remains = lock(&self.remains);
        remains.timer_is_set = false;
        let is_late = |kept: &Kept| kept.until.is_some_and(|until| until <= now);
        let late: Vec<_> = remains.by_number.extract_if(|_, kept| is_late(kept)).collect();
        if let Some(next) = remains.by_number.values().filter_map(|kept| kept.until).min() {
            self.set_timer(&mut remains, next);
        }
        drop(remains);
        for (_, mut kept) in late {
            kept.unsent.give_up();
        }
        self.note_unsent();
    }

    fn note_unsent(&self) {
        let remains = lock(&self.remains);
        self.has_unsent.store(!remains.by_number.is_empty(), Ordering::SeqCst);
    }

    /// Says how the loop has started; the first time counts.
    pub(super) fn set_start(&self, start: Start) {
        lock(&self.start).get_or_insert(start);
        self.start_known.notify_all();
    }

    /// Whether the loop has started, well or not.
    pub(super) fn has_started(&self) -> bool {
        lock(&self.start).is_some()
    }

    /// Waits until that is known.
    pub(super) fn wait_for_start(&self) -> Start {
        let mut start = lock(&self.start);
        loop {
            if let Some(start) = *start {
                return start;
            }
            start = self.start_known.wait(start).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Readable while something has happened that has not been given.
impl AsFd for Slots {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_belongs_to_one_request_until_that_is_over() {
        let slots = Slots::new(2, 0).unwrap();
        assert!(slots.has_room() && slots.is_idle());
        let numbers = [slots.take().unwrap(), slots.take().unwrap()];
        assert_eq!(numbers, [0, 1]);
        assert!(!slots.has_room() && slots.take().is_none());
        slots.give_back(1);
        assert!(slots.has_room() && !slots.is_idle());
        assert_eq!(slots.take(), Some(1));
    }

    #[test]
    fn numbers_of_websockets_follow_those_of_requests_and_are_limited() {
        let slots = Slots::new(2, 2).unwrap();
        let mut first = slots.take_socket().unwrap();
        let second = slots.take_socket().unwrap();
        assert_eq!((first.number(), second.number()), (2, 3));
        assert_eq!(slots.take_socket().err(), Some(2));
        assert!(slots.has_room() && !slots.is_idle());
        first.note_end();
        assert_eq!((slots.open_sockets(), slots.take_socket().err()), (1, Some(2)));
        drop(first);
        drop(second);
        assert!(slots.is_idle());
        assert_eq!(slots.take_socket().unwrap().number(), 3);
    }

    /// An answer of which so many pieces are left.
    struct Pieces {
        left: usize,
        limit: Duration,
    }

    impl Unsent for Pieces {
        fn advance(&mut self) -> bool {
            self.left -= 1;
            self.left == 0
        }

        fn limit(&self) -> Option<Duration> {
            Some(self.limit)
        }

        fn give_up(&mut self) {
            self.left = 0;
        }
    }

    #[test]
    fn what_is_left_of_an_answer_goes_on_under_its_number_alone() {
        let slots = Slots::new(2, 0).unwrap();
        assert!(!slots.advance(1));
        slots.keep(1, Box::new(Pieces { left: 2, limit: Duration::MAX }));
        assert!(!slots.advance(0));
        assert!(slots.advance(1) && slots.advance(1));
        assert!(!slots.advance(1));
    }

    #[test]
    fn what_is_left_of_an_answer_is_given_up_when_it_has_waited_too_long_for_room() {
        let slots = Slots::new(2, 0).unwrap();
        let is_told = || matches!(slots.next(), Ok(Some(Progress::Late)));
        slots.keep(0, Box::new(Pieces { left: 9, limit: Duration::ZERO }));
        slots.keep(1, Box::new(Pieces { left: 9, limit: Duration::MAX }));
        sys::wait_readable(&[slots.as_fd()], Some(Duration::from_secs(30)));
        assert!(is_told() && !is_told());
        slots.give_late_up();
        assert!(!slots.advance(0) && slots.advance(1));
        // It is given up at its own time.
        assert!(lock(&slots.remains).timer_is_set);
    }

    #[test]
    fn connection_with_another_request_is_told_of_now_and_when_there_is_room() {
        let slots = Slots::new(1, 0).unwrap();
        let is_told = || matches!(slots.next(), Ok(Some(Progress::More)));
        let number = slots.take().unwrap();
        assert!(!is_told() && slots.count_more() == 0);
        let (stream, _web_server) = std::os::unix::net::UnixStream::pair().unwrap();
        slots.push_more(Box::new(Connection::new(stream, 1, None).unwrap()));
        assert!(is_told() && !is_told() && slots.count_more() == 1);
        slots.give_back(number);
        assert!(is_told() && !is_told());
        assert!(slots.pop_more().is_some() && slots.count_more() == 0);
        slots.give_back(slots.take().unwrap());
        assert!(!is_told());
    }

    #[test]
    fn stop_is_told_once_and_the_first_start_counts() {
        let slots = Slots::new(1, 0).unwrap();
        let (stopped, stop) = io::pipe().unwrap();
        slots.watch_stop(&stopped).unwrap();
        assert!(slots.next().unwrap().is_none());
        drop(stop);
        assert!(matches!(slots.next(), Ok(Some(Progress::Stop))));
        assert!(slots.next().unwrap().is_none());
        assert!(!slots.has_started());
        slots.set_start(Start::Failed);
        slots.set_start(Start::Done);
        assert_eq!(slots.wait_for_start(), Start::Failed);
    }
}
