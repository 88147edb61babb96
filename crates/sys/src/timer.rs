//! A point in time as a descriptor that an epoll instance watches (`timerfd`).
#![forbid(unsafe_code)]

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A timer, which is readable once its time has come.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// One whose time never comes, until it is set.
    ///
    /// # Errors
    /// Those of timerfd_create(2).
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// Its time comes so much later, once; until then it is not readable.
    ///
    /// # Errors
    /// Those of timerfd_settime(2).
    pub fn set(&self, after: Duration) -> io::Result<()> {
        // All zeros would be never.
        let after = after.max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: after.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let times = Itimerspec { it_interval: never, it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &times)?;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::is_readable;

    #[test]
    fn timer_is_readable_from_its_time_on_until_it_is_set_again() {
        let timer = Timer::new().unwrap();
        assert!(!is_readable(timer.as_fd(), Duration::ZERO));
        timer.set(Duration::ZERO).unwrap();
        assert!(is_readable(timer.as_fd(), Duration::from_secs(20)));
        timer.set(Duration::from_secs(3600)).unwrap();
        assert!(!is_readable(timer.as_fd(), Duration::ZERO));
    }
}
