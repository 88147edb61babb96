//! All links of the thread, and the records of those that have been closed. It must never know where new ones come from.
#![forbid(unsafe_code)]

use super::deadlines::Deadlines;
use super::link::Link;
use super::places::Place;
use super::session::{Client, EarlyEnd, Ready, Session};
use super::waker::Waker;
use crate::httpd::guard;
use std::time::{Duration, Instant};
use sys::{Epoll, Event};

/// A token has the generation of a place, the place, and the side.
const GENERATION_SHIFT: u32 = 33;
/// The bits of a generation that a token has.
const GENERATIONS: u64 = u64::MAX >> GENERATION_SHIFT;

/// A connection that is given to one of the hub's threads.
pub(super) struct Submission<C> {
    pub(super) client: C,
    /// What goes over it; `None`: that is over, and the connection is to be ended.
    pub(super) session: Option<Box<dyn Session<C>>>,
    pub(super) place: Place,
}

pub(super) struct Links<C: Client> {
    epoll: Epoll,
    slots: Vec<Slot<C>>,
    free: Vec<usize>,
    open: usize,
    deadlines: Deadlines,
    /// Those that have been closed in this round.
    closed: Vec<usize>,
    /// Those whose session is over are for another thread: [`Self::take_over`].
    hands_over: bool,
    /// What other threads call that have a link advanced.
    wake: fn(u64),
    over: Vec<Submission<C>>,
    /// Of connections that have been closed: no more than httpd has threads are in use, and those that are not go with the next
    /// connection that is closed.
    records: Vec<C::Record>,
}

/// The token of a client's socket, and the key of its link's deadline.
const fn token(generation: u64, index: usize) -> u64 {
    (generation << GENERATION_SHIFT) | (index as u64) << 1
}

/// The generation of a place after this one. Never 0: with that the token of the first place would be that of the wake-up.
const fn next_generation(generation: u64) -> u64 {
    match (generation + 1) & GENERATIONS {
        0 => 1,
        next => next,
    }
}

struct Slot<C> {
    generation: u64,
    link: Option<Link<C>>,
}

impl<C: Client> Links<C> {
    pub(super) const fn new(epoll: Epoll, hands_over: bool, wake: fn(u64)) -> Self {
        Self {
            epoll,
            slots: Vec::new(),
            free: Vec::new(),
            open: 0,
            deadlines: Deadlines::new(),
            closed: Vec::new(),
            hands_over,
            wake,
            over: Vec::new(),
            records: Vec::new(),
        }
    }

