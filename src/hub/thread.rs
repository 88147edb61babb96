//! The two threads of the hub: what each waits for, and the phases of its process. They must never know what goes over a link.
//!
//! One has the links with a session. What comes after the session is the other's: there httpd logs the request, which waits
//! where a program that logs does not read, or a name server does not answer, and such a wait is to hold up no open stream.
#![forbid(unsafe_code)]

use super::links::{Links, Submission};
use super::places::{self, Place};
use super::session::Session;
use crate::httpd::{ChildSlots, Mpm, Parked};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use sys::{EPOLLIN, Epoll, Event, Wakeup};

/// Over how long the ends of streams are spread when their process is to leave, so that clients do not come back all at once.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// How often httpd's scoreboard is looked at meanwhile.
const LOOK_AT_SLOTS: Duration = Duration::from_secs(1);
/// The token of the wake-up: no link has it, as generations begin with 1.
const WAKEUP: u64 = 0;

/// The threads.
struct Hub {
    sessions: Side,
    endings: Side,
}

/// What other threads have of one.
struct Side {
    wakeup: Wakeup,
    inbox: Mutex<Inbox>,
    /// The process stops: the thread is to end.
    stops: AtomicBool,
}

#[derive(Default)]
struct Inbox {
    submissions: Vec<Submission<Parked>>,
    /// The tokens of links that other threads have woken.
    woken: Vec<u64>,
    /// The thread, once there is one.
    thread: Option<JoinHandle<()>>,
    /// The thread takes no more.
    is_closed: bool,
}

/// Made for the first connection of this process, which never sees another configuration.
static HUB: OnceLock<Hub> = OnceLock::new();

impl Hub {
    fn get() -> io::Result<&'static Self> {
        if let Some(hub) = HUB.get() {
            return Ok(hub);
        }
        let hub = Self { sessions: Side::new()?, endings: Side::new()? };
        Ok(HUB.get_or_init(|| hub))
    }
}

