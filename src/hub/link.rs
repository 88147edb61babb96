//! One connection from the moment it has no thread until it is closed. It must never know another one, nor what goes over
//! it.
#![forbid(unsafe_code)]

use super::places::Place;
use super::session::{Client, EarlyEnd, Ready, Session, Step, Wants};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use sys::{EPOLL_ENDS, EPOLLIN, EPOLLOUT, EPOLLRDHUP, Epoll, EventFlags};

/// How long a client may take nothing of what is left for it once its session is over. Its socket tells when it takes something.
const FLUSH_TIME: Duration = Duration::from_secs(60);
/// How long a client's end is waited for after the server's own.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// Bytes of a client that are read and forgotten at once.
const DISCARDED: usize = 16 * 1024;

/// A connection and what goes over it.
pub(super) struct Link<C> {
    client: C,
    state: State<C>,
    /// What is watched at the client's socket and at the worker's; `None`: nothing, not even its end.
    watched: [Option<EventFlags>; 2],
    /// The tokens of the client's socket and of the worker's.
    tokens: [u64; 2],
    /// The time that `deadlines` has for it.
    pub(super) scheduled: Option<Instant>,
    /// When its session is to end before its time.
    pub(super) ends_at: Option<Instant>,
    place: Place,
}

enum State<C> {
    Open(Box<dyn Session<C>>),
    /// The session is over, and its request has yet to be ended.
    Over,
    /// What httpd holds goes out, then the end of the connection.
    Flushing(Instant),
    /// The end of the connection goes out.
    Leaving(Instant),
    /// The server's end is out; the client's is awaited, or it might lose what it has not read.
    Lingering(Instant),
    Closed,
}

