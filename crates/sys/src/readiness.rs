//! Waiting until descriptors can be read or written (`poll`).
#![forbid(unsafe_code)]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// What [`wait_for`] or [`wait_for_room`] has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The stream can be read, its end included.
    pub readable: bool,
    /// The stream takes more.
    pub writable: bool,
    /// The other descriptor can be read, or has come to its end.
    pub other: bool,
}

fn timespec(limit: Duration) -> Timespec {
    Timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    }
}

/// Waits until something can be read, the end of the stream included; `false` when `limit` has passed.
pub fn is_readable(stream: BorrowedFd<'_>, limit: Duration) -> bool {
    wait_for_one(stream, PollFlags::IN, limit)
}

/// Waits until something can be written, or the other end is closed; `false` when `limit` has passed.
pub fn is_writable(stream: BorrowedFd<'_>, limit: Duration) -> bool {
    wait_for_one(stream, PollFlags::OUT, limit)
}

fn wait_for_one(stream: BorrowedFd<'_>, events: PollFlags, limit: Duration) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(stream, events)];
    let mut deadline = None;
    let mut left = limit;
    loop {
        match poll(&mut fds, Some(&timespec(left))) {
            Err(Errno::INTR) => {}
            found => return found == Ok(1),
        }
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
        left = deadline.saturating_duration_since(Instant::now());
    }
}

/// Waits until `stream` can be read, the end of the stream included; `Some(false)` when `limit` has passed, `None` when
/// `client` has been closed by its other end.
pub fn is_readable_before_hang_up(
    stream: BorrowedFd<'_>,
    client: BorrowedFd<'_>,
    limit: Duration,
) -> Option<bool> {
    let deadline = Instant::now() + limit;
    let mut fds = [
        PollFd::from_borrowed_fd(stream, PollFlags::IN),
        PollFd::from_borrowed_fd(client, PollFlags::RDHUP),
    ];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(&mut fds, Some(&timespec(left))) {
            Err(Errno::INTR) => {}
            Ok(count) if count > 0 => {
                let [stream, _] = fds.map(|fd| fd.revents());
                return (!stream.is_empty()).then_some(true);
            }
            _ => return Some(false),
        }
    }
}

/// Waits until `stream` can be read, or written if `for_writing`, or `other` be read; nothing is ready when
/// `limit` has passed or a signal has come.
pub fn wait_for(
    stream: BorrowedFd<'_>,
    for_writing: bool,
    other: Option<BorrowedFd<'_>>,
    limit: Duration,
) -> Ready {
    let events = if for_writing { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    wait_for_both(stream, events, other, PollFlags::IN, limit)
}

/// Waits until `stream` can be read or written, or the other end of `client` sends no more, whatever can be read there;
/// nothing is ready when `limit` has passed or a signal has come.
pub fn wait_for_room(
    stream: BorrowedFd<'_>,
    client: Option<BorrowedFd<'_>>,
    limit: Duration,
) -> Ready {
    wait_for_both(stream, PollFlags::IN | PollFlags::OUT, client, PollFlags::RDHUP, limit)
}

fn wait_for_both(
    stream: BorrowedFd<'_>,
    events: PollFlags,
    other: Option<BorrowedFd<'_>>,
    other_events: PollFlags,
    limit: Duration,
) -> Ready {
    let mut both = [
        PollFd::from_borrowed_fd(stream, events),
        PollFd::from_borrowed_fd(other.unwrap_or(stream), other_events),
    ];
    let fds = if other.is_some() { &mut both[..] } else { &mut both[..1] };
    if !poll(fds, Some(&timespec(limit))).is_ok_and(|count| count > 0) {
        return Ready::default();
    }
    let [stream, second] = both.map(|fd| fd.revents());
    Ready {
        readable: !stream.difference(PollFlags::OUT).is_empty(),
        writable: stream.contains(PollFlags::OUT),
        other: other.is_some() && !second.is_empty(),
    }
}

/// Waits until `source`, if there is one, can be read, or `sink` takes more or is closed; tells which. Neither is when
/// `limit` has passed or a signal has come.
pub fn wait_for_either(
    source: Option<BorrowedFd<'_>>,
    sink: BorrowedFd<'_>,
    limit: Duration,
) -> (bool, bool) {
    let mut both = [
        PollFd::from_borrowed_fd(sink, PollFlags::OUT),
        PollFd::from_borrowed_fd(source.unwrap_or(sink), PollFlags::IN),
    ];
    let fds = if source.is_some() { &mut both[..] } else { &mut both[..1] };
    if !poll(fds, Some(&timespec(limit))).is_ok_and(|count| count > 0) {
        return (false, false);
    }
    let [sink, from] = both.map(|fd| !fd.revents().is_empty());
    (source.is_some() && from, sink)
}

/// Waits until one of the descriptors can be read or is closed; tells for each whether it is. None is when
/// `timeout` has passed or a signal has come.
pub fn wait_readable(descriptors: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Vec<bool> {
    let entries = descriptors.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN));
    let mut fds: Vec<_> = entries.collect();
    let found = poll(&mut fds, timeout.map(timespec).as_ref()).is_ok_and(|count| count > 0);
    fds.iter().map(|fd| found && !fd.revents().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn stream_is_readable_with_input_or_at_its_end_and_times_out_without() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let short = Duration::from_millis(5);
        assert!(!is_readable(here.as_fd(), short));
        assert_eq!(wait_readable(&[here.as_fd()], Some(short)), [false]);
        let ready = wait_for(here.as_fd(), true, Some(there.as_fd()), short);
        assert_eq!(ready, Ready { readable: false, writable: true, other: false });
        there.write_all(b"x").unwrap();
        assert!(is_readable(here.as_fd(), short));
        let ready = wait_for(here.as_fd(), false, None, short);
        assert_eq!(ready, Ready { readable: true, writable: false, other: false });
        let (other, end) = UnixStream::pair().unwrap();
        let found = |limit| is_readable_before_hang_up(there.as_fd(), other.as_fd(), limit);
        assert_eq!(found(short), Some(false));
        (&end).write_all(b"x").unwrap();
        let room = || wait_for_room(other.as_fd(), Some(other.as_fd()), short);
        assert_eq!(room(), Ready { readable: true, writable: true, other: false });
        drop(end);
        assert!(room().other);
        assert_eq!(found(Duration::from_secs(60)), None);
        assert_eq!(wait_for_either(Some(here.as_fd()), there.as_fd(), short), (true, true));
        assert_eq!(wait_for_either(None, there.as_fd(), short), (false, true));
        drop(there);
        assert_eq!(wait_readable(&[here.as_fd()], None), [true]);
    }
}