impl Side {
    fn new() -> io::Result<Self> {
        let wakeup = Wakeup::new()?;
        Ok(Self { wakeup, inbox: Mutex::default(), stops: AtomicBool::new(false) })
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread, unless there is one, which leaves what is over to `next`; whether it takes more connections.
    fn start(&'static self, name: &str, next: Option<&'static Self>) -> io::Result<bool> {
        let mut inbox = self.lock();
        if inbox.thread.is_none() && !inbox.is_closed {
            let epoll = Epoll::new()?;
            epoll.add(self.wakeup.as_fd(), EPOLLIN, WAKEUP)?;
            let links = Links::new(epoll, next.is_some(), wake_link);
            let work = move || Thread { side: self, next, links, drain: None }.run();
            inbox.thread = Some(std::thread::Builder::new().name(name.to_owned()).spawn(work)?);
        }
        Ok(!inbox.is_closed)
    }

    /// Gives connections to the thread; gives them back where it takes no more.
    fn give(&self, submissions: Vec<Submission<Parked>>) -> Vec<Submission<Parked>> {
        let mut inbox = self.lock();
        if inbox.is_closed {
            return submissions;
        }
        inbox.submissions.extend(submissions);
        drop(inbox);
        self.wakeup.wake();
        Vec::new()
    }

    /// Ends the thread, and all connections that it has.
    fn stop(&self) {
        self.stops.store(true, Ordering::SeqCst);
        self.wakeup.wake();
        let thread = self.lock().thread.take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// Whether there is a hub for one more connection; it is started if it has not been. To be asked before a connection loses its
/// thread. Where it cannot be started, the first time is told to `log`.
pub(crate) fn is_ready(log: impl FnOnce(&str)) -> bool {
    static HAS_FAILED: AtomicBool = AtomicBool::new(false);
    match begin() {
        Ok(takes_more) => takes_more,
        Err(why) => {
            if !HAS_FAILED.swap(true, Ordering::Relaxed) {
                log(&format!(
                    "WSGI0257: connections hold threads of Apache where none would be needed, because the thread for all of \
                     them cannot be started: {why}"
                ));
            }
            false
        }
    }
}

/// Starts the threads unless they run; whether they take more connections.
fn begin() -> io::Result<bool> {
    let hub = Hub::get()?;
    Ok(hub.endings.start("wsgi-hub-end", None)?
        && hub.sessions.start("wsgi-hub", Some(&hub.endings))?)
}

/// Gives a connection to the hub, which closes it in the end. Where the process stops, or has closed its socket already, it
/// is closed at once.
pub(crate) fn submit(client: Parked, session: Box<dyn Session<Parked>>, place: Place) {
    let has_socket = client.has_socket();
    let submissions = vec![Submission { client, session: Some(session), place }];
    let left = match HUB.get() {
        Some(hub) if has_socket => hub.sessions.give(submissions),
        _ => submissions,
    };
    for Submission { mut client, session, .. } in left {
        if let Some(mut session) = session {
            session.stop(&mut client);
            session.release_worker();
        }
        client.end_request();
    }
}

/// Has the threads look at the phase of their process, if there are any.
pub(crate) fn wake() {
    if let Some(hub) = HUB.get() {
        hub.sessions.wakeup.wake();
    }
}

/// Has the first thread advance the link of a token.
fn wake_link(token: u64) {
    if let Some(hub) = HUB.get() {
        hub.sessions.lock().woken.push(token);
        hub.sessions.wakeup.wake();
    }
}

/// Ends the threads, and all connections that they have, when this is dropped.
pub(crate) struct StopGuard;

impl Drop for StopGuard {
    fn drop(&mut self) {
        let Some(hub) = HUB.get() else { return };
        // Each gives the next what is over.
        hub.sessions.stop();
        hub.endings.stop();
    }
}

/// How the process leaves.
struct Drain {
    /// All that may be ended is ending at once.
    ends_at_once: bool,
    looked_at_slots: Instant,
}

struct Thread {
    side: &'static Side,
    /// The one that gets what is over.
    next: Option<&'static Side>,
    links: Links<Parked>,
    drain: Option<Drain>,
}

impl Thread {
    fn run(mut self) {
        let wakeup = &self.side.wakeup;
        let mut events: Vec<Event> = Vec::new();
        while !self.side.stops.load(Ordering::SeqCst) {
            let limit = self.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
            if self.links.epoll().wait_for_events(&mut events, limit).is_err() {
                break;
            }
            let now = Instant::now();
            for event in &events {
                match event.token {
                    WAKEUP => wakeup.clear(),
                    _ => self.links.on_event(event, now),
                }
            }
            self.take_submissions(now);
            self.leave(now);
            self.links.on_time(now);
            self.links.free_closed();
            self.hand_over();
        }
        self.stop();
    }

    fn next_deadline(&self) -> Option<Instant> {
        let links = self.links.next_deadline();
        match &self.drain {
            Some(drain) if !drain.ends_at_once && !self.links.is_empty() => {
                let look = drain.looked_at_slots + LOOK_AT_SLOTS;
                Some(links.map_or(look, |at| at.min(look)))
            }
            _ => links,
        }
    }

    fn take_submissions(&mut self, now: Instant) {
        let (submissions, woken) = {
            let mut inbox = self.side.lock();
            (std::mem::take(&mut inbox.submissions), std::mem::take(&mut inbox.woken))
        };
        for token in woken {
            self.links.on_wake(token, now);
        }
        for submission in submissions {
            self.links.add(submission, self.drain.is_some(), now);
        }
    }

    /// Leaves what is over to the other thread, or closes it where that takes no more.
    fn hand_over(&mut self) {
        let Some(next) = self.next else { return };
        let over = self.links.take_over();
        if over.is_empty() {
            return;
        }
        for mut submission in next.give(over) {
            submission.client.end_request();
        }
    }

    /// Ends what may be ended, if the process is to leave.
    fn leave(&mut self, now: Instant) {
        // The endings do not take long by themselves.
        let Some(next) = self.next.filter(|_| places::is_draining()) else {
            if sys::has_signal_come() {
                self.links.stop();
            }
            return;
        };
        let drain = match &mut self.drain {
            Some(drain) => drain,
            None => {
                // httpd has set its own handler long ago. Where the child leaves by itself its main thread reads a pipe still,
                // and a signal of the own process ends that.
                let _ = self.side.wakeup.wake_on_signal(sys::SIGTERM);
                self.links.end_within(DRAIN_TIME, now);
                let looked_at_slots = now.checked_sub(LOOK_AT_SLOTS).unwrap_or(now);
                self.drain.insert(Drain { ends_at_once: false, looked_at_slots })
            }
        };
        if sys::has_signal_come() {
            // The server stops, and kills this process if it stays.
            next.wakeup.wake();
            self.links.stop();
            return;
        }
        if drain.ends_at_once {
            return;
        }
        let looks = drain.looked_at_slots + LOOK_AT_SLOTS <= now;
        if looks {
            drain.looked_at_slots = now;
        }
        if looks && are_slots_short() {
            drain.ends_at_once = true;
            self.links.end_within(Duration::ZERO, now);
        }
    }

    /// The last round: nothing is waited for.
    fn stop(&mut self) {
        let now = Instant::now();
        let submissions = {
            let mut inbox = self.side.lock();
            inbox.is_closed = true;
            std::mem::take(&mut inbox.submissions)
        };
        for submission in submissions {
            self.links.add(submission, false, now);
        }
        self.hand_over();
        self.links.stop();
    }
}

/// Whether children that are to replace this one may find no slot while it stays.
fn are_slots_short() -> bool {
    let wanted = usize::try_from(Mpm::query().processes).unwrap_or(usize::MAX);
    ChildSlots::read().is_some_and(|slots| slots.free < wanted)
}
