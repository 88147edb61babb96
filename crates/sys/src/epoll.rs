//! An epoll instance that several threads wait on.
#![forbid(unsafe_code)]

use crate::readiness;
use rustix::event::Timespec;
pub use rustix::event::epoll::EventFlags;
use rustix::event::epoll::{self, EventData};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// There is something to read, the end of the stream included.
pub const EPOLLIN: EventFlags = EventFlags::IN;
/// There is room to write.
pub const EPOLLOUT: EventFlags = EventFlags::OUT;
/// The other end writes no more.
pub const EPOLLRDHUP: EventFlags = EventFlags::RDHUP;
/// Nothing but the end of the connection both ways, which is told in any case.
pub const EPOLL_ENDS: EventFlags = EventFlags::empty();
/// The descriptor is watched for one event only, until [`Epoll::rearm`].
pub const EPOLLONESHOT: EventFlags = EventFlags::ONESHOT;

/// What several threads wait on. One of them is woken for each event, and that is the one that came to wait
/// last.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// A new instance.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Watches a descriptor under a token of the caller's.
    pub fn add(&self, fd: BorrowedFd<'_>, events: EventFlags, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.0, fd, EventData::new_u64(token), events)?)
    }

    /// Watches once more what was watched for one event.
    pub fn rearm(&self, fd: BorrowedFd<'_>, events: EventFlags, token: u64) -> io::Result<()> {
        Ok(epoll::modify(&self.0, fd, EventData::new_u64(token), events)?)
    }

    /// Watches a descriptor no more; nothing happens where it was not watched.
    pub fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = epoll::delete(&self.0, fd);
    }

    /// Whether there is an event that no thread has been given yet.
    pub fn has_event(&self) -> bool {
        readiness::is_readable(self.0.as_fd(), Duration::ZERO)
    }

    /// The token of the next event, if there is one.
    pub fn wait_now(&self) -> io::Result<Option<u64>> {
        let mut event = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let count = epoll::wait(&self.0, &mut event[..], Some(&now))?;
        let [event] = event;
        Ok((count > 0).then(|| event.data.u64()))
    }

    /// Waits for events until `limit` has passed, without one for ever. Fills `into` with those that there are, of the
    /// first 64; none where a signal has come.
    ///
    /// # Errors
    /// Those of epoll_wait(2).
    pub fn wait_for_events(
        &self,
        into: &mut Vec<Event>,
        limit: Option<Duration>,
    ) -> io::Result<()> {
        let none = epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        let mut events = [none; 64];
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        into.clear();
        let count = match epoll::wait(&self.0, &mut events[..], limit.as_ref()) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(why) => return Err(why.into()),
        };
        into.extend(events.iter().take(count).map(|event| {
            let flags = event.flags;
            Event {
                token: event.data.u64(),
                readable: flags.contains(EventFlags::IN),
                writable: flags.contains(EventFlags::OUT),
                half_closed: flags.contains(EventFlags::RDHUP),
                ended: flags.intersects(EventFlags::HUP | EventFlags::ERR),
            }
        }));
        Ok(())
    }

    /// Waits for the next event, and returns its token.
    pub fn wait(&self) -> io::Result<u64> {
        let mut event = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
        epoll::wait(&self.0, &mut event[..], None)?;
        let [event] = event;
        Ok(event.data.u64())
    }
}

/// What has happened to a watched descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The token it is watched under.
    pub token: u64,
    /// There is something to read, the end of the stream included.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The other end writes no more.
    pub half_closed: bool,
    /// The connection has ended both ways, or has failed. This is told whatever is watched.
    pub ended: bool,
}

/// Readable while there is an event that has not been given.
impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