    pub(super) const fn epoll(&self) -> &Epoll {
        &self.epoll
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// When something is to be done at the latest.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Takes a connection over. It is to end before its time, if it may be, where the process `leaves`.
    pub(super) fn add(&mut self, submission: Submission<C>, leaves: bool, now: Instant) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, link: None });
            self.slots.len() - 1
        });
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.generation = next_generation(slot.generation);
        let token = token(slot.generation, index);
        let Submission { client, mut session, place } = submission;
        if let Some(session) = &mut session {
            session.set_waker(Waker::new(token, self.wake));
        }
        let mut link = Link::new(client, session, place, [token, token | 1]);
        link.ends_at = link.early_end().filter(|_| leaves).map(|end| match end {
            EarlyEnd::AnyTime => now,
            EarlyEnd::After(grace) => now + grace,
        });
        slot.link = Some(link);
        self.open += 1;
        self.advance(index, Ready::default(), now);
    }

    /// The link of a token, unless that is of one that has gone.
    fn index(&self, token: u64) -> Option<usize> {
        let index = usize::try_from(token & ((1 << GENERATION_SHIFT) - 1)).ok()? >> 1;
        let slot = self.slots.get(index)?;
        (slot.link.is_some() && slot.generation == token >> GENERATION_SHIFT).then_some(index)
    }

    pub(super) fn on_event(&mut self, event: &Event, now: Instant) {
        let Some(index) = self.index(event.token) else { return };
        let ready = match event.token & 1 {
            0 => Ready {
                worker: false,
                worker_takes: false,
                readable: event.readable,
                writable: event.writable,
                half_closed: event.half_closed,
                gone: event.ended,
            },
            _ => Ready {
                worker: event.readable || event.ended,
                worker_takes: event.writable,
                ..Ready::default()
            },
        };
        self.advance(index, ready, now);
    }

    /// Advances the link of a token that another thread has woken.
    pub(super) fn on_wake(&mut self, token: u64, now: Instant) {
        if let Some(index) = self.index(token) {
            self.advance(index, Ready::default(), now);
        }
    }

    /// Advances the links whose time has come.
    pub(super) fn on_time(&mut self, now: Instant) {
        while let Some(key) = self.deadlines.take_due(now) {
            let Some(index) = self.index(key) else { continue };
            let Some(link) = self.slots.get_mut(index).and_then(|slot| slot.link.as_mut()) else {
                continue;
            };
            link.scheduled = None;
            if link.deadline().is_some_and(|at| at <= now) {
                self.advance(index, Ready::default(), now);
            } else {
                self.schedule(index);
            }
        }
    }

    fn advance(&mut self, index: usize, ready: Ready, now: Instant) {
        let Some(link) = self.slots.get_mut(index).and_then(|slot| slot.link.as_mut()) else {
            return;
        };
        if link.is_closed() {
            return;
        }
        let (epoll, hands_over) = (&self.epoll, self.hands_over);
        if !guard(false, || {
            link.advance(ready, epoll, now);
            if !hands_over {
                link.close(ready, epoll, now);
            }
            true
        }) {
            link.give_up(epoll);
        }
        if link.is_over() {
            self.hand_over(index);
        } else if link.is_closed() {
            self.closed.push(index);
        } else {
            self.schedule(index);
        }
    }

    /// Leaves a connection to another thread. Events of the round that name it find another generation in its slot.
    fn hand_over(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(link) = slot.link.take() else { return };
        self.deadlines.remove(token(slot.generation, index), link.scheduled);
        let (client, place) = link.hand_over(&self.epoll);
        self.over.push(Submission { client, session: None, place });
        self.free.push(index);
        self.open -= 1;
    }

    /// The connections that are for another thread.
    pub(super) fn take_over(&mut self) -> Vec<Submission<C>> {
        std::mem::take(&mut self.over)
    }

    fn schedule(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let (generation, Some(link)) = (slot.generation, slot.link.as_mut()) else { return };
        let Some(at) = link.deadline() else { return };
        if link.scheduled.is_none_or(|scheduled| at < scheduled) {
            let before = link.scheduled.replace(at);
            self.deadlines.set(token(generation, index), before, at);
        }
    }

    /// Has the links end that may be ended: those that may be at any time evenly spread over `time`, the others when they may
    /// be, unless that has been set before.
    pub(super) fn end_within(&mut self, time: Duration, now: Instant) {
        let ends = |slot: &Slot<C>| slot.link.as_ref().and_then(Link::early_end);
        let is_spread = |slot: &&Slot<C>| ends(slot) == Some(EarlyEnd::AnyTime);
        let count = self.slots.iter().filter(is_spread).count();
        let step = time / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let mut at = now;
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else { return };
            let (Some(end), Some(link)) = (ends(slot), &mut slot.link) else { continue };
            match end {
                EarlyEnd::AnyTime => {
                    at += step;
                    link.ends_at = Some(at);
                }
                EarlyEnd::After(grace) => {
                    link.ends_at.get_or_insert(now + grace);
                }
            }
            self.schedule(index);
        }
    }

    /// Frees what has been closed, once no event of the round can name it any more.
    pub(super) fn free_closed(&mut self) {
        if self.closed.is_empty() {
            return;
        }
        while let Some(index) = self.closed.pop() {
            let Some(slot) = self.slots.get_mut(index) else { continue };
            let Some(link) = slot.link.take() else { continue };
            self.deadlines.remove(token(slot.generation, index), link.scheduled);
            let epoll = &self.epoll;
            self.records.extend(guard(None, || Some(link.release(epoll))));
            self.free.push(index);
            self.open -= 1;
        }
        self.records.retain(C::is_in_use);
    }

    /// Ends all links at once, whatever goes over them.
    pub(super) fn stop(&mut self) {
        for index in 0..self.slots.len() {
            let Some(link) = self.slots.get_mut(index).and_then(|slot| slot.link.as_mut()) else {
                continue;
            };
            let epoll = &self.epoll;
            if !guard(false, || {
                link.stop(epoll);
                true
            }) {
                link.give_up(epoll);
            }
            self.closed.push(index);
        }
        self.free_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::session::{Step, Wants};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    const SILENCE: Duration = Duration::from_secs(5);

    /// Its record is in use until it is said not to be.
    struct TestClient(UnixStream, Arc<AtomicBool>);

    impl Client for TestClient {
        type Record = Arc<AtomicBool>;
        fn socket(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
        fn is_aborted(&self) -> bool {
            false
        }
        fn push(&mut self) -> bool {
            false
        }
        fn end_request(&mut self) {}
        fn end_connection(&mut self) {}
        fn release(self) -> Arc<AtomicBool> {
            self.1
        }
        fn is_in_use(record: &Arc<AtomicBool>) -> bool {
            record.load(Ordering::SeqCst)
        }
    }

    /// Is looked at after five seconds of silence, then much later. Its last step, and whether that was an event.
    struct TestSession(Instant, bool);

    impl Session<TestClient> for TestSession {
        fn worker(&self) -> Option<BorrowedFd<'_>> {
            None
        }
        fn is_done_with_worker(&self) -> bool {
            false
        }
        fn release_worker(&mut self) {}
        fn wants(&self) -> Wants {
            Wants { end: true, ..Wants::default() }
        }
        fn deadline(&self) -> Option<Instant> {
            Some(self.0 + if self.1 { SILENCE } else { 60 * SILENCE })
        }
        fn advance(&mut self, _client: &mut TestClient, ready: Ready, now: Instant) -> Step {
            (self.0, self.1) = (now, ready.writable);
            Step::Open
        }
        fn early_end(&self) -> Option<EarlyEnd> {
            None
        }
        fn end(&mut self, _client: &mut TestClient, _now: Instant) -> Step {
            Step::Over
        }
        fn stop(&mut self, _client: &mut TestClient) {}
        fn fail(&mut self, _client: &mut TestClient, _why: &std::io::Error) {}
    }

    #[test]
    fn link_that_is_silent_and_heard_of_in_turn_has_one_deadline() {
        let mut links = Links::new(Epoll::new().unwrap(), true, |_| ());
        let (_client, socket) = UnixStream::pair().unwrap();
        let mut now = Instant::now();
        let (client, session) =
            (TestClient(socket, Arc::default()), Box::new(TestSession(now, false)));
        links.add(
            Submission { client, session: Some(session), place: Place::of_test() },
            false,
            now,
        );
        for _ in 0..1000 {
            links.advance(0, Ready { writable: true, ..Ready::default() }, now);
            now += SILENCE;
            links.on_time(now);
            assert_eq!(links.deadlines.len(), 1);
            now += SILENCE;
        }
        links.stop();
        assert_eq!((links.deadlines.len(), links.is_empty()), (0, true));
    }

    #[test]
    fn link_is_found_by_its_token_however_many_the_place_has_had() {
        let mut links = Links::new(Epoll::new().unwrap(), true, |_| ());
        let now = Instant::now();
        let mut tokens = Vec::new();
        for generation in [0, GENERATIONS - 1, GENERATIONS] {
            if let Some(slot) = links.slots.first_mut() {
                slot.generation = generation;
            }
            let (_client, socket) = UnixStream::pair().unwrap();
            let client = TestClient(socket, Arc::default());
            let session = Some(Box::new(TestSession(now, false)) as Box<dyn Session<TestClient>>);
            links.add(Submission { client, session, place: Place::of_test() }, false, now);
            let token = token(links.slots[0].generation, 0);
            assert_eq!((links.index(token), links.index(token | 1)), (Some(0), Some(0)));
            assert!(tokens.last().is_none_or(|former| links.index(*former).is_none()));
            tokens.push(token);
            links.stop();
        }
        assert_eq!(tokens[2], token(1, 0));
        assert!(!tokens.contains(&0));
    }

    #[test]
    fn record_of_a_closed_connection_is_kept_while_a_thread_may_use_it() {
        let mut links = Links::new(Epoll::new().unwrap(), true, |_| ());
        let now = Instant::now();
        let close = |links: &mut Links<TestClient>, record: &Arc<AtomicBool>| {
            let (_client, socket) = UnixStream::pair().unwrap();
            let client = TestClient(socket, Arc::clone(record));
            let session = Some(Box::new(TestSession(now, false)) as Box<dyn Session<TestClient>>);
            links.add(Submission { client, session, place: Place::of_test() }, false, now);
            links.stop();
        };
        let (first, second) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        close(&mut links, &first);
        close(&mut links, &second);
        assert_eq!(links.records.len(), 2);
        first.store(false, Ordering::SeqCst);
        // Both have been left.
        close(&mut links, &first);
        assert_eq!(links.records.len(), 1);
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 2));
    }
}