impl<C: Client> Link<C> {
    pub(super) fn new(
        client: C,
        session: Option<Box<dyn Session<C>>>,
        place: Place,
        tokens: [u64; 2],
    ) -> Self {
        let state = session.map_or(State::Over, State::Open);
        let watched = [None, None];
        Self { client, state, watched, tokens, scheduled: None, ends_at: None, place }
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether its session is over, and what comes after that has yet to begin.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// When its session may be ended before its time.
    pub(super) fn early_end(&self) -> Option<EarlyEnd> {
        match &self.state {
            State::Open(session) => session.early_end(),
            _ => None,
        }
    }

    /// When it is to be advanced at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match &self.state {
            State::Open(session) => session.deadline(),
            State::Flushing(until) | State::Leaving(until) | State::Lingering(until) => {
                Some(*until)
            }
            State::Over | State::Closed => None,
        };
        [own, self.ends_at].into_iter().flatten().min()
    }

    /// Does what can be done without waiting, and has `epoll` watch for what comes next. Where the session is over it does
    /// no more than that: [`Self::close`] comes next.
    pub(super) fn advance(&mut self, ready: Ready, epoll: &Epoll, now: Instant) {
        if let State::Open(session) = &mut self.state {
            let mut step = session.advance(&mut self.client, ready, now);
            if step == Step::Open && self.ends_at.is_some_and(|at| at <= now) {
                self.ends_at = None;
                step = session.end(&mut self.client, now);
            }
            if session.is_done_with_worker() || step == Step::Over {
                self.release_worker(epoll);
            }
            if step == Step::Over {
                self.ends_at = None;
                self.state = State::Over;
            }
        }
        self.finish(ready, now);
        if let Err(why) = self.watch(epoll) {
            self.fail(epoll, &why);
        }
    }

    /// Begins what comes after the session. To end a request has httpd log it, now or when the client has taken the rest of
    /// it, which may wait for a program that logs, or for a name server.
    pub(super) fn close(&mut self, ready: Ready, epoll: &Epoll, now: Instant) {
        if !self.is_over() {
            return;
        }
        self.client.end_request();
        self.state = State::Flushing(now + FLUSH_TIME);
        self.advance(Ready { writable: false, ..ready }, epoll, now);
    }

    fn release_worker(&mut self, epoll: &Epoll) {
        let State::Open(session) = &mut self.state else { return };
        if let Some(worker) = session.worker()
            && self.watched.last_mut().and_then(Option::take).is_some()
        {
            epoll.remove(worker);
        }
        session.release_worker();
    }

    /// The steps after the session.
    fn finish(&mut self, ready: Ready, now: Instant) {
        if let State::Flushing(until) = &mut self.state
            && ready.writable
        {
            *until = now + FLUSH_TIME;
        }
        if let State::Flushing(until) = self.state {
            if self.client.is_aborted() || ready.gone || until <= now {
                self.state = State::Closed;
            } else if !self.client.push() {
                self.client.end_connection();
                self.state = State::Leaving(now + LINGER_TIME);
            }
        }
        if let State::Leaving(until) = self.state {
            let pending = self.client.push();
            if self.client.is_aborted() || ready.gone || until <= now {
                self.state = State::Closed;
            } else if !pending {
                sys::shutdown_write(self.client.socket());
                self.state = State::Lingering(now + LINGER_TIME);
            }
        }
        if let State::Lingering(until) = self.state
            && (ready.gone || until <= now || self.has_client_ended())
        {
            self.state = State::Closed;
        }
    }

    /// Reads what the client sends and forgets it; whether its end has come.
    fn has_client_ended(&self) -> bool {
        let mut bytes = [0; 1024];
        for _ in 0..DISCARDED / bytes.len() {
            match sys::receive_now(self.client.socket(), &mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(why) => return why.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
        false
    }

    fn watch(&mut self, epoll: &Epoll) -> std::io::Result<()> {
        let rest = Wants { end: true, ..Wants::default() };
        let wants = match &self.state {
            State::Open(session) => session.wants(),
            State::Flushing(_) | State::Leaving(_) => Wants { writable: true, ..rest },
            State::Lingering(_) => Wants { readable: true, half_closed: true, ..rest },
            State::Over | State::Closed => return Ok(()),
        };
        let worker = match &self.state {
            State::Open(session) => session.worker(),
            _ => None,
        };
        let [at_client, at_worker] = &mut self.watched;
        let [client_token, worker_token] = self.tokens;
        watch_socket(epoll, self.client.socket(), client_token, at_client, client_events(wants))?;
        if let Some(worker) = worker {
            watch_socket(epoll, worker, worker_token, at_worker, worker_events(wants))?;
        }
        Ok(())
    }

    /// Ends it at once, because nothing would tell what happens at its descriptors.
    fn fail(&mut self, epoll: &Epoll, why: &std::io::Error) {
        if let State::Open(session) = &mut self.state {
            session.fail(&mut self.client, why);
            self.release_worker(epoll);
            self.ends_at = None;
            self.state = State::Over;
        } else {
            self.state = State::Closed;
        }
    }

    /// Ends it at once, because the process stops.
    pub(super) fn stop(&mut self, epoll: &Epoll) {
        if let State::Open(session) = &mut self.state {
            session.stop(&mut self.client);
            self.release_worker(epoll);
        }
        if matches!(self.state, State::Open(_) | State::Over) {
            self.client.end_request();
        }
        if matches!(self.state, State::Open(_) | State::Over | State::Flushing(_))
            && !self.client.is_aborted()
        {
            self.client.end_connection();
            self.client.push();
        }
        sys::shutdown_write(self.client.socket());
        self.state = State::Closed;
    }

    /// Closes it, because its session has failed in a way that was not foreseen.
    pub(super) fn give_up(&mut self, epoll: &Epoll) {
        self.release_worker(epoll);
        self.state = State::Closed;
    }

    /// The client and its place, watched no more.
    pub(super) fn hand_over(self, epoll: &Epoll) -> (C, Place) {
        epoll.remove(self.client.socket());
        (self.client, self.place)
    }

    /// Closes the connection.
    pub(super) fn release(self, epoll: &Epoll) -> C::Record {
        // A process that was forked meanwhile may have the same socket: closing alone would not end the watch.
        epoll.remove(self.client.socket());
        self.client.release()
    }
}

/// What is watched at a client's socket. Its end is told in any case, so that none of it is watched where that is known.
fn client_events(wants: Wants) -> Option<EventFlags> {
    let pairs =
        [(wants.readable, EPOLLIN), (wants.writable, EPOLLOUT), (wants.half_closed, EPOLLRDHUP)];
    wants.end.then(|| all_of(pairs))
}

/// What is watched at a worker's socket. One that has closed its end would be told again and again, so none of it is watched
/// where nothing is waited for.
fn worker_events(wants: Wants) -> Option<EventFlags> {
    let pairs = [(wants.worker, EPOLLIN), (wants.worker_takes, EPOLLOUT)];
    (wants.worker || wants.worker_takes).then(|| all_of(pairs))
}

fn all_of<const N: usize>(pairs: [(bool, EventFlags); N]) -> EventFlags {
    pairs
        .into_iter()
        .filter(|(is_wanted, _)| *is_wanted)
        .fold(EPOLL_ENDS, |all, (_, one)| all | one)
}

/// Has `epoll` watch for `events` where it watches for `watched`.
fn watch_socket(
    epoll: &Epoll,
    socket: BorrowedFd<'_>,
    token: u64,
    watched: &mut Option<EventFlags>,
    events: Option<EventFlags>,
) -> std::io::Result<()> {
    if *watched == events {
        return Ok(());
    }
    match (&watched, events) {
        (None, Some(events)) => epoll.add(socket, events, token)?,
        (Some(_), Some(events)) => epoll.rearm(socket, events, token)?,
        (_, None) => epoll.remove(socket),
    }
    *watched = events;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Mutex};

    type Calls = Arc<Mutex<Vec<&'static str>>>;

    /// A client that takes what httpd holds after some pushes.
    struct TestClient {
        socket: UnixStream,
        pushes: usize,
        is_aborted: bool,
        calls: Calls,
    }

    impl TestClient {
        fn note(&self, what: &'static str) {
            self.calls.lock().unwrap().push(what);
        }
    }

    impl Client for TestClient {
        type Record = ();
        fn socket(&self) -> BorrowedFd<'_> {
            self.socket.as_fd()
        }
        fn is_aborted(&self) -> bool {
            self.is_aborted
        }
        fn push(&mut self) -> bool {
            let left = self.pushes > 0;
            self.pushes = self.pushes.saturating_sub(1);
            left
        }
        fn end_request(&mut self) {
            self.note("end");
        }
        fn end_connection(&mut self) {
            self.note("end of connection");
        }
        fn release(self) {
            self.note("release");
        }
        fn is_in_use((): &()) -> bool {
            false
        }
    }

    /// A session that is over when its worker has sent something.
    struct TestSession {
        worker: Option<UnixStream>,
        is_done: bool,
        calls: Calls,
    }

    impl Session<TestClient> for TestSession {
        fn worker(&self) -> Option<BorrowedFd<'_>> {
            self.worker.as_ref().map(AsFd::as_fd)
        }
        fn is_done_with_worker(&self) -> bool {
            self.is_done
        }
        fn release_worker(&mut self) {
            if self.worker.take().is_some() {
                self.calls.lock().unwrap().push("let go");
            }
        }
        fn wants(&self) -> Wants {
            Wants { worker: true, end: true, ..Wants::default() }
        }
        fn deadline(&self) -> Option<Instant> {
            None
        }
        fn advance(&mut self, client: &mut TestClient, ready: Ready, _now: Instant) -> Step {
            client.is_aborted |= ready.gone;
            if ready.worker || ready.gone { Step::Over } else { Step::Open }
        }
        fn early_end(&self) -> Option<EarlyEnd> {
            Some(EarlyEnd::AnyTime)
        }
        fn end(&mut self, _client: &mut TestClient, _now: Instant) -> Step {
            self.calls.lock().unwrap().push("end early");
            Step::Over
        }
        fn stop(&mut self, _client: &mut TestClient) {
            self.calls.lock().unwrap().push("stop");
        }
        fn fail(&mut self, _client: &mut TestClient, _why: &std::io::Error) {
            self.calls.lock().unwrap().push("fail");
        }
    }

    struct Fixture {
        link: Link<TestClient>,
        epoll: Epoll,
        client: UnixStream,
        worker: UnixStream,
        calls: Calls,
        now: Instant,
    }

    impl Fixture {
        fn new(pushes: usize) -> Self {
            let calls = Calls::default();
            let (client, socket) = UnixStream::pair().unwrap();
            let (worker, tunnel) = UnixStream::pair().unwrap();
            let test_client =
                TestClient { socket, pushes, is_aborted: false, calls: Arc::clone(&calls) };
            let session =
                TestSession { worker: Some(tunnel), is_done: false, calls: Arc::clone(&calls) };
            let link = Link::new(test_client, Some(Box::new(session)), Place::of_test(), [2, 3]);
            let (epoll, now) = (Epoll::new().unwrap(), Instant::now());
            let mut fixture = Self { link, epoll, client, worker, calls, now };
            fixture.advance(Ready::default());
            fixture
        }

        fn advance(&mut self, ready: Ready) {
            self.link.advance(ready, &self.epoll, self.now);
            self.link.close(ready, &self.epoll, self.now);
        }

        fn events(&self) -> Vec<u64> {
            let mut events = Vec::new();
            self.epoll.wait_for_events(&mut events, Some(Duration::ZERO)).unwrap();
            events.iter().map(|event| event.token).collect()
        }

        fn calls(&self) -> Vec<&'static str> {
            std::mem::take(&mut *self.calls.lock().unwrap())
        }
    }

    #[test]
    fn no_more_is_watched_than_is_waited_for() {
        let none = Wants::default();
        assert_eq!((client_events(none), worker_events(none)), (None, None));
        // The worker is not watched for the end of the client.
        let end = Wants { end: true, ..none };
        assert_eq!((client_events(end), worker_events(end)), (Some(EPOLL_ENDS), None));
        let both = Wants { readable: true, writable: true, half_closed: true, ..end };
        assert_eq!(client_events(both), Some(EPOLLIN | EPOLLOUT | EPOLLRDHUP));
        assert_eq!(client_events(Wants { end: false, ..both }), None);
        assert_eq!(worker_events(Wants { worker: true, ..none }), Some(EPOLLIN));
        assert_eq!(worker_events(Wants { worker_takes: true, ..none }), Some(EPOLLOUT));
    }

    #[test]
    fn session_that_is_over_is_flushed_told_its_end_and_lingers_until_the_client_ends() {
        let mut fixture = Fixture::new(1);
        assert!(fixture.events().is_empty());
        fixture.worker.write_all(b"x").unwrap();
        assert_eq!(fixture.events(), [3]);
        fixture.advance(Ready { worker: true, ..Ready::default() });
        // The worker's socket is watched no more before it is let go; the client takes the rest later.
        assert_eq!(fixture.calls(), ["let go", "end"]);
        assert_eq!(fixture.events(), [2]);
        fixture.advance(Ready { writable: true, ..Ready::default() });
        assert_eq!(fixture.calls(), ["end of connection"]);
        assert_eq!(fixture.client.read(&mut [0]).unwrap(), 0);
        assert!(!fixture.link.is_closed());
        fixture.client.write_all(b"something that nothing reads").unwrap();
        fixture.advance(Ready { half_closed: false, ..Ready::default() });
        assert!(!fixture.link.is_closed() && fixture.events().is_empty());
        fixture.client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(fixture.events(), [2]);
        fixture.advance(Ready { half_closed: true, ..Ready::default() });
        assert!(fixture.link.is_closed());
        fixture.link.release(&fixture.epoll);
        assert_eq!(*fixture.calls.lock().unwrap(), ["release"]);
    }

    #[test]
    fn client_that_does_not_end_is_closed_after_a_while() {
        let mut fixture = Fixture::new(0);
        fixture.advance(Ready { worker: true, ..Ready::default() });
        assert_eq!(fixture.link.deadline(), Some(fixture.now + LINGER_TIME));
        fixture.now += LINGER_TIME;
        fixture.advance(Ready::default());
        assert!(fixture.link.is_closed());
    }

    #[test]
    fn client_that_takes_nothing_is_closed_after_a_while() {
        let mut fixture = Fixture::new(usize::MAX);
        fixture.advance(Ready { worker: true, ..Ready::default() });
        fixture.now += FLUSH_TIME;
        fixture.advance(Ready::default());
        assert!(fixture.link.is_closed());
        assert_eq!(fixture.calls(), ["let go", "end"]);
    }

    #[test]
    fn client_that_takes_something_now_and_then_gets_all_of_it() {
        let mut fixture = Fixture::new(usize::MAX);
        fixture.advance(Ready { worker: true, ..Ready::default() });
        for _ in 0..10 {
            fixture.now += FLUSH_TIME - Duration::from_secs(1);
            fixture.advance(Ready { writable: true, ..Ready::default() });
        }
        assert!(!fixture.link.is_closed());
        fixture.now += FLUSH_TIME;
        fixture.advance(Ready::default());
        assert!(fixture.link.is_closed());
    }

    #[test]
    fn client_that_has_left_is_not_told_its_end() {
        let mut fixture = Fixture::new(0);
        drop(fixture.client.try_clone().unwrap());
        fixture.client.shutdown(std::net::Shutdown::Both).unwrap();
        // Told without having been asked for.
        assert_eq!(fixture.events(), [2]);
        fixture.advance(Ready { gone: true, ..Ready::default() });
        assert!(fixture.link.is_closed());
        assert_eq!(fixture.calls(), ["let go", "end"]);
    }

    #[test]
    fn session_ends_before_its_time_when_that_has_come() {
        let mut fixture = Fixture::new(0);
        fixture.link.ends_at = Some(fixture.now + Duration::from_secs(1));
        assert_eq!(fixture.link.deadline(), fixture.link.ends_at);
        fixture.advance(Ready::default());
        assert!(fixture.calls().is_empty());
        fixture.now += Duration::from_secs(1);
        fixture.advance(Ready::default());
        assert_eq!(fixture.calls(), ["end early", "let go", "end", "end of connection"]);
        assert!(!fixture.link.is_closed());
    }

    #[test]
    fn session_whose_descriptors_cannot_be_watched_is_told_and_its_request_ends() {
        let calls = Calls::default();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        // epoll takes no regular files.
        let socket = UnixStream::from(std::os::fd::OwnedFd::from(file));
        let client = TestClient { socket, pushes: 0, is_aborted: false, calls: Arc::clone(&calls) };
        let (_worker, tunnel) = UnixStream::pair().unwrap();
        let session =
            TestSession { worker: Some(tunnel), is_done: false, calls: Arc::clone(&calls) };
        let mut link = Link::new(client, Some(Box::new(session)), Place::of_test(), [2, 3]);
        let epoll = Epoll::new().unwrap();
        link.advance(Ready::default(), &epoll, Instant::now());
        assert!(link.is_over());
        link.close(Ready::default(), &epoll, Instant::now());
        assert!(link.is_closed());
        assert_eq!(*calls.lock().unwrap(), ["fail", "let go", "end", "end of connection"]);
    }

    #[test]
    fn process_that_stops_ends_all_at_once() {
        let mut fixture = Fixture::new(0);
        fixture.link.stop(&fixture.epoll);
        assert_eq!(fixture.calls(), ["stop", "let go", "end", "end of connection"]);
        assert!(fixture.link.is_closed());
        assert_eq!(fixture.client.read(&mut [0]).unwrap(), 0);
    }
}
