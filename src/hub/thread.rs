//! The thread of the hub: what it waits for, and the phases of its process. It must never know what goes over a link.
#![forbid(unsafe_code)]

use super::links::{Links, Newcomer};
use super::places::{self, Place};
use super::session::Session;
use crate::httpd::{ChildSlots, Mpm, Parked};
use std::io;
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

/// What other threads have of the hub.
struct Hub {
    wakeup: Wakeup,
    inbox: Mutex<Inbox>,
    /// The process stops: the thread is to end.
    stops: AtomicBool,
}

#[derive(Default)]
struct Inbox {
    newcomers: Vec<Newcomer<Parked>>,
    /// The thread, once there is one.
    thread: Option<JoinHandle<()>>,
    /// The thread takes no more.
    is_closed: bool,
}

/// Made by the first connection of this process, which never sees another configuration.
static HUB: OnceLock<Hub> = OnceLock::new();

impl Hub {
    fn get() -> io::Result<&'static Self> {
        if let Some(hub) = HUB.get() {
            return Ok(hub);
        }
        let hub =
            Self { wakeup: Wakeup::new()?, inbox: Mutex::default(), stops: AtomicBool::new(false) };
        Ok(HUB.get_or_init(|| hub))
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&'static self) -> io::Result<JoinHandle<()>> {
        let epoll = Epoll::new()?;
        let work = move || Thread { hub: self, links: Links::new(epoll), drain: None }.run();
        std::thread::Builder::new().name("wsgi-hub".to_owned()).spawn(work)
    }
}

/// Gives a connection to the hub, which closes it in the end. Where there is no thread to be had it is closed at once.
pub(crate) fn adopt(client: Parked, session: Box<dyn Session<Parked>>, place: Place) {
    let Ok(hub) = Hub::get() else { return };
    let mut inbox = hub.lock();
    if inbox.is_closed {
        return;
    }
    if inbox.thread.is_none() {
        match hub.start() {
            Ok(thread) => inbox.thread = Some(thread),
            Err(_) => return,
        }
    }
    inbox.newcomers.push(Newcomer { client, session, place });
    drop(inbox);
    hub.wakeup.wake();
}

/// Has the thread look at the phase of its process, if there is a thread.
pub(crate) fn wake() {
    if let Some(hub) = HUB.get() {
        hub.wakeup.wake();
    }
}

/// Ends the thread, and all connections that it has, when this is dropped.
pub(crate) struct StopGuard;

impl Drop for StopGuard {
    fn drop(&mut self) {
        let Some(hub) = HUB.get() else { return };
        hub.stops.store(true, Ordering::SeqCst);
        hub.wakeup.wake();
        let thread = hub.lock().thread.take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// How the process leaves.
struct Drain {
    /// All that may be ended is ending at once.
    is_hurried: bool,
    looked_at_slots: Instant,
}

struct Thread {
    hub: &'static Hub,
    links: Links<Parked>,
    drain: Option<Drain>,
}

impl Thread {
    fn run(mut self) {
        let wakeup = &self.hub.wakeup;
        let mut events: Vec<Event> = Vec::new();
        if self.links.epoll().add(std::os::fd::AsFd::as_fd(wakeup), EPOLLIN, WAKEUP).is_err() {
            self.hub.stops.store(true, Ordering::SeqCst);
        }
        while !self.hub.stops.load(Ordering::SeqCst) {
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
            self.take_newcomers(now);
            self.leave(now);
            self.links.on_time(now);
            self.links.close_dead(now);
        }
        self.stop();
    }

    fn next_deadline(&self) -> Option<Instant> {
        let links = self.links.next_deadline();
        match &self.drain {
            Some(drain) if !drain.is_hurried && !self.links.is_empty() => {
                let look = drain.looked_at_slots + LOOK_AT_SLOTS;
                Some(links.map_or(look, |at| at.min(look)))
            }
            _ => links,
        }
    }

    fn take_newcomers(&mut self, now: Instant) {
        let newcomers = std::mem::take(&mut self.hub.lock().newcomers);
        for newcomer in newcomers {
            self.links.add(newcomer, self.drain.is_some(), now);
        }
    }

    /// Ends what may be ended, if the process is to leave.
    fn leave(&mut self, now: Instant) {
        if !places::is_draining() {
            return;
        }
        let drain = match &mut self.drain {
            Some(drain) => drain,
            None => {
                // httpd has set its own handler long ago, and does not look at its pipe any more.
                let _ = self.hub.wakeup.wake_on_signal(sys::SIGTERM);
                self.links.end_within(DRAIN_TIME, now);
                let looked_at_slots = now.checked_sub(LOOK_AT_SLOTS).unwrap_or(now);
                self.drain.insert(Drain { is_hurried: false, looked_at_slots })
            }
        };
        if sys::has_signal_come() {
            // The server stops, and kills this process if it stays.
            self.links.stop(now);
            return;
        }
        if drain.is_hurried {
            return;
        }
        let looks = drain.looked_at_slots + LOOK_AT_SLOTS <= now;
        if looks {
            drain.looked_at_slots = now;
        }
        if looks && are_slots_short() {
            drain.is_hurried = true;
            self.links.end_within(Duration::ZERO, now);
        }
    }

    /// The last round: nothing is waited for.
    fn stop(&mut self) {
        let now = Instant::now();
        let newcomers = {
            let mut inbox = self.hub.lock();
            inbox.is_closed = true;
            std::mem::take(&mut inbox.newcomers)
        };
        for newcomer in newcomers {
            self.links.add(newcomer, false, now);
        }
        self.links.stop(now);
    }
}

/// Whether children that are to replace this one may find no slot while it stays.
fn are_slots_short() -> bool {
    let wanted = usize::try_from(Mpm::query().processes).unwrap_or(usize::MAX);
    ChildSlots::read().is_some_and(|slots| slots.free < wanted)
}
